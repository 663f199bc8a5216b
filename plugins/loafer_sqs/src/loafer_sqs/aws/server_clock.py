"""Where the server's clock stands against ours, learned from the ``Date`` of its answers.

A lease begins when the server hands a message out. Whoever stood still, or read a slow answer, while a long poll was
open cannot tell that from waiting by the time that passed; the answer's ``Date`` can. Ours is the loop's clock: the
machine's wall clock may jump, and has no say here.
"""

from __future__ import annotations

import email.utils
import functools
import math

KNOWN_FOR = 300.0
"""Seconds, doubled at most, that what one answer told is kept: clocks drift apart by milliseconds a minute."""
_NOTHING = (-math.inf, math.inf)


class ServerClock:
    """The offset of the server's clock, as an interval that every answer narrows.

    An answer that was written at ``Date`` d, a whole second, between the loop's times ``sent`` and ``came`` says that
    the offset lies between d - came and d + 1 - sent. What contradicts all that is known teaches anew.
    """

    def __init__(self) -> None:
        self._since = -math.inf
        self._young = self._old = _NOTHING

    def learn(self, date: str | None, sent: float, came: float) -> None:
        """Take in one answer: its ``Date`` header, and the loop's times around it."""
        if (second := _seconds(date)) is None:
            return
        if came - self._since > KNOWN_FOR:
            self._since, self._young, self._old = came, _NOTHING, self._young
        told = (second - came, second + 1 - sent)
        self._young = _common(self._young, told)
        if not _is_possible(self._offset()):
            self._since, self._young, self._old = came, told, _NOTHING

    def handed_out(self, date: str | None, sent: float, came: float) -> float:
        """Give the loop's time before which an answer cannot have been written; ``came`` if that may have been just
        then, as far as one can tell from whole seconds."""
        least, most = self._offset()
        second = _seconds(date)
        if second is None or not math.isfinite(least + most) or second + 1 - least >= came:
            return came
        return max(sent, second - most)

    def off_by(self, wall_clock: float) -> float:
        """Give the least seconds that the server's clock is ahead (negative: behind) of a wall clock, itself
        ``wall_clock`` seconds ahead of the loop's; 0.0 while it may be right."""
        least, most = self._offset()
        return max(0.0, least - wall_clock) + min(0.0, most - wall_clock)

    def _offset(self) -> tuple[float, float]:
        return _common(self._young, self._old)


def _common(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return max(one[0], other[0]), min(one[1], other[1])


def _is_possible(offset: tuple[float, float]) -> bool:
    return offset[0] <= offset[1]


@functools.lru_cache(maxsize=16)  # many answers come within one second
def _seconds(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
