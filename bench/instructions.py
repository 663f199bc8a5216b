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


def count(consumer: Consumer, scenario: Scenario) -> Run:
    """Under valgrind a message takes fifty times as long, and nothing else of it is measured."""
    scenario = scenario.sized(MESSAGES / scenario.count)

    def command(job: Job) -> list[str]:
        log = job.folder / "valgrind"
        words = ["--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null", f"--log-file={log}"]
        return ["valgrind", *words, *consumer.command(job)]

    with at_work(replace(consumer, command=command), scenario) as watch:
        try:
            watch.reach(FIRST, time.monotonic() + PATIENCE)
            first = _switch(watch, "on")
            watch.reach(scenario.count, time.monotonic() + PATIENCE)
            counted = _switch(watch, "off") - first
            watch.process.terminate()
            watch.process.wait(PATIENCE)
        except (Failed, subprocess.SubprocessError) as error:
            return Run(consumer.name, scenario.name, failed=str(error))
        found = _COUNTED.search((watch.job.folder / "valgrind").read_text())
    if found is None or not counted:
        return Run(consumer.name, scenario.name, failed="valgrind counted nothing")
    return Run(consumer.name, scenario.name, {"instructions": int(found[1]) / counted})


def _switch(watch: Watch, state: str) -> int:
    """Give how many messages were done by then."""
    subprocess.run(["callgrind_control", "-i", state, str(watch.process.pid)], check=True, capture_output=True)
    return watch.deleted(watch.server.ask("/stats"))
