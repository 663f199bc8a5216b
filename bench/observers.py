"""What observers cost per event: ``python -m bench.observers``. Figures are nanoseconds a message, the best of five.

The way in which the engine asks is timed: a look at an attribute, and a call if it is not None.
"""

from __future__ import annotations

import timeit

from loafer_core.observability.observers import Observers

ROUNDS = 200_000


class Watcher:
    """Listens, and does as little as possible."""

    def message_done(self, route: str, message: object, outcome: str, seconds: float, error: object) -> None: ...


def ask(observers: Observers) -> None:
    if observers.message_done is not None:
        observers.message_done("orders", None, "acked", 0.01, None)


def call_nobody(observers: Observers) -> None:
    pass


def nanoseconds(asking: object, observers: Observers) -> float:
    timer = timeit.Timer("asking(observers)", globals={"asking": asking, "observers": observers})
    return min(timer.repeat(5, ROUNDS)) / ROUNDS * 1e9


def main() -> None:
    empty = nanoseconds(call_nobody, Observers())
    for count in (0, 1, 3):
        observers = Observers([(f"watcher-{number}", Watcher()) for number in range(count)])
        print(f"{count} observers: {max(0.0, nanoseconds(ask, observers) - empty):6.0f} ns")


if __name__ == "__main__":
    main()
