"""One route at work: open its provider, receive, deliver, settle; and the way back when it stops."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Literal

from loafer_core._tasks import BackgroundTasks, Signal
from loafer_core.api.current import Flag
from loafer_core.api.errors import ConfigError, Finding, ProviderError, RouteFailed
from loafer_core.api.provider import Provider, Publishes
from loafer_core.delivery.deliveries import Deliveries
from loafer_core.delivery.emptiness import Emptiness
from loafer_core.delivery.executors import Executor
from loafer_core.delivery.in_flight import InFlightTable
from loafer_core.delivery.pipeline import Pipeline
from loafer_core.engine.provider_context import Sharing
from loafer_core.engine.receiver import Receiver
from loafer_core.engine.resources import Lifecycle, Resources
from loafer_core.engine.shutdown import Drain, ShutdownDeadlines, close
from loafer_core.observability.account import Account
from loafer_core.observability.health import InFlight, Oldest, RouteHealth, State
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.route")


class Consumer:
    """The run of one route, from opening its provider to closing it."""

    def __init__(
        self,
        pipeline: Pipeline,
        provider: Provider,
        lifecycles: Sequence[Lifecycle],
        executors: Sequence[Executor],
        *,
        max_wait: float,
        sharing: Sharing,
        observers: Observers,
        rng: random.Random,
    ) -> None:
        self.name = pipeline.route.name
        self.pipeline, self.provider = pipeline, provider
        self.account: Account = pipeline.account
        self.state: State = "new"
        self.stopping = Flag()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the error when this route ends by itself: a RouteFailed, or a ConfigError of a late start."""
        self.emptiness = Emptiness()
        self._changed = Signal()
        """Called when a slot came free, a receive ended, or, while it stops, a message was settled."""
        now = asyncio.get_running_loop().time
        self._now = now
        self._in_flight = InFlightTable(self.name, self.account, now, self._changed)
        self.resources = Resources(
            pipeline, provider, lifecycles, max_wait=max_wait, sharing=sharing, observers=observers, rng=rng
        )
        self.context = self.resources.context
        self._executors, self._observers, self._rng = executors, observers, rng
        self._background = BackgroundTasks(self._on_bug)
        self._deliveries: Deliveries | None = None
        """What is done with messages; None before the start, as it depends on what the open provider says of itself."""
        self._receiver: Receiver | None = None
        """What asks for them; None before the start."""

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
        traits = self.provider.traits
        deliveries = Deliveries(
            self.pipeline,
            self.provider,
            traits,
            self._in_flight,
            self.emptiness,
            stopping=self.stopping,
            observers=self._observers,
            rng=self._rng,
            on_change=self._changed,
            on_bug=self._on_bug,
        )
        receiver = Receiver(
            self.name,
            self.pipeline.route.concurrency,
            self.provider,
            traits,
            deliveries,
            self.emptiness,
            observers=self._observers,
            rng=self._rng,
            reopen=self.resources.reopen,
            on_state=self._on_receiving,
            on_end=self._changed,
            on_bug=self._on_bug,
        )
        self._deliveries = self.context.deliveries = deliveries
        self._receiver = receiver
        self._changed.listen(receiver.changed)
        self._background.start(f"{self.name}/heartbeat", deliveries.heartbeat)
        receiver.look()
        self._become("running")

    async def publish(self, bodies: Sequence[str]) -> None:
        """Send to this route's own source (samples). Raises ConfigError where the provider cannot."""
        if not isinstance(self.provider, Publishes):
            raise ConfigError(Finding(f"routes.{self.name}.provider", "it cannot publish, so it takes no sample"))
        for body in bodies:
            await self.provider.publish(body)
        self.emptiness.something_comes()
        self.emptiness.may_come_until(self._now())

    def give_up(self, error: BaseException) -> None:
        """This route cannot run; the others go on (``on_bad_route = "degrade"``)."""
        logger.error("%s: goes on without this route: %s", self.name, error, extra={"route": self.name})
        self._become("failed")
        self.emptiness.give_up()

    def fail(self, error: BaseException) -> None:
        """This route cannot run, and so the others shall not: ``Dispatcher.wait`` raises ``error``."""
        self._become("failed")
        if not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()  # asked for: not everybody waits

    # --- what others ask

    @property
    def in_work(self) -> int:
        """Messages that were received and are not accounted for."""
        return len(self._in_flight)

    def room(self) -> int:
        """Slots that a receive may fill; none before the start."""
        return 0 if self._deliveries is None else self._deliveries.room()

    def messages(self) -> list[InFlight]:
        """Where each message is. May be called from any thread."""
        return self._in_flight.snapshot()

    @property
    def threads_running(self) -> int:
        """Plain functions that still run, waited for or not."""
        return sum(executor.running for executor in self._executors)

    def receive_ends_in(self, deadlines: ShutdownDeadlines) -> float:
        """Seconds, at most, until the receives that are open now end or are aborted; 0.0: none is open."""
        receiver = self._receiver
        if receiver is None or not receiver.open:
            return 0.0
        began = self._now() if receiver.began is None else receiver.began
        return min(began + self.context.max_wait, deadlines.polls_until) - self._now()

    def health(self) -> RouteHealth:
        """How the route is, from what is counted anyway."""
        now, receiver, deliveries = self._now(), self._receiver, self._deliveries
        oldest = self._in_flight.oldest_running

        def age(moment: float | None) -> float | None:
            return None if moment is None else now - moment

        return RouteHealth(
            route=self.name,
            state=self.state,
            in_work=self.in_work,
            free=self.room(),
            account=self.account,
            lease=self.provider.traits.lease,
            longest_receive=self.context.max_wait,
            handler_timeout=self.pipeline.route.handler_timeout,
            newest_receive_age=None if receiver is None else age(receiver.began),
            last_receive_age=None if receiver is None else age(receiver.last_success),
            last_progress_age=None if deliveries is None else age(deliveries.last_progress),
            oldest_handler=None if oldest is None else Oldest(oldest.message.id, now - oldest.started_at),
            slowest_handler=0.0 if deliveries is None else deliveries.slowest_handler,
        )

    # --- stop

    async def drain(self, deadlines: ShutdownDeadlines) -> None:
        """Stop receiving, give back what has not started, let the rest end, settle, close. Bounded by ``deadlines``.

        May be called again, where it was cancelled.
        """
        if self.state == "stopped":
            return
        self.stopping.set()
        self._become("draining")
        if self._deliveries is not None and self._receiver is not None:
            drain = Drain(self.name, self.provider, self._deliveries, self._receiver, self._changed, deadlines)
            await drain.run()
        await close(self._background, self.resources, deadlines)
        for executor in self._executors:
            executor.close()
        self._become("stopped")

    # --- small things

    def _on_receiving(self, state: Literal["running", "degraded"]) -> None:
        if self.state in ("running", "degraded"):
            self._become(state)

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
