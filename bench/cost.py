"""What a message costs in the core alone, in instructions: here, and in another checkout or revision beside it.

One program, `bench/consumers/core_alone.py`, runs whichever core comes first on its path, and knows nothing of it but
the door. So what is different between two counts is what is behind the door, however that is laid out.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import instructions, machine
from bench.figures import Spread, Table
from bench.lineup import CONSUMERS, ROOT
from bench.report import rows
from bench.runner import Run
from bench.watch import Failed

CASES: Mapping[str, Sequence[str]] = {
    "async def": (),
    "plain def": ("--plain",),
    "ordered": ("--groups", "5"),
    "held": ("--hold", "1.5", "--lease", "3", "--concurrency", "100"),
}
"""Options of the program. ``held``: for half of its lease, so that the lease of every message is extended once."""
MESSAGES = 1_000
PATIENCE = 300.0
HERE = "here"


def count(cases: Sequence[str], rounds: int, against: str | None) -> Table:
    """Count here, and there by turns; each round has a memory layout of its own. Raises Failed."""
    if unknown := set(cases) - set(CASES):
        raise Failed(f"there is no case {', '.join(sorted(unknown))}: choose from {', '.join(CASES)}")
    if not instructions.is_there():
        raise Failed("it is valgrind that counts, and it is not there: apt-get install valgrind")
    if against is None:
        return _measure({HERE: ROOT}, cases, rounds)
    with checkout(against) as folder:
        return _measure({HERE: ROOT, against: folder}, cases, rounds)


@contextlib.contextmanager
def checkout(name: str) -> Iterator[Path]:
    """The folder with the core of ``name``, which is a folder or a git revision. Raises Failed."""
    if Path(name).is_dir():
        yield Path(os.path.abspath(name))
        return
    with tempfile.TemporaryDirectory(prefix="cost-") as folder:
        packed = subprocess.run(["git", "archive", name, "loafer_core"], cwd=ROOT, capture_output=True, check=False)
        if packed.returncode:
            raise Failed(f"{name} is no folder, and no revision either: {packed.stderr.decode().strip()}")
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
        yield Path(folder)


def _measure(cores: Mapping[str, Path], cases: Sequence[str], rounds: int) -> Table:
    """``cores``: folders, by what they are called."""
    runs = [Run(name, case, round=number) for number in range(rounds) for case in cases for name in cores]
    # Side by side, which is quicker: a count hardly changes with what else the machine does.
    with ThreadPoolExecutor(len(machine.CORES)) as pool:
        return Table(list(pool.map(lambda run: _counted(run, cores[run.consumer]), runs)))


def _counted(run: Run, folder: Path) -> Run:
    what = f"{run.scenario}, {run.consumer}"
    with tempfile.TemporaryDirectory(prefix="cost-") as place:
        log = Path(place) / "valgrind"
        program = [sys.executable, "-P", str(CONSUMERS / "core_alone.py"), "--counted", "--messages", str(MESSAGES)]
        command = instructions.under_valgrind([*program, *CASES[run.scenario]], log)
        options: dict[str, Any] = {"env": _environment(folder, run.round), "capture_output": True, "text": True}
        try:
            done = subprocess.run(command, timeout=PATIENCE, check=True, **options)
        except subprocess.CalledProcessError as error:
            raise Failed(f"{what}: {error.stderr.strip()}") from None
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{what}: {error}") from None
        if (core := json.loads(done.stdout)["core"]) != str(folder):
            raise Failed(f"{what}: there is no core in {folder}, the one in {core} was run")
        each = instructions.counted(log) / MESSAGES
    print(f"{what}: {each:,.0f}", file=sys.stderr)
    return replace(run, figures={"instructions": each})


def _environment(folder: Path, layout: int) -> dict[str, str]:
    """Whatever else is installed, or set where this is called, is not counted. ``layout``: of memory."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder),
        "PYTHONHASHSEED": "0",
        "BENCH_LAYOUT": str(layout),
        "LOAFER_PLUGINS_ONLY": "none",
    }


def table(found: Table, against: str | None) -> str:
    """A line for each case. ``against``: what the other core is called; None: there is none."""
    head, body = ["case", "instructions/message", "spread"], []
    if against is not None:
        head += [against, "spread", "ratio"]
    for case in _cases(found):
        line = [case]
        for name in (HERE, *([] if against is None else [against])):
            spread = found.spread(name, case, "instructions")
            assert spread is not None
            line += [f"{spread.median:,.0f}", f"{(spread.most - min(spread.values)) / spread.median:.2%}"]
        body.append(line if against is None else [*line, _ratio(found, case, against).text(3)])
    return rows(head, body)


def dearer(found: Table, against: str, most: float) -> list[str]:
    """Cases that cost more than ``most`` times what they cost there: a sentence for each."""
    ratios = {case: _ratio(found, case, against).median for case in _cases(found)}
    return [
        f"{case} costs {ratio:.3f} times what it costs in {against}" for case, ratio in ratios.items() if ratio > most
    ]


def _cases(found: Table) -> list[str]:
    return list(dict.fromkeys(run.scenario for run in found.runs))


def _ratio(found: Table, case: str, against: str) -> Spread:
    ratio = found.ratio("instructions", (HERE, case), (against, case))
    assert ratio is not None
    return ratio
