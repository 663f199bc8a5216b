"""The arithmetic: medians, ranges, ratios within a round.

The figures of a run:

start        seconds from spawn to the first receive
cpu          microseconds per message, of all processes of the consumer
rate         messages a second
instructions per message, as valgrind counts them
requests     per message, of all kinds
peak         MiB resident at most
growth       MiB of memory of its own, from a tenth of the messages to nearly all
unfinished   messages that were still there when the time was up
per wait     requests per wait time and route, with nothing to do
idle         share of a core, with nothing to do
foreign      share of the machine that others took
exit         seconds from SIGTERM
handled, cut, hidden, duplicated, lost       messages: ended, started only, left in flight, ended and still to come
             again, gone without having ended
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.runner import Run


@dataclass(frozen=True)
class Spread:
    """Median and range of what was measured; never empty."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def most(self) -> float:
        return max(self.values)

    def times(self, factor: float) -> Spread:
        return Spread(tuple(value * factor for value in self.values))

    def text(self, digits: int) -> str:
        middle = f"{self.median:,.{digits}f}"
        if len(self.values) == 1:
            return middle
        return f"{middle} ({min(self.values):,.{digits}f} to {self.most:,.{digits}f})"


QUIET = 0.05
"""Up to this share of the machine for others, times and messages a second can be trusted."""


@dataclass(frozen=True)
class Table:
    """All runs of a session."""

    runs: Sequence[Run]

    @property
    def foreign(self) -> Spread | None:
        """What others took of the machine meanwhile."""
        return _spread(run.figures["foreign"] for run in self.runs if "foreign" in run.figures)

    @property
    def is_quiet(self) -> bool:
        return self.foreign is None or self.foreign.median <= QUIET

    def by_round(self, consumer: str, scenario: str, figure: str) -> dict[int, float]:
        return {
            run.round: run.figures[figure]
            for run in self.runs
            if (run.consumer, run.scenario) == (consumer, scenario) and figure in run.figures
        }

    def spread(self, consumer: str, scenario: str, figure: str) -> Spread | None:
        """None: not measured."""
        return _spread(self.by_round(consumer, scenario, figure).values())

    def ratio(self, figure: str, above: tuple[str, str], below: tuple[str, str]) -> Spread | None:
        """``above`` and ``below``: consumer and scenario. One ratio for each round that has both."""
        over, under = self.by_round(*above, figure), self.by_round(*below, figure)
        return _spread(over[one] / under[one] for one in over if under.get(one))

    def difference(self, figure: str, first: tuple[str, str], second: tuple[str, str]) -> Spread | None:
        """Like `ratio`, but first less second."""
        one, other = self.by_round(*first, figure), self.by_round(*second, figure)
        return _spread(one[round] - other[round] for round in one if round in other)

    def consumers(self, scenario: str) -> list[str]:
        return list(dict.fromkeys(run.consumer for run in self.runs if run.scenario == scenario))

    def failure(self, consumer: str, scenario: str) -> str:
        """Why a consumer has no figures here."""
        return next((r.failed for r in self.runs if (r.consumer, r.scenario) == (consumer, scenario) and r.failed), "")


def _spread(values: Iterable[float]) -> Spread | None:
    found = tuple(values)
    return Spread(found) if found else None
