"""The way back of one route: the steps of a stop in their order, and until when each may take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from loafer_core._tasks import LAST_WORD, BackgroundTasks, Signal, bounded
from loafer_core.api.provider import Provider
from loafer_core.delivery.deliveries import Deliveries
from loafer_core.engine.receiver import Receiver
from loafer_core.engine.resources import Resources

logger = logging.getLogger("loafer.route")

ABORT_TIMEOUT = 1.0
"""Seconds that an aborted receive is waited for."""


@dataclass(frozen=True, slots=True)
class ShutdownDeadlines:
    """Until when the steps of a stop may take, counted from the first signal. Moments on the loop's clock."""

    cancel_at: float
    """What still runs then is cancelled."""
    cancelled_until: float
    """What was cancelled is waited for no longer."""
    polls_until: float
    """Receives that are still open then are aborted."""
    flushed_until: float
    """Settlements that are not confirmed then are given up."""
    closed_until: float
    """Closing is waited for no longer."""
    hurry: asyncio.Event
    """Set: cancel and abort now."""

    @classmethod
    def of(cls, now: float, timeout: float, hurry: asyncio.Event) -> ShutdownDeadlines:
        """Cut ``timeout`` seconds into steps: most for the work, at most 7 s for all that follows it."""
        rest = min(7.0, 0.28 * timeout)
        end = now + timeout
        return cls(
            cancel_at=end - rest,
            cancelled_until=end - rest * 5 / 7,
            polls_until=end - rest * 4 / 7,
            flushed_until=end - rest * 2 / 7,
            closed_until=end,
            hurry=hurry,
        )

    def flush_until(self, now: float) -> float:
        """Until when settlements may take: until ``flushed_until``, in a hurry only for that step's own share."""
        if not self.hurry.is_set():
            return self.flushed_until
        return min(self.flushed_until, now + self.flushed_until - self.polls_until)

    def close_until(self, now: float) -> float:
        """Until when closing may take. A stop with nothing else to wait for does not spend all its time on this."""
        begin = self.flushed_until if self.hurry.is_set() else self.cancel_at
        return min(self.closed_until, now + self.closed_until - begin)


class Drain:
    """Steps 1 to 5, for a route that has started."""

    def __init__(
        self,
        route: str,
        provider: Provider,
        deliveries: Deliveries,
        receiver: Receiver,
        changed: Signal,
        deadlines: ShutdownDeadlines,
    ) -> None:
        """``changed`` is called whenever a slot came free, a receive ended, or a settlement was answered."""
        self._route, self._provider = route, provider
        self._deliveries, self._receiver, self._deadlines = deliveries, receiver, deadlines
        self._changed = changed
        self._look = asyncio.Event()
        """Set when what is waited for may have come."""

    async def run(self) -> None:
        """Take the steps. May be run again where it was cancelled: each step finds what is left to do."""
        hurry = asyncio.get_running_loop().create_task(self._deadlines.hurry.wait(), name=f"{self._route}/hurry")
        hurry.add_done_callback(lambda _: self._look.set())
        self._changed.listen(self._look.set)
        try:
            self._take_no_more()
            await asyncio.gather(
                self._stop_provider(),
                self._end_receives(),
                self._end_work(),
            )
            await self._flush_settlements()
            self._deliveries.abandon_running()
        finally:
            self._changed.forget(self._look.set)
            hurry.cancel()

    # 1. Nothing new: no receive is sent, what has not started goes back.

    def _take_no_more(self) -> None:
        self._receiver.stop()
        self._deliveries.begin_stop(self._deadlines.cancel_at)

    # 2. The provider takes no more, and gives its prefetch back.

    async def _stop_provider(self) -> None:
        deadlines = self._deadlines
        stop = bounded(self._provider.stop(), deadlines.cancel_at, f"{self._route}: stopping its provider")
        task = asyncio.get_running_loop().create_task(stop, name=f"{self._route}/stop")
        task.add_done_callback(lambda _: self._look.set())
        await self._until(task.done, deadlines.cancelled_until)
        await asyncio.wait([task], timeout=LAST_WORD)  # even in a hurry it has begun
        task.cancel()

    # 3. Open receives end by themselves: what an aborted one brings stays hidden until its lease ends.

    async def _end_receives(self) -> None:
        await self._until(lambda: not self._receiver.open, self._deadlines.polls_until)
        if not self._receiver.open:
            return
        logger.warning(
            "%s: aborting its open receive; what it brings stays hidden until its lease ends",
            self._route,
            extra={"route": self._route},
        )
        for task in list(self._receiver.open):
            task.cancel()
        soon = asyncio.get_running_loop().time() + ABORT_TIMEOUT
        await self._until(lambda: not self._receiver.open, soon, in_a_hurry=False)

    # 4. What runs may end. What does not end in time is cancelled.

    async def _end_work(self) -> None:
        deadlines, deliveries = self._deadlines, self._deliveries
        await self._until(lambda: not deliveries.busy and not self._receiver.open, deadlines.cancel_at)
        deliveries.start_nothing_more()
        if not deliveries.busy:
            return
        logger.warning(
            "%s: cancelling %d deliveries that did not end in time",
            self._route,
            deliveries.busy,
            extra={"route": self._route},
        )
        deliveries.cancel_running()
        grace = asyncio.get_running_loop().time() + deadlines.cancelled_until - deadlines.cancel_at
        await self._until(lambda: not deliveries.busy, min(deadlines.cancelled_until, grace), in_a_hurry=False)

    # 5. The source is told what it does not know yet.

    async def _flush_settlements(self) -> None:
        deadlines, deliveries, now = self._deadlines, self._deliveries, asyncio.get_running_loop().time
        deliveries.drain_settlements()
        await self._until(lambda: not deliveries.pending, deadlines.flush_until(now()))
        await self._until(lambda: not deliveries.pending, deadlines.flush_until(now()), in_a_hurry=False)
        await deliveries.give_up_settlements()

    async def _until(self, done: Callable[[], bool], at: float, *, in_a_hurry: bool = True) -> None:
        """Wait for ``done``, at most until ``at``; ``in_a_hurry``: no longer once somebody is in a hurry."""
        try:
            async with asyncio.timeout_at(at):
                while not done() and not (in_a_hurry and self._deadlines.hurry.is_set()):
                    self._look.clear()
                    await self._look.wait()
        except TimeoutError:
            pass


# 6. What the route has opened is closed, whether it has started or not.


async def close(background: BackgroundTasks, resources: Resources, deadlines: ShutdownDeadlines) -> None:
    """End the heartbeat and close the provider, then the other components."""
    await background.stop()
    await resources.close(deadlines.close_until(asyncio.get_running_loop().time()))
