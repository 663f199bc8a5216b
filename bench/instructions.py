"""How many instructions a message takes, by valgrind: a count, which neither neighbours nor a slow machine change.

That is not time: what waits for memory counts like what does not. Two counts of the same differ by a few in a hundred:
a consumer under valgrind is slow, gets its messages in other portions each time, and sends some acks in smaller ones.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from bench.lineup import Consumer, Job
from bench.runner import Run, at_work
from bench.scenarios import Scenario
from bench.watch import Failed, Watch

MESSAGES = 2_400
FIRST = 200
"""Not counted: connections are made, and code is run for the first time."""
PATIENCE = 300.0
_COUNTED = re.compile(r"Collected : (\d+)")


def is_there() -> bool:
    return shutil.which("callgrind_control") is not None


def under_valgrind(command: list[str], log: Path) -> list[str]:
    """The command, to be counted from where ``callgrind_control`` switches that on. ``log``: where the count goes."""
    words = ["--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null", f"--log-file={log}"]
    return ["valgrind", *words, *command]


def counted(log: Path) -> int:
    """Instructions. Raises Failed."""
    if (found := _COUNTED.search(log.read_text())) is None:
        raise Failed("valgrind counted nothing")
    return int(found[1])


def count(consumer: Consumer, scenario: Scenario) -> Run:
    """Under valgrind a message takes fifty times as long, and nothing else of it is measured."""
    scenario = scenario.sized(MESSAGES / scenario.count)

    def command(job: Job) -> list[str]:
        return under_valgrind(consumer.command(job), job.folder / "valgrind")

    with at_work(replace(consumer, command=command), scenario) as watch:
        try:
            watch.reach(FIRST, time.monotonic() + PATIENCE)
            first = _switch(watch, "on")
            watch.reach(scenario.count, time.monotonic() + PATIENCE)
            messages = _switch(watch, "off") - first
            watch.process.terminate()
            watch.process.wait(PATIENCE)
            if not messages:
                raise Failed("all messages were done before valgrind counted")
            each = counted(watch.job.folder / "valgrind") / messages
            return Run(consumer.name, scenario.name, {"instructions": each})
        except (Failed, subprocess.SubprocessError) as error:
            return Run(consumer.name, scenario.name, failed=str(error))


def _switch(watch: Watch, state: str) -> int:
    """Give how many messages were done by then."""
    subprocess.run(["callgrind_control", "-i", state, str(watch.process.pid)], check=True, capture_output=True)
    return watch.deleted(watch.server.ask("/stats"))
