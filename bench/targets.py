"""What Loafer is meant to reach, and whether it does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from bench.figures import Spread, Table
from bench.lineup import PIPELINE, RAW
from bench.scenarios import SCENARIOS


@dataclass(frozen=True)
class Target:
    """``bound``: the most, or the least, that the median may be. ``timed``: a busy machine spoils it."""

    what: str
    consumer: str
    sign: Literal["≤", "≥"]
    bound: float
    measured: Spread | None
    digits: int = 2
    unit: str = ""
    timed: bool = False

    def verdict(self, quiet: bool) -> str:
        assert self.measured is not None
        shown = round(self.measured.median, self.digits)  # 1.204 is shown as 1.20, so that is what has to hold
        if shown <= self.bound if self.sign == "≤" else shown >= self.bound:
            return "holds"
        return "**misses**, on a busy machine" if self.timed and not quiet else "**misses**"


def targets(table: Table, loafers: Iterable[str], version_ms: Spread | None) -> list[Target]:
    """Every target that was measured, for every Loafer."""
    found = [target for name in loafers for target in (*_cost(table, name), *_conduct(table, name))]
    found.append(Target("`loafer --version`", "loafer", "≤", 100, version_ms, 0, " ms", timed=True))
    return [target for target in found if target.measured is not None]


def _cost(table: Table, name: str) -> Iterator[Target]:
    mine, raw = (name, "no-op"), (RAW, "no-op")
    waiting = table.ratio("cpu", (name, "waiting"), (PIPELINE, "waiting"))
    start, peak = table.difference("start", mine, raw), table.difference("peak", mine, raw)
    growth = table.spread(name, "queued-1000000", "growth")
    yield Target(f"CPU per message ÷ {RAW}", name, "≤", 0.6 if "fast" in name else 1.2, table.ratio("cpu", mine, raw))
    yield Target(f"CPU per message, 50 ms handlers ÷ {PIPELINE}", name, "≤", 0.7, waiting)
    yield Target("requests per message", name, "≤", 0.21, table.spread(*mine, "requests"), 3)
    yield Target("requests per message, concurrency 10", name, "≤", 0.35, table.spread(name, "no-op-10", "requests"), 3)
    yield Target("start, less the raw loop's", name, "≤", 0.3, start, unit=" s", timed=True)
    yield Target("peak RSS, less the raw loop's", name, "≤", 25, peak, 1, " MiB")
    yield Target("growth over a million messages", name, "≤", 1, growth, 1, " MiB")


def _conduct(table: Table, name: str) -> Iterator[Target]:
    rate, more = table.spread(name, "waiting", "rate"), table.spread(name, "waiting-120", "rate")
    possible = SCENARIOS["waiting"].possible
    share, with_more = rate and rate.times(1 / possible), more and more.times(1 / possible)
    beside = table.ratio("rate", (name, "beside"), (name, "alone"))
    idle = table.spread(name, "idle", "idle")
    stopped = [table.spread(name, "stop", figure) for figure in ("cut", "hidden", "duplicated", "lost")]
    wrong = Spread((sum(each.most for each in stopped if each),)) if all(stopped) else None
    yield Target("messages a second, 50 ms handlers ÷ possible", name, "≥", 0.95, share, timed=True)
    yield Target("the same with 120 slots", name, "≥", 0.95, with_more, timed=True)
    yield Target("fast route beside a slow one ÷ alone", name, "≥", 0.9, beside, timed=True)
    yield Target("idle: requests per wait time and route", name, "≤", 1, table.spread(name, "idle", "per wait"))
    yield Target("idle: CPU of a core", name, "≤", 0.1, idle and idle.times(100), unit=" %")
    yield Target("SIGTERM under load: cut, hidden, duplicated or lost", name, "≤", 0, wrong, 0)
