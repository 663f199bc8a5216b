"""One run of a manager's routes: their components are built, opened, and at the end closed. Used once."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence

from loafer_core.api.errors import ConfigError, Finding, LoaferError
from loafer_core.app.build import Overrides, Wired
from loafer_core.app.lifespan import Lifespan
from loafer_core.app.resolve import Prepared
from loafer_core.app.startup_log import about, build_of, retries
from loafer_core.engine.consumer import Lane
from loafer_core.engine.dispatcher import Dispatcher
from loafer_core.engine.loop_monitor import Stalls
from loafer_core.engine.sharing import Sharing
from loafer_core.engine.shutdown import Plan
from loafer_core.observability.account import Account

logger = logging.getLogger("loafer.manager")

SHOWN = 5
"""Ids that are named of those that were left undone."""


class Session:
    """From start to stop. ``max_wait``: most seconds that a receive may wait."""

    def __init__(self, prepared: Prepared, overrides: Overrides, max_wait: float) -> None:
        self._prepared, self._overrides, self._max_wait = prepared, overrides, max_wait
        self._lifespan: Lifespan | None = None
        self._dispatcher: Dispatcher | None = None
        self._stalls: Stalls | None = None
        self._is_started = self._was_empty = False

    async def start(self) -> None:
        """Build and open everything, and receive.

        Raises:
            ConfigError: something that was configured cannot be built, opened or started.
        """
        prepared = self._prepared
        wired = prepared.build(self._overrides)
        prepared.report()
        state = None
        if prepared.lifespan is not None:
            self._lifespan = Lifespan(prepared.lifespan)
            state = await self._lifespan.enter()
        sharing, rng = Sharing(), random.Random()
        lanes = [self._lane(one, state, sharing, rng) for one in wired]
        self._dispatcher = Dispatcher(
            lanes,
            on_bad_route=prepared.settings.on_bad_route,
            observers=prepared.observers,
            sample_interval=prepared.settings.sample_interval,
        )
        if prepared.observers.startup is not None:
            prepared.observers.startup()
        logger.info("%s", build_of(prepared.plugins.plugins, asyncio.get_running_loop()))
        for one, lane in zip(wired, lanes, strict=True):
            logger.info("%s: %s", lane.name, about(one), extra={"route": lane.name})
        await self._dispatcher.start()
        self._stalls = Stalls(self._dispatcher.watchdog.most_lag)
        self._stalls.start()
        running = [lane for lane in lanes if lane.state == "running"]
        for lane in running:
            text = retries(lane.delivery.route, lane.provider.traits)
            logger.info("%s: %s", lane.name, text, extra={"route": lane.name})
        self._is_started = True
        logger.info("running: %s", ", ".join(lane.name for lane in running) or "no route yet")

    def _lane(self, wired: Wired, state: object, sharing: Sharing, rng: random.Random) -> Lane:
        wired.delivery.state = state
        return Lane(
            wired.delivery,
            wired.provider,
            wired.lifecycles,
            wired.threads,
            max_wait=self._max_wait,
            sharing=sharing,
            observers=self._prepared.observers,
            rng=rng,
        )

    async def publish(self, samples: Mapping[str, Sequence[str]]) -> None:
        """Send bodies to the routes' own sources. Raises ConfigError where that fails."""
        for lane in self.lanes:
            if lane.name not in samples:
                continue
            try:
                await lane.publish(samples[lane.name])
            except ConfigError:
                raise
            except LoaferError as error:
                raise ConfigError(
                    Finding(f"routes.{lane.name}.provider", f"it took not every sample: {error}")
                ) from error

    async def wait(self) -> None:
        """Until a route ends by itself. Raises RouteFailed."""
        await self._started().wait()

    async def wait_until_empty(self, limit: float | None) -> None:
        """Until every source was found empty; at most ``limit`` seconds. Raises RouteFailed."""
        try:
            async with asyncio.timeout(limit):
                await self._started().wait_until_empty()
            self._was_empty = not self._prepared.bad_routes and all(lane.is_empty for lane in self.lanes)
        except TimeoutError:
            logger.warning("not empty after %g s; stopping", limit)

    async def stop(self, plan: Plan, reason: str) -> None:
        """Drain and close everything, bounded by ``plan``."""
        dispatcher, lifespan = self._dispatcher, self._lifespan
        if dispatcher is not None:
            await dispatcher.drain(plan)
        if self._stalls is not None:
            self._stalls.stop()
        if lifespan is not None:
            await lifespan.leave(plan.closed_until)
        for name, account in self.accounts.items() if self._is_started else ():
            logger.info("account of %s: %s", name, account, extra={"route": name})
        if dispatcher is not None and self._prepared.observers.shutdown is not None:
            self._prepared.observers.shutdown(reason, self.accounts)

    @property
    def lanes(self) -> Sequence[Lane]:
        return () if self._dispatcher is None else self._dispatcher.lanes

    @property
    def accounts(self) -> Mapping[str, Account]:
        return {lane.name: lane.account for lane in self.lanes}

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
        for lane in self.lanes:
            if lane.unfinished:
                ids = sorted(lane.unfinished)
                more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
                logger.warning(
                    "%s: neither acked nor rejected in the end: %d (%s%s)",
                    lane.name,
                    len(ids),
                    ", ".join(ids[:SHOWN]),
                    more,
                    extra={"route": lane.name},
                )
        return self._was_empty and not any(lane.unfinished for lane in self.lanes)

    def _started(self) -> Dispatcher:
        assert self._dispatcher is not None
        return self._dispatcher
