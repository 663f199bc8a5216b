"""``loafer check``: every problem at once, offline."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from loafer_core.cli import main

GOOD = """
    [routes.orders]
    provider = "memory"
    handler = "builtins:print"
"""

PLUGIN = """
    from loafer_core import Options, ProviderSpec, hookimpl
    LOAFER_API = 1
    @hookimpl
    def loafer_providers():
        return [ProviderSpec(name="kafka", summary="X", options=Options, factory=print)]
"""


@pytest.fixture
def check(tmp_path, monkeypatch) -> Callable[..., Result]:
    """``check(*arguments, file=text)`` in a folder where nothing else lies."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)

    def check(*arguments: str, file: str | None = GOOD) -> Result:
        if file is not None:
            (tmp_path / "loafer.toml").write_text(textwrap.dedent(file))
        return CliRunner().invoke(main, ["check", *arguments])

    return check


def test_a_good_configuration_is_ok(check):
    result = check()

    assert (result.exit_code, result.stdout, result.stderr) == (0, "ok: 1 route\n", "")


def test_t51_errors_are_counted_and_exit_1(check):
    result = check(file=GOOD + "concurrency = -1\nretry = 3\n")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == "2 errors, 0 warnings"
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()[:2]] == [
        ["error", "routes.orders.concurrency"],
        ["error", "routes.orders.retry"],
    ]


def test_a_warning_fails_a_strict_check_only(check):
    file = GOOD + "[loafer]\nimport_paths = ['src']\n"

    result = check(file=file)
    assert (result.exit_code, result.stdout) == (0, "ok: 1 route, 1 warning\n")
    assert result.stderr.startswith("warning: loafer.import_paths: there is no folder ")

    result = check("--strict", file=file)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith("0 errors, 1 warning\n")


def test_a_missing_file_exits_1(check):
    result = check("-c", "other.toml")

    assert result.exit_code == 1
    assert result.stderr == "error: other.toml: there is no such file\n1 error, 0 warnings\n"


def test_a_mistake_on_the_command_line_exits_2(check):
    result = check("--set", "what")

    assert result.exit_code == 2
    assert result.stderr == (
        "error: --set: cannot read 'what'; write KEY=VALUE, such as routes.orders.concurrency=50\n"
    )


def test_a_broken_plugin_is_why_its_component_is_missing(check, install):
    install("loafer-kafka", "1 / 0", point="kafka")

    result = check("--set", "routes.orders.provider=kafka")

    assert result.exit_code == 1
    error, warning, _ = result.stderr.splitlines()
    reason = "broken: cannot import 'loafer_kafka_plugin': ZeroDivisionError: division by zero"
    assert warning == f"warning: plugin loafer-kafka/kafka: {reason}"
    assert error.startswith(
        "error: routes.orders.provider: there is no provider 'kafka': the plugin loafer-kafka/kafka"
    )


def test_a_blocked_plugin_is_why_its_component_is_missing_and_is_not_imported(check, install):
    install("loafer-kafka", "raise AssertionError('imported')", point="kafka")

    result = check(file="[plugins]\ndisable = ['kafka']\n" + textwrap.dedent(GOOD).replace("memory", "kafka"))

    assert result.exit_code == 1
    assert "the plugin loafer-kafka/kafka is blocked: plugins.disable names it" in result.stderr
    assert "imported" not in result.stderr


def test_two_plugins_that_offer_one_name_are_both_named(check, install):
    install("loafer-kafka", PLUGIN, point="kafka")
    install("other-kafka", PLUGIN, point="kafka")

    result = check("--set", "routes.orders.provider=kafka")

    assert result.exit_code == 1
    assert "is offered by the plugins loafer-kafka/kafka and other-kafka/kafka" in result.stderr
    assert check().exit_code == 0  # nobody who does not ask for it is bothered


def test_traceback_shows_what_was_raised(check, tmp_path):
    (tmp_path / "broken_for_check.py").write_text("1 / 0\n")
    arguments = ["--set", "routes.orders.handler=broken_for_check:handle"]

    assert "Traceback" not in check(*arguments).stderr
    result = check("--traceback", *arguments)

    assert result.exit_code == 1
    assert "Traceback (most recent call last):" in result.stderr
    assert "ZeroDivisionError: division by zero" in result.stderr


def test_what_the_environment_holds_is_not_shown(check, monkeypatch):
    monkeypatch.setenv("CANARY", "s3cr3t")

    result = check("--traceback", file=GOOD + "concurrency = '${CANARY}'\nretry = { base = '${CANARY}' }\n")

    assert result.exit_code == 1
    assert "s3cr3t" not in result.output


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("raise RuntimeError('no')", "its command 'paint' raised RuntimeError: no"),
        ("return 3", "its command 'paint' is a int, not a click.Command"),
    ],
)
def test_a_plugin_s_command_that_cannot_be_made_is_said_by_its_plugin_s_name(check, install, command, text):
    source = f"""
        from loafer_core import CommandSpec, hookimpl
        LOAFER_API = 1
        def command(options):
            {command}
        @hookimpl
        def loafer_commands():
            return [CommandSpec(name="paint", summary="Paint", factory=command)]
    """
    install("loafer-paint", source, point="paint")

    result = CliRunner().invoke(main, ["paint"])

    assert result.exit_code == 1
    assert result.stderr == f"Error: the plugin loafer-paint/paint: {text}\n"


def test_a_plugin_s_command_is_listed_and_runs(check, install):
    source = """
        from loafer_core import CommandSpec, hookimpl
        LOAFER_API = 1
        def command(options):
            import click
            return click.Command("paint", callback=lambda: click.echo("painted"))
        @hookimpl
        def loafer_commands():
            return [CommandSpec(name="paint", summary="Paint the town", factory=command)]
    """
    install("loafer-paint", source, point="paint")

    assert CliRunner().invoke(main, ["paint"]).stdout == "painted\n"
    listed = CliRunner().invoke(main, ["--help"]).stdout
    assert "Paint the town" in listed
    assert "Receive messages and hand them to the handlers" in listed


def test_a_command_that_nobody_has_exits_2(check):
    assert CliRunner().invoke(main, ["pain"]).exit_code == 2
