"""A stop in phases: until when each may take, counted from the first signal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass

logger = logging.getLogger("loafer.stop")


@dataclass(frozen=True, slots=True)
class Plan:
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
    def of(cls, now: float, timeout: float, hurry: asyncio.Event) -> Plan:
        """Cut ``timeout`` seconds into phases: most for the work, at most 7 s for all that follows it."""
        rest, end = min(7.0, 0.28 * timeout), now + timeout
        return cls(end - rest, end - rest * 5 / 7, end - rest * 4 / 7, end - rest * 2 / 7, end, hurry)


async def bounded(work: Awaitable[object], until: float, what: str) -> None:
    """Wait for ``work``, at most until then; what goes wrong is logged and hinders nobody."""
    try:
        async with asyncio.timeout_at(until):
            await work
    except TimeoutError:
        logger.warning("%s took too long; going on without it", what)
    except Exception as error:
        logger.warning("%s failed", what, exc_info=error)
