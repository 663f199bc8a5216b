"""One run of a manager's routes: their components are built, opened, and at the end closed. Used once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence

from loafer_core.api.errors import ConfigError, Finding, LoaferError
from loafer_core.app.build import BuiltRoute, Overrides
from loafer_core.app.lifespan import Lifespan
from loafer_core.app.resolve import Resolved
from loafer_core.app.startup_log import about, build_of, retries
from loafer_core.engine.consumer import Consumer
from loafer_core.engine.dispatcher import Dispatcher
from loafer_core.engine.loop_monitor import LoopMonitor
from loafer_core.engine.provider_context import Sharing
from loafer_core.engine.shutdown import ShutdownDeadlines
from loafer_core.observability.account import Account
from loafer_core.observability.health import InFlight

logger = logging.getLogger("loafer.manager")

SHOWN = 5
"""Ids that are named of those that were left undone."""


class Session:
    """From start to stop. ``max_wait``: most seconds that a receive may wait."""

    def __init__(self, resolved: Resolved, overrides: Overrides, max_wait: float) -> None:
        self._resolved, self._overrides, self._max_wait = resolved, overrides, max_wait
        self._lifespan: Lifespan | None = None
        self._dispatcher: Dispatcher | None = None
        self._loop_monitor: LoopMonitor | None = None
        self._is_started = self._was_empty = False

    async def start(self) -> None:
        """Build and open everything, and receive.

        Raises:
            ConfigError: something that was configured cannot be built, opened or started.
        """
        resolved = self._resolved
        routes = resolved.build(self._overrides)
        resolved.report()
        state = None
        if resolved.lifespan is not None:
            self._lifespan = Lifespan(resolved.lifespan)
            state = await self._lifespan.enter()
        sharing, rng = Sharing(), random.Random()
        consumers = [self._consumer(route, state, sharing, rng) for route in routes]
        self._dispatcher = Dispatcher(
            consumers,
            on_bad_route=resolved.settings.on_bad_route,
            observers=resolved.observers,
            sample_interval=resolved.settings.sample_interval,
        )
        if resolved.observers.startup is not None:
            resolved.observers.startup()
        logger.info("%s", build_of(resolved.plugins.plugins, asyncio.get_running_loop()))
        for route, consumer in zip(routes, consumers, strict=True):
            logger.info("%s: %s", consumer.name, about(route.resolved), extra={"route": consumer.name})
        await self._dispatcher.start()
        self._loop_monitor = LoopMonitor(self._dispatcher.watchdog.most_lag())
        self._loop_monitor.start()
        running = [consumer for consumer in consumers if consumer.state == "running"]
        for consumer in running:
            text = retries(consumer.pipeline.route, consumer.provider.traits)
            logger.info("%s: %s", consumer.name, text, extra={"route": consumer.name})
        self._is_started = True
        logger.info("running: %s", ", ".join(consumer.name for consumer in running) or "no route yet")

    def _consumer(self, route: BuiltRoute, state: object, sharing: Sharing, rng: random.Random) -> Consumer:
        route.delivery.state = state
        return Consumer(
            route.delivery,
            route.provider,
            route.lifecycles,
            route.threads,
            max_wait=self._max_wait,
            sharing=sharing,
            observers=self._resolved.observers,
            rng=rng,
        )

    async def publish(self, samples: Mapping[str, Sequence[str]]) -> None:
        """Send bodies to the routes' own sources. Raises ConfigError where that fails."""
        for consumer in self.consumers:
            if consumer.name not in samples:
                continue
            try:
                await consumer.publish(samples[consumer.name])
            except ConfigError:
                raise
            except LoaferError as error:
                raise ConfigError(
                    Finding(f"routes.{consumer.name}.provider", f"it took not every sample: {error}")
                ) from error

    async def wait(self) -> None:
        """Until a route ends by itself. Raises RouteFailed."""
        await self._started().wait()

    async def wait_until_empty(self, limit: float | None) -> None:
        """Until every source was found empty; at most ``limit`` seconds. Raises RouteFailed."""
        try:
            async with asyncio.timeout(limit):
                await self._started().wait_until_empty()
            self._was_empty = not self._resolved.bad_routes and all(
                consumer.emptiness.is_empty for consumer in self.consumers
            )
        except TimeoutError:
            logger.warning("not empty after %g s; stopping", limit)

    async def stop(self, deadlines: ShutdownDeadlines, reason: str) -> None:
        """Drain and close everything, bounded by ``deadlines``."""
        dispatcher, lifespan = self._dispatcher, self._lifespan
        if dispatcher is not None:
            await dispatcher.drain(deadlines)
        if self._loop_monitor is not None:
            self._loop_monitor.stop()
        if lifespan is not None:
            await lifespan.leave(deadlines.closed_until)
        for name, account in self.accounts.items() if self._is_started else ():
            logger.info("account of %s: %s", name, account, extra={"route": name})
        if dispatcher is not None and self._resolved.observers.shutdown is not None:
            self._resolved.observers.shutdown(reason, self.accounts)

    @property
    def consumers(self) -> Sequence[Consumer]:
        return () if self._dispatcher is None else self._dispatcher.consumers

    @property
    def accounts(self) -> Mapping[str, Account]:
        return {consumer.name: consumer.account for consumer in self.consumers}

    def messages(self) -> tuple[InFlight, ...]:
        """Where each message is. May be called from any thread."""
        return tuple(message for consumer in self.consumers for message in consumer.messages())

    @property
    def has_abandoned(self) -> bool:
        """Work was left behind that its source will deliver again."""
        return any(account.abandoned for account in self.accounts.values())

    @property
    def is_stuck(self) -> bool:
        """Something of it still runs and would keep the interpreter from exiting."""
        return self.has_abandoned or (self._dispatcher is not None and self._dispatcher.threads_running > 0)

    def check_done(self) -> bool:
        """Tell whether all was found empty, acked or rejected; log what was not."""
        for consumer in self.consumers:
            if consumer.emptiness.unfinished:
                ids = sorted(consumer.emptiness.unfinished)
                more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
                logger.warning(
                    "%s: neither acked nor rejected in the end: %d (%s%s)",
                    consumer.name,
                    len(ids),
                    ", ".join(ids[:SHOWN]),
                    more,
                    extra={"route": consumer.name},
                )
        return self._was_empty and not any(consumer.emptiness.unfinished for consumer in self.consumers)

    def _started(self) -> Dispatcher:
        assert self._dispatcher is not None
        return self._dispatcher
