"""Many worlds of the simulation, in processes side by side."""

from __future__ import annotations

import asyncio
import os
import pathlib
import re
import sys
import time
from typing import NamedTuple

REPOSITORY = pathlib.Path(__file__).parents[2]
SIMULATION = "tests/core/simulation/test_simulation.py::test_whatever_goes_wrong_every_invariant_holds"
SLICE = 2_500


class Slice(NamedTuple):
    """A range of seeds, and what was said of those that failed; "" where all went well."""

    first: int
    last: int
    failure: str


async def simulate(first: int, count: int, at_once: int) -> list[Slice]:
    """Run the seeds from ``first`` on; says how far it is."""
    begin, done = time.monotonic(), 0
    turn = asyncio.Semaphore(at_once)

    async def one(start: int) -> Slice:
        nonlocal done
        stop = min(start + SLICE, first + count)
        async with turn:
            failure = await _pytest(start, stop)
        done += stop - start
        seconds = time.monotonic() - begin
        left = seconds / done * (count - done)
        print(f"  {done:7d} of {count} worlds in {seconds:5.0f} s, {left:5.0f} s to go", flush=True)
        return Slice(start, stop, failure)

    return await asyncio.gather(*map(one, range(first, first + count, SLICE)))


async def _pytest(first: int, last: int) -> str:
    options = ["-q", "-n0", "-p", "no:cacheprovider", "--no-header", "--tb=short", "--timeout=3600"]
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "pytest", *options, SIMULATION],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "LOAFER_SEED"}
        | {"LOAFER_SEEDS": f"{first}:{last}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode == 0:
        return ""
    text = output.decode(errors="replace")
    lines = re.findall(r"^E +((?:\w*Error: )?i\d+_.*|seed \d+, once more.*)$", text, re.MULTILINE)
    return "\n".join(lines) or text[-3000:]
