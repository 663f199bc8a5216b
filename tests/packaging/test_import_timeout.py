"""The time limit for the import of plugins, in a real process: warned of, interrupted, at the worst the end of it."""

from __future__ import annotations

import json

import pytest

LOADING = """
from loafer_core.discovery import import_guard
from loafer_core.cli import main
import_guard.WARN_AFTER, import_guard.INTERRUPT_AFTER, import_guard.EXIT_AFTER = 0.5, 2.0, 3.0
main({command!r})
"""
SLEEPS = """
import time
while True:
    try:
        time.sleep(600)
    except Exception:  # no plugin shall get out of it in this way
        pass
"""
STUBBORN = """
import ctypes
libc = ctypes.CDLL(None)
mutex = ctypes.create_string_buffer(256)
libc.pthread_mutex_init(mutex, None)
libc.pthread_mutex_lock(mutex)
libc.pthread_mutex_lock(mutex)  # for ever, and no signal gets in
"""


@pytest.fixture
def call(python):
    def call(*command):
        return python("-c", LOADING.format(command=[*command]))

    return call


def test_a_plugin_that_hangs_is_interrupted_and_broken_and_the_others_are_not(unpack, call):
    unpack("loafer-sleepy", SLEEPS, point="sleepy")

    told = call("plugins", "list", "--json")

    known = {plugin["plugin"]: plugin for plugin in json.loads(told.stdout)["plugins"]}
    assert told.returncode == 0
    # On a busy machine a plugin without fault may be warned of, too.
    assert "still importing the plugin loafer-sleepy/sleepy, after 0.5 s\n" in told.stderr
    assert known["sleepy"]["state"] == "broken"
    assert known["sleepy"]["reason"] == "importing the plugin loafer-sleepy/sleepy took longer than 2 s"
    assert known["json"]["state"] == known["builtin"]["state"] == "ok"


def test_where_a_plugin_hangs_is_shown_by_its_check(unpack, call):
    unpack("loafer-sleepy", SLEEPS, point="sleepy")

    told = call("plugins", "check", "sleepy")

    assert told.returncode == 1
    assert "time.sleep(600)" in told.stdout


def test_a_plugin_that_cannot_be_interrupted_ends_the_command_with_its_name(unpack, call):
    unpack("loafer-stubborn", STUBBORN, point="stubborn")

    told = call("plugins", "list", "--json")

    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.endswith(
        "error: importing the plugin loafer-stubborn/stubborn took longer than 3 s and cannot be interrupted\n"
    )


def test_a_service_starts_without_a_plugin_that_hangs_and_that_it_does_not_need(unpack, call, tmp_path):
    unpack("loafer-sleepy", SLEEPS, point="sleepy")
    (tmp_path / "loafer.toml").write_text(
        '[routes.orders]\nprovider = { name = "memory", messages = ["A1"] }\nhandler = "orders:print_it"\n'
    )
    (tmp_path / "orders.py").write_text("def print_it(order):\n    print(order)\n")

    told = call("run", "--until-empty=20")

    assert (told.returncode, told.stdout) == (0, "A1\n")
    assert "plugin loafer-sleepy/sleepy: broken: importing the plugin loafer-sleepy/sleepy took longer" in told.stderr


@pytest.mark.parametrize(
    ("theirs", "is_left"),
    [
        ("signal.signal(signal.SIGALRM, print)", "signal.getsignal(signal.SIGALRM) is print"),
        ("signal.setitimer(signal.ITIMER_REAL, 60)", "signal.getitimer(signal.ITIMER_REAL)[0] > 0"),
    ],
    ids=["handler", "timer"],
)
def test_somebody_elses_alarm_is_left_alone(unpack, python, theirs, is_left):
    unpack("loafer-slow", "import time\ntime.sleep(0.3)\nLOAFER_API = 1", point="slow")

    told = python(
        "-c",
        "import signal\n"
        "from loafer_core.discovery import import_guard, loader\n"
        f"import_guard.INTERRUPT_AFTER = 0.1\n{theirs}\n"
        f"print([plugin.state for plugin in loader.load().plugins if plugin.plugin == 'slow'], {is_left})",
    )

    assert told.stdout == "['ok'] True\n"
