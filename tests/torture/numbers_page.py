"""Measures what docs/explanation/numbers.md says, and prints it as Markdown.

python tests/torture/numbers_page.py --messages 2000
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Sequence

if not __package__:
    sys.path[0] = str(pathlib.Path(__file__).parents[1])  # its neighbours are torture.<name>, as in the tests

from torture import measured_processes as processes
from torture import measured_virtually as virtual
from torture.parts import add_parts

LOOPS = ("raw loop, lease left to end", "raw loop, visibility 0", "Loafer", "Loafer with a breaker")
PARTS = ["restarts", "outages", "stops", "recoveries"]
OUTAGES = ((60.0, 3), (300.0, 5))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print()


def spread(seconds: Sequence[float]) -> list[str]:
    """Median, 99th percentile where there are enough, the worst, and how many there are."""
    if not seconds:
        return ["none"] * 3 + ["0"]
    p99 = f"{statistics.quantiles(seconds, n=100)[98]:.2f} s" if len(seconds) >= 100 else "too few"
    return [f"{statistics.median(seconds):.2f} s", p99, f"{max(seconds):.2f} s", str(len(seconds))]


async def restarts(messages: int, seed: int) -> None:
    print("### Handled again, and receives\n")
    rows, stops = [], []
    for treatment in processes.TREATMENTS:
        for kind in ("raw loop", "Loafer"):
            one = await processes.measure(kind, treatment, messages, seed)
            each = f"{one.again / one.blows:.1f}" if one.blows else ""
            cells = [one.again, f"{one.per_million:,.0f}", each, f"{one.burned:.4f}", one.lost]
            rows.append([treatment, kind, one.messages, one.blows, *cells])
            stops += one.stops if kind == "Loafer" else []
    again = ["handled again", "per million", "per blow"]
    table(["treatment", "who", "messages", "blows", *again, "more receives per message", "lost"], rows)
    print("### Stops under load\n")
    table(["", "median", "p99", "worst", "stops"], [["real processes, from SIGTERM to the exit", *spread(stops)]])


def outages(messages: int, seed: int) -> None:
    print("### Dead-lettered by an outage of what the handler needs\n")
    rows = []
    for outage, receives in OUTAGES:
        for loop in LOOPS:
            dead = virtual.dead_lettered(loop, outage, receives, messages, seed)
            rows.append([f"{outage:g} s", receives, loop, messages, f"{dead} ({dead / messages:.1%})"])
    table(["outage", "maxReceiveCount", "who", "messages sent during it", "dead-lettered"], rows)


def stops(times: int) -> None:
    print("### Stops at a random moment\n")
    rows = [
        [f"{longest:g} s", f"{gap:g} s", *spread([virtual.drain(longest, gap, seed) for seed in range(times)])]
        for longest in (0.1, 2.0, 30.0)
        for gap in (1.0, 10.0, 1000.0)
    ]
    table(["handlers take up to", "a message every", "median", "p99", "worst", "stops"], rows)


def recoveries(times: int, real: int) -> None:
    print("### From the end of an outage of the source to the first message\n")
    rows = [
        [f"virtual, {outage:g} s", *spread([virtual.recovery(outage, seed) for seed in range(times)])]
        for outage in (5.0, 60.0, 600.0)
    ]
    rows.append(["real process, 20 s", *spread(asyncio.run(processes.recovery(20.0, real)))])
    table(["outage", "median", "p99", "worst", "outages"], rows)


def read(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_parts(parser, PARTS)
    parser.add_argument("--messages", type=int, default=2000, help="per run of real processes (default 2000)")
    parser.add_argument("--virtual", type=int, default=500, help="samples in virtual time (default 500)")
    parser.add_argument("--real", type=int, default=5, help="outages of a real server (default 5)")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(words)


def main() -> None:
    arguments = read()
    logging.disable(logging.CRITICAL)
    begin = time.monotonic()
    if "restarts" in arguments.parts:
        asyncio.run(restarts(arguments.messages, arguments.seed))
    if "outages" in arguments.parts:
        outages(arguments.virtual, arguments.seed)
    if "stops" in arguments.parts:
        stops(arguments.virtual)
    if "recoveries" in arguments.parts:
        recoveries(arguments.virtual, arguments.real)
    python, system = platform.python_version(), platform.system()
    print(f"Measured in {time.monotonic() - begin:.0f} s with Python {python} on {system}.")


if __name__ == "__main__":
    main()
