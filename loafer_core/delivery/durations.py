"""How long the handlers of a route take, as far as its last ones tell."""

from __future__ import annotations

from collections import deque

REMEMBERED = 200
"""Handlers whose duration counts: the last ones."""


class Durations:
    """Seconds that the last handlers took, whatever came of them."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=REMEMBERED)

    def add(self, seconds: float) -> None:
        self._last.append(seconds)

    @property
    def slowest(self) -> float:
        """0.0 where none has ended yet."""
        return max(self._last, default=0.0)

    @property
    def usual_most(self) -> float | None:
        """What 99 of 100 stay within; None where none has ended yet."""
        return sorted(self._last)[int(len(self._last) * 0.99)] if self._last else None
