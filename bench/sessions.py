"""Which runs are made, and in what order: everybody once, then everybody again."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bench import instructions, machine, peers
from bench.curves import CURVES
from bench.figures import Spread
from bench.lineup import LOAFER, LOAFERS, LOOPS, PIPELINE, RAW, Consumer, has_fast_client
from bench.runner import Run, run
from bench.scenarios import ALONE, BESIDE, IDLE, NO_OP, NO_OP_10, SCENARIOS, STOP, WAITING, WAITING_120, Scenario

Plan = list[tuple[Scenario, list[Consumer]]]


def rounds(plan: Plan, count: int, first: int = 0) -> list[Run]:
    """Interleaved, because machines drift: only what was measured side by side can be compared. ``first``: a number."""
    runs = []
    for number in range(first, first + count):
        for scenario, consumers in plan:
            for consumer in consumers:
                runs.append(replace(run(consumer, scenario), round=number))
                _say(runs[-1])
    return runs


def _say(made: Run) -> None:
    shown = made.failed or ", ".join(f"{name} {value:.4g}" for name, value in made.figures.items())
    print(f"{made.scenario} {made.consumer}: {shown}", file=sys.stderr)


def everybody() -> dict[str, Consumer]:
    """By name; of the peers those that are installed."""
    return {consumer.name: consumer for consumer in (*LOOPS, *LOAFERS, *peers.there())}


def named(names: Iterable[str]) -> list[Consumer]:
    """In the order of ``names``. Raises KeyError."""
    known = everybody()
    return [known[name] for name in names]


def loafers() -> list[Consumer]:
    """Those that this Loafer can be, the fastest last."""
    with tempfile.TemporaryDirectory() as folder:
        fast = has_fast_client(Path(folder))
    return [consumer for consumer in LOAFERS if fast or "fast" not in consumer.name]


def on_asyncio(consumers: Iterable[Consumer]) -> list[Consumer]:
    return [consumer for consumer in consumers if "uvloop" not in consumer.name]


# --- two minutes


def quick() -> list[Run]:
    """Loafer and the loops written by hand."""
    ours = loafers()
    who = on_asyncio(ours)
    best = who[-1]
    raw, pipeline, aiohttp = named([RAW, PIPELINE, "raw-aiohttp"])
    idle: list[Run] = []
    waiting = threading.Thread(target=lambda: idle.append(run(best, IDLE)))
    waiting.start()  # beside the others: it costs next to nothing, or that is seen
    no_op = NO_OP.sized(0.3)
    many: Plan = [
        (WAITING.sized(0.4), [pipeline, *who]),
        (ALONE.sized(0.5), [best]),
        (BESIDE.sized(0.5), [best]),
    ]
    once: Plan = [
        (no_op, [raw, aiohttp, ours[-1]]),
        (NO_OP_10.sized(0.3), [best]),
        (WAITING_120.sized(0.6), [best]),
        (STOP, who),
    ]
    # Often and short: from one process to the next, and within seconds, the same code takes a quarter more or less.
    runs = rounds([(no_op, [raw, *who])], 5) + rounds(many, 3) + rounds(once, 1, first=5)
    waiting.join()
    return runs + idle


# --- everything, in parts that are saved one by one


def part(name: str, count: int = 3, share: float = 1.0) -> list[Run]:
    """``name``: of PARTS. ``count``: rounds, and ``share``: of the messages, where a part can have more or less."""
    if name in CURVES:
        curve = CURVES[name]
        who = [*named([curve.beside] if curve.beside else []), *on_asyncio(loafers())]
        return rounds([(scenario, who) for scenario in curve.scenarios().values()], 1)
    if name == "instructions":
        ours, (raw, pipeline) = on_asyncio(loafers()), named([RAW, PIPELINE])
        many = [(raw, NO_OP), *((one, each) for one in (pipeline, *ours) for each in (NO_OP, WAITING))]
        if not instructions.is_there():
            print("skipped: instructions, which valgrind counts", file=sys.stderr)
            return []
        return [instructions.count(one, each) for one, each in many]
    who = [consumer for consumer in (*LOOPS, *loafers(), *peers.there()) if name in consumer.scenarios]
    if name == "idle":
        return _side_by_side(who)
    if name == "beside":
        return rounds([(ALONE.sized(share), who), (BESIDE.sized(share), who)], count)
    return rounds([(SCENARIOS[name].sized(share), who)], count)


PARTS = ("no-op", "no-op-10", "waiting", "waiting-120", "beside", "idle", "stop", "instructions", *CURVES)


def _side_by_side(consumers: list[Consumer]) -> list[Run]:
    """All at once: who has nothing to do disturbs nobody."""
    with ThreadPoolExecutor(len(consumers)) as pool:
        return list(pool.map(lambda consumer: run(consumer, IDLE), consumers))


def version_ms(count: int = 5) -> Spread:
    """How long `loafer --version` takes, from spawn to exit."""
    taken = []
    for _ in range(count):
        began = time.monotonic()
        with machine.on_core(machine.CONSUMER_CORE):
            subprocess.run([LOAFER, "--version"], check=True, capture_output=True)
        taken.append((time.monotonic() - began) * 1000)
    return Spread(tuple(taken))
