"""One route at work: open its provider, receive, deliver, settle; and the way back when it stops."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from loafer_core.account import Account
from loafer_core.context import Flag
from loafer_core.deliveries import Deliveries
from loafer_core.delivery import Delivery
from loafer_core.errors import ConfigError, Finding, ProviderError, RouteFailed
from loafer_core.lifecycle import Lifecycle
from loafer_core.message import Message
from loafer_core.observers import Observers
from loafer_core.plan import Plan, bounded
from loafer_core.protocols import Leases, Provider, Publishes, Rejects, Traits
from loafer_core.provider_context import ProviderContext
from loafer_core.receiver import Receiver
from loafer_core.resources import Resources
from loafer_core.sharing import Sharing
from loafer_core.threads import Threads

logger = logging.getLogger("loafer.route")

State = Literal["new", "opening", "running", "degraded", "draining", "stopped", "failed"]


class Lane:
    """The run of one route, from opening its provider to closing it."""

    def __init__(
        self,
        delivery: Delivery,
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
        """Gets a RouteFailed when this route ends by itself."""
        self.changed = asyncio.Event()
        self.context = ProviderContext(delivery, max_wait, sharing, "provider")
        aside = ProviderContext(delivery, max_wait, sharing, "components")
        self._resources = Resources(self.context, aside, provider, lifecycles, observers, rng)
        self._threads = threads
        self._observers, self._rng = observers, rng
        self._deliveries: Deliveries | None = None
        self._receiver: Receiver | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- start

    async def open(self) -> None:
        """Open what the route needs, once. Raises LoaferError."""
        self._become("opening")
        await self._resources.open()

    async def keep_opening(self, error: ProviderError) -> bool:
        """Try again, with back-off, until the provider opens (True) or we stop (False)."""
        return await self._resources.keep_opening(error, self.stopping)

    def start(self) -> None:
        """Receive. The provider is open."""
        traits = self._traits()
        self._deliveries = self.context.deliveries = Deliveries(
            self.delivery,
            self.provider,
            traits,
            stopping=self.stopping,
            observers=self._observers,
            rng=self._rng,
            on_change=self._on_change,
            on_bug=self._on_bug,
        )
        self._receiver = Receiver(
            self.name,
            self.provider,
            traits,
            self.delivery.route.concurrency,
            self,
            self._observers,
            self._rng,
            self._resources.reopen,
        )
        self._spawn(self._deliveries.leases.beat(), "heartbeat")
        self._receiver.start()
        self._become("running")

    def _traits(self) -> Traits:
        traits = self.provider.traits
        for wanted, protocol, trait in (
            (traits.lease is not None, Leases, "lease"),
            (traits.rejects, Rejects, "rejects"),
        ):
            if wanted and not isinstance(self.provider, protocol):
                raise RouteFailed(
                    self.name, f"its provider has traits.{trait} but not the methods of {protocol.__name__}"
                )
        return traits

    async def publish(self, bodies: Sequence[str]) -> None:
        """Send to this route's own source (samples). Raises ConfigError where the provider cannot."""
        if not isinstance(self.provider, Publishes):
            raise ConfigError(Finding(f"routes.{self.name}.provider", "it cannot publish, so it takes no sample"))
        for body in bodies:
            await self.provider.publish(body)
        self.is_empty = False
        self.emptied.clear()
        if self._deliveries is not None:
            self._deliveries.settling.quiet_at = asyncio.get_running_loop().time()

    def give_up(self, error: BaseException) -> None:
        """This route cannot run; the others go on (``on_bad_route = "degrade"``)."""
        logger.error("%s: goes on without this route: %s", self.name, error, extra={"route": self.name})
        self._become("failed")

    # --- what the receiver asks (receiver.Lane)

    def room(self) -> int:
        return 0 if self._deliveries is None else self._deliveries.room()

    def accept(self, messages: Sequence[Message]) -> None:
        self.is_empty = False
        self.emptied.clear()
        if self._deliveries is not None:
            self._deliveries.accept(messages)

    def was_empty(self, began: float) -> None:
        if self._deliveries is not None:
            settling = self._deliveries.settling
            if not settling.open and began >= settling.quiet_at:
                self.is_empty = True
                self.emptied.set()

    def poller_ended(self, error: BaseException | None) -> None:
        if error is not None:
            self._on_bug(error)
        self._on_change()

    # --- what others ask

    @property
    def in_work(self) -> int:
        return self.account.open

    @property
    def unfinished(self) -> set[str]:
        """Ids whose last outcome was neither ack nor reject."""
        return set() if self._deliveries is None else self._deliveries.settling.unfinished

    @property
    def last_receive(self) -> float | None:
        """When a receive last succeeded; the loop's time."""
        return None if self._receiver is None else self._receiver.last_success

    @property
    def last_progress(self) -> float | None:
        """When a delivery last came to an outcome; the loop's time."""
        return None if self._deliveries is None else self._deliveries.last_progress

    def receive_ends_in(self, plan: Plan) -> float:
        """Seconds, at most, until the receives that are open now end or are aborted."""
        if self._receiver is None or not self._receiver.open:
            return 0.0
        now = asyncio.get_running_loop().time()
        return min(self._receiver.began + self.context.max_wait, plan.polls_until) - now

    @property
    def threads_running(self) -> int:
        """Plain functions that still run, waited for or not."""
        return sum(threads.running for threads in self._threads)

    # --- stop

    async def drain(self, plan: Plan) -> None:
        """Stop receiving, give back what has not started, let the rest end, settle, close. Bounded by ``plan``."""
        self._become("draining")
        self.stopping.set()
        if self._deliveries is not None and self._receiver is not None:
            self._receiver.stop()
            self._deliveries.takes_until = plan.cancel_at
            self._deliveries.release_unstarted()
            self._deliveries.acks.flush()
            await bounded(self.provider.stop(), plan.cancel_at, f"{self.name}: stopping its provider")
            await asyncio.gather(self._end_polls(self._receiver, plan), self._end_work(self._deliveries, plan))
            await self._deliveries.acks.drain(plan.flushed_until)
        for task in self._tasks:
            task.cancel()
        await bounded(self._resources.close(), plan.closed_until, f"{self.name}: closing")
        for threads in self._threads:
            threads.close()
        self._become("stopped")

    async def _end_polls(self, receiver: Receiver, plan: Plan) -> None:
        await self._until(lambda: not receiver.open, plan.polls_until, plan.hurry)
        if receiver.open:
            logger.warning(
                "%s: aborting its open receive; what it brings stays hidden until its lease ends",
                self.name,
                extra={"route": self.name},
            )
            for task in list(receiver.open):
                task.cancel()
            await self._until(lambda: not receiver.open, plan.flushed_until, None)

    async def _end_work(self, deliveries: Deliveries, plan: Plan) -> None:
        def done() -> bool:
            return not deliveries.tasks and not (self._receiver and self._receiver.open)

        await self._until(done, plan.cancel_at, plan.hurry)
        loop = asyncio.get_running_loop()
        deliveries.takes_until = loop.time()
        if deliveries.tasks:
            logger.warning(
                "%s: cancelling %d deliveries that did not end in time",
                self.name,
                len(deliveries.tasks),
                extra={"route": self.name},
            )
            deliveries.cancel_running()
            grace = loop.time() + plan.cancelled_until - plan.cancel_at
            await self._until(lambda: not deliveries.tasks, min(plan.cancelled_until, grace), None)
            deliveries.abandon_running()

    async def _until(self, done: Callable[[], bool], at: float, hurry: asyncio.Event | None) -> None:
        """Wait for ``done``, at most until ``at``, and no longer once ``hurry`` is set."""
        loop = asyncio.get_running_loop()
        while not done() and loop.time() < at and not (hurry is not None and hurry.is_set()):
            self.changed.clear()
            waits = [asyncio.ensure_future(self.changed.wait())]
            if hurry is not None:
                waits.append(asyncio.ensure_future(hurry.wait()))
            await asyncio.wait(waits, timeout=at - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    # --- small things

    def _spawn(self, coroutine: Awaitable[None], what: str) -> None:
        task = asyncio.ensure_future(coroutine)
        task.set_name(f"{self.name}/{what}")
        self._tasks.add(task)

    def _on_change(self) -> None:
        if self._receiver is not None:
            self._receiver.changed()
        self.changed.set()

    def _on_bug(self, error: BaseException) -> None:
        logger.critical("%s: a bug in Loafer ended a part of this route", self.name, exc_info=error)
        if not self.failed.done():
            failure = RouteFailed(self.name, f"ended by itself: {type(error).__name__}: {error}")
            failure.__cause__ = error
            self._become("failed")
            self.failed.set_exception(failure)

    def _become(self, state: State) -> None:
        self.state = state
        if self._observers.route_state is not None:
            self._observers.route_state(self.name, state)
