"""The circuit breaker of a route: while what handlers depend on is down, do not receive.

Messages that fail for somebody else's fault burn their receive counts and end dead-lettered; left in the queue, they
wait.
"""

from __future__ import annotations

import math
from collections import deque

from loafer_core.errors import Unavailable

PROBE_FIRST, PROBE_CAP = 5.0, 60.0
"""Seconds until an open breaker lets one message through, doubled after each that fails."""


class CircuitBreaker:
    """Closed: no limit. Open: nothing is received until ``retry_at``, then one message at a time as a probe."""

    def __init__(self, failures: int, window: float) -> None:
        self._failures: deque[float] = deque(maxlen=failures)
        self._window = window
        self._pause = 0.0
        self.retry_at = -math.inf

    @property
    def is_open(self) -> bool:
        return self._pause > 0

    def record(self, error: BaseException | None, now: float) -> bool:
        """Take note of a delivery that ended; tell whether that opened or closed the breaker.

        Only failures that are not the message's own count: OSError (ConnectionError and TimeoutError among them) and
        Unavailable, as the handler raised them.
        """
        if not isinstance(error, (OSError, Unavailable)):
            was_open, self._pause = self.is_open, 0.0
            return was_open
        self._failures.append(now)
        if self.is_open:
            self._pause = min(PROBE_CAP, self._pause * 2)
            self.retry_at = now + self._pause
            return False
        full = len(self._failures) == self._failures.maxlen
        if not full or now - self._failures[0] > self._window:
            return False
        self._pause = PROBE_FIRST
        self.retry_at = now + self._pause
        self._failures.clear()
        return True
