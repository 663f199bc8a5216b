"""One route at work: open its provider, receive, deliver, settle; and the way back when it stops."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Sequence
from typing import Literal

from loafer_core._tasks import BackgroundTasks
from loafer_core.api.current import Flag
from loafer_core.api.errors import ConfigError, Finding, ProviderError, RouteFailed
from loafer_core.api.message import Message
from loafer_core.api.provider import Provider, Publishes
from loafer_core.delivery.deliveries import Deliveries
from loafer_core.delivery.executors import Threads
from loafer_core.delivery.pipeline import Pipeline
from loafer_core.delivery.settler import Settler
from loafer_core.engine.lifecycle import Lifecycle
from loafer_core.engine.provider_context import ProviderContext
from loafer_core.engine.receiver import Receiver
from loafer_core.engine.resources import Resources
from loafer_core.engine.sharing import Sharing
from loafer_core.engine.shutdown import LAST_WORD, ShutdownDeadlines, bounded
from loafer_core.observability.account import Account
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.route")

ABORT_TIMEOUT = 1.0
"""Seconds that an aborted receive is waited for."""

State = Literal["new", "opening", "running", "degraded", "draining", "stopped", "failed"]


class Consumer:
    """The run of one route, from opening its provider to closing it."""

    def __init__(
        self,
        delivery: Pipeline,
        provider: Provider,
        lifecycles: Sequence[Lifecycle],
        threads: Sequence[Threads],
        *,
        max_wait: float,
        sharing: Sharing,
        observers: Observers,
        rng: random.Random,
    ) -> None:
        self.name = delivery.route.name
        self.delivery, self.provider = delivery, provider
        self.account: Account = delivery.account
        self.state: State = "new"
        self.stopping = Flag()
        self.is_empty = False
        """The source was found empty, and nothing of ours can come back to it. ``--until-empty`` waits for this."""
        self.emptied = asyncio.Event()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the error when this route ends by itself: a RouteFailed, or a ConfigError of a late start."""
        self._changed = asyncio.Event()
        self.context = ProviderContext(delivery, max_wait, sharing, "provider")
        aside = ProviderContext(delivery, max_wait, sharing, "components")
        self.resources = Resources(self.context, aside, provider, lifecycles, observers, rng)
        self._threads = threads
        self._observers, self._rng = observers, rng
        self.deliveries: Deliveries | None = None
        self.receiver: Receiver | None = None
        """What is in work, and what receives; None before the start."""
        self._background = BackgroundTasks(self._on_bug)

    # --- start

    async def open(self) -> None:
        """Open what the route needs, once. Raises LoaferError. Cancelled, it leaves it to ``drain`` to close."""
        self._become("opening")
        await self.resources.open()

    async def keep_opening(self, error: ProviderError) -> bool:
        """Try again, with back-off, until the provider opens (True) or we stop (False)."""
        return await self.resources.keep_opening(error, self.stopping)

    def start(self) -> None:
        """Receive. The provider is open."""
        if self.stopping.is_set():
            return
        provider, traits = self.provider, self.provider.traits
        self.deliveries = self.context.deliveries = Deliveries(
            self.delivery,
            provider,
            traits,
            stopping=self.stopping,
            observers=self._observers,
            rng=self._rng,
            on_change=self._on_change,
            on_bug=self._on_bug,
        )
        concurrency, reopen = self.delivery.route.concurrency, self.resources.reopen
        self.receiver = Receiver(self.name, provider, traits, concurrency, self, self._observers, self._rng, reopen)
        self._background.start(f"{self.name}/heartbeat", self.deliveries.leases.beat)
        self.receiver.look()
        self._become("running")

    async def publish(self, bodies: Sequence[str]) -> None:
        """Send to this route's own source (samples). Raises ConfigError where the provider cannot."""
        if not isinstance(self.provider, Publishes):
            raise ConfigError(Finding(f"routes.{self.name}.provider", "it cannot publish, so it takes no sample"))
        for body in bodies:
            await self.provider.publish(body)
        self.is_empty = False
        self.emptied.clear()
        if self.deliveries is not None:
            self.deliveries.settling.quiet(asyncio.get_running_loop().time())

    def give_up(self, error: BaseException) -> None:
        """This route cannot run; the others go on (``on_bad_route = "degrade"``)."""
        logger.error("%s: goes on without this route: %s", self.name, error, extra={"route": self.name})
        self._become("failed")
        self.emptied.set()  # nobody shall wait for it

    def fail(self, error: BaseException) -> None:
        """This route cannot run, and so the others shall not: ``Dispatcher.wait`` raises ``error``."""
        self._become("failed")
        if not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()  # asked for: not everybody waits

    # --- what the receiver asks (receiver.Consumer)

    def room(self) -> int:
        return 0 if self.deliveries is None else self.deliveries.room()

    def accept(self, messages: Sequence[Message]) -> None:
        self.is_empty = False
        self.emptied.clear()
        if self.deliveries is not None:
            self.deliveries.accept(messages)

    def was_empty(self, began: float) -> None:
        if self.deliveries is not None:
            settling = self.deliveries.settling
            if not settling.open and began >= settling.quiet_at:
                self.is_empty = True
                self.emptied.set()

    def turned(self, state: Literal["running", "degraded"]) -> None:
        if self.state in ("running", "degraded"):
            self._become(state)

    def receive_ended(self, error: BaseException | None) -> None:
        if error is not None:
            self._on_bug(error)
        self._changed.set()

    # --- what others ask

    @property
    def in_work(self) -> int:
        return self.account.open

    @property
    def unfinished(self) -> set[str]:
        """Ids whose last outcome was neither ack nor reject."""
        return set() if self.deliveries is None else self.deliveries.settling.unfinished

    def receive_ends_in(self, deadlines: ShutdownDeadlines) -> float:
        """Seconds, at most, until the receives that are open now end or are aborted."""
        if self.receiver is None or not self.receiver.open:
            return 0.0
        now = asyncio.get_running_loop().time()
        return min(self.receiver.began + self.context.max_wait, deadlines.polls_until) - now

    @property
    def threads_running(self) -> int:
        """Plain functions that still run, waited for or not."""
        return sum(threads.running for threads in self._threads)

    # --- stop

    async def drain(self, deadlines: ShutdownDeadlines) -> None:
        """Stop receiving, give back what has not started, let the rest end, settle, close. Bounded by ``deadlines``.

        May be called again, where it was cancelled.
        """
        if self.state == "stopped":
            return
        self.stopping.set()
        self._become("draining")
        loop = asyncio.get_running_loop()
        hurry = loop.create_task(deadlines.hurry.wait(), name=f"{self.name}/hurry")
        hurry.add_done_callback(lambda _: self._changed.set())
        try:
            if self.deliveries is not None and self.receiver is not None:
                await self._drain_work(self.deliveries, self.receiver, deadlines)
                await self._flush(self.deliveries.acks, deadlines)
                self.deliveries.abandon_running()
            await self._background.stop()
            await self.resources.close(deadlines.close_until(loop.time()))
        finally:
            hurry.cancel()
        for threads in self._threads:
            threads.close()
        self._become("stopped")

    async def _drain_work(self, deliveries: Deliveries, receiver: Receiver, deadlines: ShutdownDeadlines) -> None:
        receiver.stop()
        deliveries.takes_until = deadlines.cancel_at
        deliveries.release_unstarted()
        deliveries.acks.flush()
        await asyncio.gather(
            self._stop_provider(deadlines),
            self._end_polls(receiver, deadlines),
            self._end_work(deliveries, receiver, deadlines),
        )

    async def _stop_provider(self, deadlines: ShutdownDeadlines) -> None:
        stop = bounded(self.provider.stop(), deadlines.cancel_at, f"{self.name}: stopping its provider")
        task = asyncio.get_running_loop().create_task(stop, name=f"{self.name}/stop")
        task.add_done_callback(lambda _: self._changed.set())
        await self._until(task.done, deadlines.cancelled_until, deadlines.hurry)
        await asyncio.wait([task], timeout=LAST_WORD)  # even in a hurry it has begun
        task.cancel()

    async def _end_polls(self, receiver: Receiver, deadlines: ShutdownDeadlines) -> None:
        await self._until(lambda: not receiver.open, deadlines.polls_until, deadlines.hurry)
        if receiver.open:
            logger.warning(
                "%s: aborting its open receive; what it brings stays hidden until its lease ends",
                self.name,
                extra={"route": self.name},
            )
            for task in list(receiver.open):
                task.cancel()
            soon = asyncio.get_running_loop().time() + ABORT_TIMEOUT
            await self._until(lambda: not receiver.open, soon, None)

    async def _end_work(self, deliveries: Deliveries, receiver: Receiver, deadlines: ShutdownDeadlines) -> None:
        await self._until(lambda: not deliveries.busy and not receiver.open, deadlines.cancel_at, deadlines.hurry)
        deliveries.takes_until = -math.inf
        if deliveries.busy:
            logger.warning(
                "%s: cancelling %d deliveries that did not end in time",
                self.name,
                deliveries.busy,
                extra={"route": self.name},
            )
            deliveries.cancel_running()
            grace = asyncio.get_running_loop().time() + deadlines.cancelled_until - deadlines.cancel_at
            await self._until(lambda: not deliveries.busy, min(deadlines.cancelled_until, grace), None)

    async def _flush(self, acks: Settler, deadlines: ShutdownDeadlines) -> None:
        loop = asyncio.get_running_loop()
        acks.drain()
        await self._until(lambda: not acks.pending, deadlines.flush_until(loop.time()), deadlines.hurry)
        await self._until(lambda: not acks.pending, deadlines.flush_until(loop.time()), None)
        await acks.close()

    async def _until(self, done: Callable[[], bool], at: float, hurry: asyncio.Event | None) -> None:
        """Wait for ``done``, at most until ``at``, and no longer once ``hurry`` is set."""
        try:
            async with asyncio.timeout_at(at):
                while not done() and not (hurry is not None and hurry.is_set()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass

    # --- small things

    def _on_change(self) -> None:
        if self.receiver is not None:
            self.receiver.changed()
        self._changed.set()

    def _on_bug(self, error: BaseException) -> None:
        logger.critical("%s: a bug in Loafer ended a part of this route", self.name, exc_info=error)
        failure = RouteFailed(self.name, f"ended by itself: {type(error).__name__}: {error}")
        failure.__cause__ = error
        self.fail(failure)

    def _become(self, state: State) -> None:
        if self.state == state:
            return
        self.state = state
        if self._observers.route_state is not None:
            self._observers.route_state(self.name, state)
