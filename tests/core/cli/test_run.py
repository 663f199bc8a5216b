"""``loafer run``, as far as no signals are needed: what it takes, what it says and where, how it exits."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loafer_core import MemoryProvider, MemoryQueue, Unavailable
from loafer_core.cli import main

SERVICE = """
import logging
from loafer_core import Nack

def show(payload):
    print("handled", repr(payload))

def nack(payload):
    return Nack(1)

def log(payload):
    logging.getLogger("shop").warning("one\\nERROR two\\x1b[31m")
    logging.getLogger("shop").debug("in detail")
"""


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def service(tmp_path, monkeypatch) -> Path:
    """The folder of a service, with a module ``service``; ``loafer`` is called there."""
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "service", raising=False)
    (tmp_path / "service.py").write_text(SERVICE)
    return tmp_path


@pytest.fixture
def loafer(service, virtual_time) -> Iterator[Callable[..., Result]]:
    """``loafer(*arguments)`` with ``loafer.toml`` of one route on memory, or what ``file=`` says; in virtual time."""

    def loafer(*arguments: str, file: str | None = None, messages: str = "[]", handler: str = "show") -> Result:
        (service / "loafer.toml").write_text(
            textwrap.dedent(file)
            if file is not None
            else f"[routes.orders]\nprovider = {{ name = 'memory', messages = {messages} }}\n"
            f"handler = 'service:{handler}'\nconcurrency = 1\n"
        )
        return CliRunner().invoke(main, ["run", *arguments])

    yield loafer
    MemoryQueue.forget_named()
    __import__("sys").modules.pop("service", None)


def test_a_handler_s_output_goes_to_stdout_and_what_run_says_to_stderr(loafer):
    result = loafer("--until-empty", messages="['a', 'b']")

    assert (result.exit_code, result.stdout) == (0, "handled 'a'\nhandled 'b'\n")
    assert "orders: memory -> text -> service:show; 1 at once\n" in result.stderr
    assert "account of orders: 2 received = 2 acked\n" in result.stderr


# --- --until-empty


@pytest.mark.parametrize("form", [["--until-empty"], ["--until-empty", "--log-level=error"]], ids=" ".join)
def test_until_empty_without_seconds_has_no_limit(loafer, form):
    assert loafer(*form, messages="['a']").exit_code == 0


@pytest.mark.parametrize("form", [["--until-empty=7"], ["--until-empty", "7"]], ids=" ".join)
def test_until_empty_with_seconds_ends_after_them_and_exits_1(loafer, form):
    result = loafer(*form, messages="['a']", handler="nack")

    assert result.exit_code == 1
    assert "not empty after 7 s; stopping" in result.stderr
    assert "orders: neither acked nor rejected in the end: 1 (memory-" in result.stderr


@pytest.mark.parametrize("seconds", ["0", "soon", "nan", "inf", "forever"])
def test_until_empty_takes_a_number_of_seconds_above_0(loafer, seconds):
    result = loafer(f"--until-empty={seconds}")

    assert result.exit_code == 2
    assert f"--until-empty={seconds}: a number of seconds above 0" in result.stderr


# --- --sandbox and --sample


def test_samples_are_sent_to_the_sandbox_one_line_a_body(loafer, service):
    (service / "orders.jsonl").write_text('\ufeff{"a": 1}\n\n"one\u2028line"\r\n  \n', encoding="utf-8")
    (service / "more.jsonl").write_text("last")

    result = loafer("--sandbox", "--until-empty", "--sample", "orders=orders.jsonl", "--sample", "orders=more.jsonl")

    bodies = ['{"a": 1}', '"one\u2028line"', "last"]
    assert (result.exit_code, result.stdout) == (0, "".join(f"handled {body!r}\n" for body in bodies))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--sample", "orders=a"], "--sample needs --sandbox: it never sends to a real source"),
        (["--sandbox", "--sample", "orders"], "--sample orders: write ROUTE=FILE"),
        (["--sandbox", "--sample", "=a"], "--sample =a: write ROUTE=FILE"),
        (["--sandbox", "--sample", "orders=a"], "--sample orders=a: cannot read it: No such file or directory"),
        (["--sandbox", "--sample", "orders=latin"], "--sample orders=latin: cannot read it: it is not UTF-8"),
        (["--sandbox", "--sample", "order=good"], "--sample order: no such route runs; there are orders"),
    ],
)
def test_a_sample_that_cannot_be_sent_is_a_mistake_on_the_command_line(loafer, service, arguments, text):
    (service / "latin").write_bytes(b"\xe9")
    (service / "good").write_text("x")

    result = loafer(*arguments)

    assert result.exit_code == 2
    assert text in result.stderr


def test_a_sample_for_a_route_that_was_not_chosen_is_refused(loafer, service):
    (service / "good").write_text("x")
    file = "".join(f"[routes.{name}]\nprovider = 'memory'\nhandler = 'service:show'\n" for name in "ab")

    result = loafer("--sandbox", "--route", "a", "--sample", "b=good", file=file)

    assert result.exit_code == 2
    assert "--sample b: no such route runs; there are a" in result.stderr


def test_a_sample_for_a_source_that_cannot_publish_is_a_finding(loafer, service, install):
    install(
        "loafer-mute",
        """
        from loafer_core import BaseProvider, ProviderSpec, SandboxSpec, hookimpl
        LOAFER_API = 1
        class Mute(BaseProvider):
            async def open(self, context): ...
            async def receive(self, limit): return []
            async def ack(self, messages): return {}
            async def nack(self, delays): return {}
        class Nothing:
            def start(self, components): return {component.where: {} for component in components}
            def stop(self): ...
        @hookimpl
        def loafer_providers():
            return [ProviderSpec(name="mute", summary="X", factory=lambda options: Mute())]
        @hookimpl
        def loafer_sandboxes():
            return [SandboxSpec(name="mute", summary="X", factory=lambda options: Nothing())]
        """,
        point="mute",
    )
    (service / "good").write_text("x")

    result = loafer("--sandbox", "--sample", "a=good", file="[routes.a]\nprovider = 'mute'\nhandler = 'service:show'\n")

    assert result.exit_code == 78
    assert "error: routes.a.provider: it cannot publish, so it takes no sample\n" in result.stderr


def test_a_sample_that_the_source_does_not_take_is_a_finding(loafer, service, monkeypatch):
    async def full(self, body, attributes=None, group=None):
        raise Unavailable("the queue is full")

    monkeypatch.setattr(MemoryProvider, "publish", full)
    (service / "good").write_text("x")

    result = loafer("--sandbox", "--sample", "orders=good")

    assert result.exit_code == 78
    assert "error: routes.orders.provider: it took not every sample: the queue is full\n" in result.stderr


# --- --route and --set


def test_only_the_chosen_route_runs(loafer):
    file = "".join(
        f"[routes.{name}]\nprovider = {{ name = 'memory', messages = ['{name}'] }}\nhandler = 'service:show'\n"
        for name in "ab"
    )

    result = loafer("--route", "b", "--until-empty", file=file)

    assert (result.exit_code, result.stdout) == (0, "handled 'b'\n")


def test_set_wins_over_the_file(loafer):
    result = loafer("--until-empty", "--set", "routes.orders.provider.messages=['other']", messages="['a']")

    assert (result.exit_code, result.stdout) == (0, "handled 'other'\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--route", "order"], "error: --route: there is no route 'order'; did you mean 'orders'?\n"),
        (["--set", "concurrency"], "error: --set: cannot read 'concurrency'; write KEY=VALUE"),
    ],
)
def test_a_mistake_on_the_command_line_exits_2_with_a_line(loafer, arguments, text):
    result = loafer(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(text)
    assert result.stderr.count("\n") == 1


def test_a_mistake_in_the_file_too_makes_it_a_bad_configuration(loafer):
    result = loafer("--route", "order", "--set", "routes.orders.concurrency=-1")

    assert result.exit_code == 78


# --- bad configurations


def test_no_configuration_exits_78_with_one_to_start_with(service):
    result = CliRunner().invoke(main, ["run"])

    assert result.exit_code == 78
    assert "no configuration: neither loafer.toml nor a pyproject.toml" in result.stderr
    assert "\n    [routes.orders]\n" in result.stderr


BAD = """
    [routes.a]
    provider = "kafka"
    handler = "broken:handle"
    [routes.b]
    provider = "memory"
    handler = "service:missing"
