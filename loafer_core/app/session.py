"""One run of a manager's routes: their components are built and opened, and closed at the end. It is used once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence

from loafer_core.api.errors import ConfigError, Finding, LoaferError
from loafer_core.app.build import BuiltRoute, Overrides
from loafer_core.app.lifespan import Lifespan
from loafer_core.app.resolve import Resolved
from loafer_core.app.startup_log import environment, retries, route_summary
from loafer_core.engine.consumer import Consumer
from loafer_core.engine.dispatcher import Dispatcher
from loafer_core.engine.loop_monitor import LoopMonitor
from loafer_core.engine.provider_context import Sharing
from loafer_core.engine.shutdown import ShutdownDeadlines
from loafer_core.observability.account import Account
from loafer_core.observability.health import InFlight

logger = logging.getLogger("loafer.manager")

MOST_NAMED = 5
"""Ids of messages that were left undone: so many are named, and the others counted."""


class Session:
    """The routes at work, from start to stop."""

    def __init__(self, resolved: Resolved, overrides: Overrides, max_wait: float) -> None:
        """Prepare to run what was resolved.

        Args:
            resolved: the configuration, with its components found.
            overrides: a sandbox's options.
            max_wait: most seconds that a receive may wait.
        """
        self._resolved = resolved
        self._overrides = overrides
        self._max_wait = max_wait
        self._lifespan: Lifespan | None = None
        self._dispatcher: Dispatcher | None = None
        self._loop_monitor: LoopMonitor | None = None
        self._is_started = False
        self._was_empty = False
        """Every source was found empty, and every route ran."""

    async def start(self) -> None:
        """Build and open everything, and begin to receive.

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
        sharing = Sharing()
        rng = random.Random()
        consumers = [self._consumer(route, state, sharing, rng) for route in routes]
        self._dispatcher = Dispatcher(
            consumers,
            on_bad_route=resolved.settings.on_bad_route,
            observers=resolved.observers,
            sample_interval=resolved.settings.sample_interval,
        )
        if resolved.observers.startup is not None:
            resolved.observers.startup()
        logger.info("%s", environment(resolved.plugins.plugins, asyncio.get_running_loop()))
        for route, consumer in zip(routes, consumers, strict=True):
            logger.info("%s: %s", consumer.name, route_summary(route), extra={"route": consumer.name})
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
        route.pipeline.state = state
        return Consumer(
            route.pipeline,
            route.provider,
            route.lifecycles,
            route.threads,
            max_wait=self._max_wait,
            sharing=sharing,
            observers=self._resolved.observers,
            rng=rng,
        )

    async def publish(self, samples: Mapping[str, Sequence[str]]) -> None:
        """Send bodies, by route, to the routes' own sources. Raises ConfigError where that fails."""
        for consumer in self.consumers:
            if consumer.name not in samples:
                continue
            try:
                await consumer.publish(samples[consumer.name])
            except ConfigError:
                raise
            except LoaferError as error:
                where = f"routes.{consumer.name}.provider"
                raise ConfigError(Finding(where, f"it took not every sample: {error}")) from error

    async def wait(self) -> None:
        """Wait until a route ends by itself. Raises RouteFailed."""
        await self._running_dispatcher().wait()

    async def wait_until_empty(self, limit: float | None) -> None:
        """Wait until every source was found empty, at most ``limit`` seconds. Raises RouteFailed."""
        try:
            async with asyncio.timeout(limit):
                await self._running_dispatcher().wait_until_empty()
            found_empty = all(consumer.emptiness.is_empty for consumer in self.consumers)
            self._was_empty = found_empty and not self._resolved.bad_routes
        except TimeoutError:
            logger.warning("not empty after %g s; stopping", limit)

    async def stop(self, deadlines: ShutdownDeadlines, reason: str) -> None:
        """Drain and close everything, bounded by ``deadlines``; also what a start that failed has left open."""
        if self._dispatcher is not None:
            await self._dispatcher.drain(deadlines)
        if self._loop_monitor is not None:
            self._loop_monitor.stop()
        if self._lifespan is not None:
            await self._lifespan.leave(deadlines.closed_until)
        if self._is_started:
            for name, account in self.accounts.items():
                logger.info("account of %s: %s", name, account, extra={"route": name})
        if self._dispatcher is not None and self._resolved.observers.shutdown is not None:
            self._resolved.observers.shutdown(reason, self.accounts)

    @property
    def consumers(self) -> Sequence[Consumer]:
        """The routes at work; none before the start."""
        return () if self._dispatcher is None else self._dispatcher.consumers

    @property
    def accounts(self) -> Mapping[str, Account]:
        """What became of the messages so far, by route."""
        return {consumer.name: consumer.account for consumer in self.consumers}

    def messages(self) -> tuple[InFlight, ...]:
        """Where each message is. May be called from any thread."""
        return tuple(message for consumer in self.consumers for message in consumer.messages())

    @property
    def has_abandoned(self) -> bool:
        """Handlers still ran when the stop could wait no longer. Their messages will be delivered again."""
        return any(account.abandoned for account in self.accounts.values())

    @property
    def is_stuck(self) -> bool:
        """A handler or a thread still runs, and would keep the interpreter from exiting."""
        return self.has_abandoned or (self._dispatcher is not None and self._dispatcher.threads_running > 0)

    def check_done(self) -> bool:
        """Tell whether every source was empty and every message was acked or rejected; log those that were not."""
        for consumer in self.consumers:
            if consumer.emptiness.unfinished:
                ids = sorted(consumer.emptiness.unfinished)
                more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
                logger.warning(
                    "%s: neither acked nor rejected in the end: %d (%s%s)",
                    consumer.name,
                    len(ids),
                    ", ".join(ids[:MOST_NAMED]),
                    more,
                    extra={"route": consumer.name},
                )
        return self._was_empty and not any(consumer.emptiness.unfinished for consumer in self.consumers)

    def _running_dispatcher(self) -> Dispatcher:
        assert self._dispatcher is not None
        return self._dispatcher
