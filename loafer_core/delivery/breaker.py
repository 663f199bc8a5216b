"""The circuit breaker of a route: while what handlers depend on is down, do not receive.

Messages that fail for somebody else's fault burn their receive counts and end dead-lettered; left in the queue, they
wait.
"""

from __future__ import annotations

import math
from collections import deque

from loafer_core.api.errors import Unavailable

PROBE_FIRST = 5.0
"""Seconds until an open breaker lets a first message through."""

PROBE_CAP = 60.0
"""Most seconds between two such probes; the pause is doubled after each that fails."""


class CircuitBreaker:
    """Closed: no limit. Open: nothing is received until ``retry_at``, then one message at a time as a probe."""

    def __init__(self, failures: int, window: float) -> None:
        self._failures: deque[float] = deque(maxlen=failures)
        """When the last failures were. The loop's time."""
        self._most = failures
        self._window = window
        self._pause = 0.0
        """Seconds until the next probe; 0.0: closed."""
        self.retry_at = -math.inf
        """When an open breaker lets the next message through. The loop's time."""

    @property
    def is_open(self) -> bool:
        return self._pause > 0

    def record(self, error: BaseException | None, now: float) -> bool:
        """Take note of a delivery that ended; tell whether that opened or closed the breaker.

        Only failures that are not the message's own count: OSError (ConnectionError and TimeoutError among them) and
        Unavailable, as the handler raised them. The message's own prove nothing either way.
        """
        down = isinstance(error, (OSError, Unavailable))
        if self.is_open:
            if now < self.retry_at:
                return False  # in work already when the breaker opened: no news
            if down:
                self._open(min(PROBE_CAP, self._pause * 2), now)
            elif error is None:
                self._pause = 0.0
            return error is None
        if not down:
            return False
        self._failures.append(now)
        if len(self._failures) < self._most or now - self._failures[0] > self._window:
            return False
        self._failures.clear()
        self._open(PROBE_FIRST, now)
        return True

    def _open(self, pause: float, now: float) -> None:
        self._pause = pause
        self.retry_at = now + pause