"""


def test_every_problem_begins_a_line_and_none_is_a_traceback(loafer, service):
    (service / "broken.py").write_text("raise OSError('no\\n\\x1b[31mdisk')\n")

    result = loafer(file=BAD)

    assert (result.exit_code, result.stdout) == (78, "")
    first, second, continued, third = result.stderr.splitlines()
    assert first.startswith("error: routes.a.provider: there is no provider 'kafka'")
    assert second == "error: routes.a.handler: importing 'broken' failed: OSError: no"
    assert continued.startswith(r"    \x1b[31mdisk (")
    assert third.startswith("error: routes.b.handler: module 'service' has no attribute 'missing'")


def test_traceback_shows_where_the_user_s_module_raised(loafer, service):
    (service / "broken.py").write_text("raise OSError('no\\n\\x1b[31mdisk')\n")

    result = loafer("--traceback", file=BAD)

    assert result.exit_code == 78
    assert "Traceback (most recent call last):" in result.stderr
    assert "OSError: no" in result.stderr
    assert "\x1b" not in result.stderr


def test_a_bug_of_ours_exits_70_with_its_traceback(loafer, monkeypatch):
    def bug(*_):
        raise ZeroDivisionError("in our code")

    monkeypatch.setattr("loafer_core.app.startup_log.retries", bug)
    monkeypatch.setattr("loafer_core.app.session.retries", bug)

    result = loafer()

    assert result.exit_code == 70
    assert "ZeroDivisionError: in our code\n" in result.stderr
    assert result.stderr.endswith("This is a bug in Loafer. Please report it with the lines above.\n")


CANCELS = "for task in asyncio.all_tasks():\n        task.cancel()"


@pytest.mark.parametrize(
    ("mischief", "line"),
    [
        (CANCELS, "somebody cancelled the tasks of Loafer itself; does a handler cancel all it finds?"),
        (
            "asyncio.get_running_loop().stop()",
            "somebody stopped the event loop: does a handler call loop.stop()? A service ends by SIGTERM",
        ),
    ],
    ids=["cancels every task", "stops the loop"],
)
def test_an_error_that_is_no_bug_of_ours_is_a_line(loafer, service, mischief, line):
    (service / "service.py").write_text(
        f"import asyncio\nasync def show(payload):\n    {mischief}\n    await asyncio.sleep(1)\n"
    )

    result = loafer(messages="['a']")

    assert result.exit_code == 70
    assert result.stderr.endswith(f"error: {line}\n")
    assert "Traceback" not in result.stderr


# --- logging


def test_t68_a_log_record_is_one_line_whatever_it_says(loafer):
    result = loafer("--until-empty", messages="['a']", handler="log")

    [line] = [line for line in result.stderr.splitlines() if "ERROR" in line]
    assert line.endswith(r"WARNING one\nERROR two\x1b[31m")


@pytest.mark.parametrize(
    ("level", "info", "debug"), [("warning", False, False), ("info", True, False), ("debug", True, True)]
)
def test_the_log_level_says_how_much_is_logged(loafer, level, info, debug):
    result = loafer("--until-empty", "--log-level", level, messages="['a']", handler="log")

    assert ("account of orders" in result.stderr) is info
    assert ("in detail" in result.stderr) is debug
