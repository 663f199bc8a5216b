"""``loafer plugins list``: what a stranger reads, and what a script reads."""

from __future__ import annotations

import json
import re
import sys

import pytest
from click.testing import CliRunner

from loafer_core.api.kinds import KINDS
from loafer_core.cli.plugins import plugins_group

ACME = """
import sys
from loafer_core import HandlerSpec, ProviderSpec, hookimpl
LOAFER_API = 1
print("acme was imported")

@hookimpl
def loafer_providers():
    return [ProviderSpec(name=name, summary="Tape number " + name[-1], factory=print) for name in ("tape-1", "tape-2")]

@hookimpl
def loafer_handlers():
    return [HandlerSpec(name="tape-1", summary="Writes to tape", factory=print)]
"""
SUMMARY = "Reads and writes tapes of every age, for people who have a cellar full of them and time"


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    """Two plugins beside the core's own: acme, which is fine, and wreck, which is not."""
    for name, source in ("acme", ACME), ("wreck", "import no_such_module"):
        (tmp_path / f"{name}_of_a_test.py").write_text(source)
        metadata = tmp_path / f"loafer_{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: loafer-{name}\nVersion: 1.0\nSummary: {SUMMARY}\n")
        (metadata / "entry_points.txt").write_text(f"[loafer]\n{name} = {name}_of_a_test\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LOAFER_PLUGINS_ONLY", "acme,wreck")
    monkeypatch.delenv("LOAFER_PLUGINS_DISABLE", raising=False)
    yield
    sys.modules.pop("acme_of_a_test", None)


def run(*arguments: str, width: int = 120):
    return CliRunner().invoke(plugins_group, ["list", *arguments], env={"COLUMNS": str(width)})


def records(*arguments: str) -> dict[str, dict]:
    result = run("--json", *arguments)
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer.keys() == {"schema", "plugins"}
    assert answer["schema"] == 1
    return {f"{plugin['distribution']}/{plugin['plugin']}": plugin for plugin in answer["plugins"]}


def test_json_tells_everything_of_a_plugin_that_is_ok_and_nothing_else(tmp_path):
    acme = records()["loafer-acme/acme"]
    assert 0 < acme.pop("load_seconds") < 60
    assert acme == {
        "plugin": "acme",
        "distribution": "loafer-acme",
        "version": "1.0",
        "state": "ok",
        "reason": None,
        "provides": [
            {"kind": "provider", "name": "tape-1", "summary": "Tape number 1"},
            {"kind": "provider", "name": "tape-2", "summary": "Tape number 2"},
            {"kind": "handler", "name": "tape-1", "summary": "Writes to tape"},
        ],
        "origin": f"directory {tmp_path}",
        "warnings": [],
    }


def test_json_tells_the_reason_of_a_plugin_that_is_broken_or_blocked_and_exits_0():
    known = records()

    assert known["loafer-wreck/wreck"]["state"] == "broken"
    assert known["loafer-wreck/wreck"]["reason"] == (
        "cannot import 'wreck_of_a_test': ModuleNotFoundError: No module named 'no_such_module'"
    )
    assert known["loafer-sqs/sqs"]["state"] == "blocked"
    assert known["loafer-sqs/sqs"]["reason"] == "LOAFER_PLUGINS_ONLY does not name it"
    assert known["loafer-sqs/sqs"]["provides"] == []
    assert known["loafer-sqs/sqs"]["load_seconds"] is None  # it was not loaded


def test_json_is_not_disturbed_by_a_plugin_that_prints():
    result = run("--json")

    json.loads(result.stdout)
    assert result.stderr == "acme was imported\n"


def test_json_without_loading_has_no_state_and_imports_nothing():
    known = records("--no-load")

    assert {plugin["state"] for plugin in known.values()} == {None}
    assert {plugin["reason"] for plugin in known.values()} == {None}
    assert {plugin["load_seconds"] for plugin in known.values()} == {None}
    assert {"loafer-core/builtin", "loafer-acme/acme", "loafer-wreck/wreck"} <= known.keys()
    assert "acme_of_a_test" not in sys.modules


def test_a_kind_leaves_who_provides_it_and_who_could_not_be_asked():
    known = records("--kind", "handler")

    assert [spec["kind"] for spec in known["loafer-acme/acme"]["provides"]] == ["handler"]
    assert known["loafer-wreck/wreck"]["state"] == "broken"
    assert "loafer-core/builtin" not in known  # it is fine, and has no handler


def test_a_kind_can_be_any_that_a_plugin_can_declare():
    assert {kind: run("--kind", kind).exit_code for kind in KINDS} == dict.fromkeys(KINDS, 0)
    assert run("--kind", "broker").exit_code == 2


