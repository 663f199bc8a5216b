"""Installed distributions in every state, asked from outside through the command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TAPE = Path(__file__).parent / "fakes" / "loafer_tape"

PROVIDER = """
from loafer_core import ProviderSpec, hookimpl

LOAFER_API = 1

@hookimpl
def loafer_providers():
    return [ProviderSpec(name="tape", summary="Another tape", factory=print)]
"""


@pytest.fixture(scope="session")
def tape_wheel(tmp_path_factory) -> Path:
    """The wheel of a stranger's plugin, built from a copy of its source by the real build backend."""
    source = shutil.copytree(TAPE, tmp_path_factory.mktemp("build") / "loafer_tape")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(source / "dist"), str(source)]
    subprocess.run(build, check=True, capture_output=True, timeout=50)
    (wheel,) = (source / "dist").glob("*.whl")
    return wheel


@pytest.fixture
def tape(tape_wheel, site) -> Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    offline = ["--quiet", "--no-deps", "--no-index", "--target", str(site), str(tape_wheel)]
    subprocess.run([*pip, *offline], check=True, capture_output=True, timeout=50)
    return tape_wheel


def test_an_installed_wheel_is_found_with_its_version_its_components_and_where_it_is_from(tape, plugins_list):
    tape_record = plugins_list()["loafer-tape/tape"]
    assert tape_record.pop("load_seconds") > 0
    assert tape_record == {
        "plugin": "tape",
        "distribution": "loafer-tape",
        "version": "2.1.0",
        "state": "ok",
        "reason": None,
        "provides": [{"kind": "provider", "name": "tape", "summary": "A tape reel"}],
        "origin": f"wheel {tape}",
        "warnings": [],
    }


def test_an_uninstalled_wheel_is_gone(tape, site, plugins_list):
    for part in site.glob("loafer_tape*"):
        shutil.rmtree(part)

    assert "loafer-tape/tape" not in plugins_list()


def test_broken_plugins_are_named_with_their_reasons_and_nobody_else_is_touched(tape, unpack, plugins_list):
    unpack("loafer-lost", "import no_such_sdk", point="lost")
    unpack("loafer-future", PROVIDER.replace("LOAFER_API = 1", "LOAFER_API = 1000"), point="future")
    unpack("loafer-quits", "raise SystemExit('I do not like it here')", point="aaa")

    known = plugins_list()

    reasons = {
        "loafer-lost/lost": "cannot import 'loafer_lost_plugin': ModuleNotFoundError: No module named 'no_such_sdk'",
        "loafer-future/future": (
            "it was written for plugin API 1000, and this loafer-core loads 1: pip install -U loafer-core"
        ),
        "loafer-quits/aaa": "cannot import 'loafer_quits_plugin': SystemExit: I do not like it here",
    }
    assert {owner: (known[owner]["state"], known[owner]["reason"]) for owner in reasons} == {
        owner: ("broken", reason) for owner, reason in reasons.items()
    }
    assert {known[owner]["state"] for owner in ("loafer-core/builtin", "loafer-tape/tape", "loafer-sqs/sqs")} == {"ok"}


@pytest.mark.parametrize(
    "environment", [{"LOAFER_PLUGINS_DISABLE": "loafer-spy/spy"}, {"LOAFER_PLUGINS_ONLY": "sqs,json"}]
)
def test_a_blocked_plugin_leaves_no_trace_of_having_been_imported(unpack, plugins_list, tmp_path, environment):
    trace = tmp_path / "trace"
    unpack("loafer-spy", f"open({str(trace)!r}, 'w').close()\n{PROVIDER}", point="spy")

    assert plugins_list(**environment)["loafer-spy/spy"]["state"] == "blocked"
    assert not trace.exists()

    assert plugins_list()["loafer-spy/spy"]["state"] == "ok"
    assert trace.exists()  # so the trap does work


def test_listing_without_loading_imports_no_plugin(unpack, plugins_list, tmp_path):
    trace = tmp_path / "trace"
    unpack("loafer-spy", f"open({str(trace)!r}, 'w').close()\n{PROVIDER}", point="spy")

    assert plugins_list("--no-load")["loafer-spy/spy"]["state"] is None
    assert not trace.exists()


def test_two_distributions_with_one_component_name_are_both_ok_until_the_bare_name_is_asked_for(
    tape, unpack, plugins_list, python
):
    unpack("acme-tapes", PROVIDER, point="tape")

    known = plugins_list()
    asked = python(
        "-c",
        "from loafer_core.discovery.loader import load\n"
        "registry = load().registry\n"
        "print(registry.find('provider', 'acme-tapes/tape').owner)\n"
        "registry.find('provider', 'tape')",
    )

    assert known["loafer-tape/tape"]["state"] == known["acme-tapes/tape"]["state"] == "ok"
    assert asked.stdout == "acme-tapes/tape\n"
    assert (
        "provider 'tape' is offered by the plugins acme-tapes/tape and loafer-tape/tape; write 'acme-tapes/tape' or "
        "'loafer-tape/tape', or put one of them into plugins.disable"
    ) in asked.stderr


def test_listing_loads_nothing_that_only_a_used_component_needs(python):
    asked = python(
        "-c",
        "import sys\n"
        "from loafer_core.cli import main\n"
        "try: main(['plugins', 'list', '--json'])\n"
        "except SystemExit as done: assert not done.code\n"
        "print(*sys.modules, file=sys.stderr)",
    )

    heavy = {"aio_pika", "aiormq", "aiobotocore", "botocore", "boto3", "aiohttp", "sentry_sdk", "moto", "pytest"}
    assert asked.returncode == 0
    assert "loafer_sqs.plugin" in asked.stderr.split()  # it was asked
    assert heavy & set(asked.stderr.split()) == set()


def test_the_version_is_told_without_looking_for_plugins(python):
    asked = python("-X", "importtime", "-m", "loafer_core", "--version")

    imported = {line.split("|")[-1].strip() for line in asked.stderr.splitlines()}
    assert asked.returncode == 0
    assert "loafer_core.cli" in imported  # so the list was read as it is meant
    assert {"importlib_metadata", "pluggy", "pydantic", "loafer_core.discovery.loader"} & imported == set()
