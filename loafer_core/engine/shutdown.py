"""A stop in phases: until when each may take, counted from the first signal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass

logger = logging.getLogger("loafer.stop")

LAST_WORD = 0.1
"""Seconds that something gets to end after it was cancelled."""


@dataclass(frozen=True, slots=True)
class ShutdownDeadlines:
    """Moments on the loop's clock."""

    cancel_at: float
    """What still runs is cancelled,"""
    cancelled_until: float
    """what was cancelled is waited for no longer,"""
    polls_until: float
    """receives that are still open are aborted,"""
    flushed_until: float
    """settlements are given up,"""
    closed_until: float
    """and closing is waited for no longer."""
    hurry: asyncio.Event
    """Set: cancel and abort now."""

    @classmethod
    def of(cls, now: float, timeout: float, hurry: asyncio.Event) -> ShutdownDeadlines:
        """Cut ``timeout`` seconds into phases: most for the work, at most 7 s for all that follows it."""
        rest, end = min(7.0, 0.28 * timeout), now + timeout
        return cls(end - rest, end - rest * 5 / 7, end - rest * 4 / 7, end - rest * 2 / 7, end, hurry)

    def flush_until(self, now: float) -> float:
        """Until when settlements may take: what is left of the deadlines, in a hurry only that phase's own share."""
        if not self.hurry.is_set():
            return self.flushed_until
        return min(self.flushed_until, now + self.flushed_until - self.polls_until)

    def close_until(self, now: float) -> float:
        """Until when closing may take: a stop that had nothing else to wait for does not wait all its time for this."""
        begin = self.flushed_until if self.hurry.is_set() else self.cancel_at
        return min(self.closed_until, now + self.closed_until - begin)


async def bounded(work: Awaitable[object], until: float, what: str) -> None:
    """Wait for ``work``, at most until then; what goes wrong is logged and hinders nobody.

    It runs as a task of its own, so that not even work that resists being cancelled is waited for.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())  # asked for: never "not retrieved"
    try:
        await asyncio.wait([task], timeout=max(0.0, until - asyncio.get_running_loop().time()))
        if not task.done():
            logger.warning("%s took too long; going on without it", what)
            task.cancel()
            await asyncio.wait([task], timeout=LAST_WORD)
        elif task.cancelled():
            logger.warning("%s was cancelled", what)
        elif (error := task.exception()) is not None:
            logger.warning("%s failed", what, exc_info=error)
    finally:
        task.cancel()