def test_a_kind_cannot_be_asked_for_without_loading():
    result = run("--kind", "handler", "--no-load")

    assert result.exit_code == 2
    assert "--no-load" in result.stderr


def test_the_table_has_a_heading_and_each_plugin_with_what_it_provides_by_kind():
    result = run()

    lines = result.stdout.splitlines()
    acme = next(number for number, line in enumerate(lines) if line.startswith("acme"))
    assert result.exit_code == 0
    assert lines[0].split() == ["PLUGIN", "VERSION", "STATE", "PROVIDES", "SUMMARY", "FROM"]
    assert lines[acme].split()[:3] == ["acme", "1.0", "ok"]
    assert "provider: tape-1, tape-2" in lines[acme]
    assert "handler: tape-1" in lines[acme + 1]
    assert "loafer-acme" in lines[acme]
    assert re.search(r"^ +\d+ ms  ", lines[acme + 1])  # what its import took


def test_the_table_is_followed_by_each_plugin_that_cannot_be_used_and_why():
    result = run()

    assert "loafer-wreck/wreck is broken: cannot import 'wreck_of_a_test': ModuleNotFoundError" in result.stdout
    assert "loafer-sqs/sqs is blocked: LOAFER_PLUGINS_ONLY does not name it" in result.stdout
    assert result.exit_code == 0


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_the_terminal_and_its_columns_are_straight(width, tmp_path):
    for metadata in tmp_path.glob("*.dist-info"):  # the long name of pytest's folder is no fair measure
        (metadata / "WHEEL").write_text("Wheel-Version: 1.0\n")
    table = run(width=width).stdout.split("\n\n")[0].splitlines()
    columns = [table[0].index(heading) for heading in ("VERSION", "STATE", "PROVIDES", "SUMMARY", "FROM")]

    assert max(map(len, table)) <= width
    for line in table:
        for column in columns:
            assert line.ljust(width)[column - 2 : column] == "  "
    words = [line[columns[3] : columns[4]].strip() for line in table if "builtin" not in line]
    assert SUMMARY in " ".join(filter(None, words))


def test_the_table_without_loading_has_neither_states_nor_components():
    lines = run("--no-load").stdout.splitlines()

    assert ["acme", "1.0", "-", "-"] in [line.split()[:4] for line in lines]
    assert "acme_of_a_test" not in sys.modules


def test_a_switch_that_names_no_plugin_is_warned_of_beside_the_answer(monkeypatch):
    monkeypatch.setenv("LOAFER_PLUGINS_DISABLE", "wrek")

    result = run("--json")

    json.loads(result.stdout)
    assert (
        "warning: LOAFER_PLUGINS_DISABLE: no installed plugin is called 'wrek'; did you mean 'wreck'?" in result.stderr
    )


def test_the_traceback_of_a_broken_plugin_is_shown_when_asked_for():
    silent, asked = run("--json"), run("--json", "--traceback")

    assert "Traceback" not in silent.output
    assert "import no_such_module" in asked.stderr
    assert json.loads(asked.stdout).keys() == json.loads(silent.stdout).keys()
    assert "--traceback" in run().stdout


def test_what_a_distribution_says_of_itself_cannot_move_the_cursor(tmp_path):
    metadata = tmp_path / "loafer_acme-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Reads", "\x1b[2JReads"))

    assert "\x1b" not in run().stdout


@pytest.mark.parametrize("options", [(), ("--no-load",)])
def test_a_look_alike_stands_out_in_the_table_and_in_json(tmp_path, monkeypatch, options):
    monkeypatch.setenv("LOAFER_PLUGINS_ONLY", "acme,wreck,sqs")
    (tmp_path / "evil_of_a_test.py").write_text("LOAFER_API = 1\n")
    metadata = tmp_path / "loafer_sqss-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: loafer-sqss\nVersion: 1.0\nSummary: Amazon SQS for Loafer\n")
    (metadata / "entry_points.txt").write_text("[loafer]\nsqs = evil_of_a_test\n")
    monkeypatch.syspath_prepend(str(tmp_path / "another-look"))
    near = "its distribution is called almost like 'loafer-sqs'; make sure that it is the one you want"
    same = "loafer-sqs has a plugin 'sqs', too; [defaults.sqs] and a bare 'sqs' mean both"

    assert records(*options)["loafer-sqss/sqs"]["warnings"] == [near, same]
    table = run(*options)
    assert f"loafer-sqss/sqs: warning: {near}\n" in table.stdout
    assert table.stderr == ""
