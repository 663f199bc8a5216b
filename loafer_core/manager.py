"""The composition root: configuration, plugins and routes put together, started, and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import fields
from types import TracebackType
from typing import Self

from loafer_core import config as configuration
from loafer_core import runner
from loafer_core.account import Account
from loafer_core.dispatcher import Dispatcher
from loafer_core.errors import ConfigError, Finding, LoaferError, RouteFailed
from loafer_core.lanes import Lane
from loafer_core.plan import Plan, bounded
from loafer_core.preparation import Prepared, prepare
from loafer_core.route import Route
from loafer_core.sandboxes import Sandboxes
from loafer_core.sharing import Sharing
from loafer_core.wiring import Wired

logger = logging.getLogger("loafer.manager")

LONG_POLL = 20.0
"""Most seconds that a receive may wait; with ``until_empty`` and ``sandbox`` it is ``SHORT_POLL``."""
SHORT_POLL = 1.0

OK, FINDING, BUG, ABANDONED, BAD_CONFIG = 0, 1, os.EX_SOFTWARE, os.EX_TEMPFAIL, os.EX_CONFIG
"""Exit codes: 0, 1, 70, 75, 78."""


class Manager:
    """Everything that ``loafer run`` does, for Python.

    ``run()`` blocks, owns the signals and returns the exit code. ``async with Manager(...) as manager`` embeds it in a
    program that has a loop: no signals; leaving drains.
    """

    def __init__(self, routes: Sequence[Route], **settings: object) -> None:
        """Take routes made in Python, and the settings of ``[loafer]`` by name (``shutdown_timeout=10.0``).

        Raises:
            ConfigError: with every finding.
        """
        self._prepare(configuration.read({"loafer": settings, "routes": _tables(routes)}), ())

    @classmethod
    def from_config(
        cls,
        source: str | os.PathLike[str] | Mapping[str, object] | None = None,
        *,
        overrides: Sequence[str] = (),
        routes: Sequence[str] = (),
    ) -> Self:
        """Read ``loafer.toml``, a ``pyproject.toml``, or the same mapping as a dict.

        Args:
            source: a path or a mapping; None looks for ./loafer.toml, then ./pyproject.toml.
            overrides: as in ``--set``: ``routes.orders.concurrency=50``.
            routes: names of the routes to run; empty = all.

        Raises:
            ConfigError: with every finding of file, plugins and handlers at once.
        """
        manager = cls.__new__(cls)
        manager._prepare(configuration.read(source, overrides=overrides), routes)
        return manager

    def _prepare(self, read: configuration.Config, routes: Sequence[str]) -> None:
        self._prepared: Prepared = prepare(read, routes)
        self.settings = self._prepared.settings
        self._dispatcher: Dispatcher | None = None
        self._lifespan: AbstractAsyncContextManager[object] | None = None
        self._timed_out = False
        self._raise_errors()

    def _raise_errors(self) -> None:
        """Bad routes are left out where the others may run without them; anything else that is wrong is fatal."""
        prepared = self._prepared
        errors = prepared.errors
        if self.settings.on_bad_route == "degrade" and len(prepared.bad_routes) < len(self.settings.routes):
            bad = [finding for findings in prepared.bad_routes.values() for finding in findings]
            errors = [finding for finding in errors if finding not in bad]
        if errors:
            raise ConfigError(prepared.findings)
        for finding in prepared.findings:
            logger.log(logging.ERROR if finding.level == "error" else logging.WARNING, "%s", finding)
        prepared.findings = []

    # --- as a process

    def run(
        self,
        *,
        until_empty: bool | float = False,
        sandbox: bool = False,
        samples: Mapping[str, Sequence[str]] | None = None,
    ) -> int:
        """Run until a signal; gives the exit code: 0, 1 (``until_empty``: not all done), 70, 75, 78.

        Args:
            until_empty: end when every source is empty; a number = drain after so many seconds in any case.
            sandbox: run on the plugins' local stand-ins, never on a real source.
            samples: bodies to publish at start, by route.
        """
        try:
            return self.run_or_raise(until_empty=until_empty, sandbox=sandbox, samples=samples)
        except ConfigError as error:
            for finding in error.findings:
                logger.error("%s", finding)
            return BAD_CONFIG
        except RouteFailed:
            logger.exception("stopped by a bug in Loafer")
            return BUG

    def run_or_raise(
        self,
        *,
        until_empty: bool | float = False,
        sandbox: bool = False,
        samples: Mapping[str, Sequence[str]] | None = None,
    ) -> int:
        """As ``run``, but raises ConfigError and RouteFailed instead of logging them."""
        sandboxes = Sandboxes(self._prepared.plugins.registry)

        async def serve(stop: runner.Stop) -> int:
            short = bool(until_empty) or sandbox
            return await self._serve(stop, overrides, short, until_empty, samples or {})

        try:
            overrides = sandboxes.start(self._prepared.routes) if sandbox else {}
            return runner.run(serve, self._is_stuck)
        finally:
            sandboxes.stop()

    async def _serve(
        self,
        stop: runner.Stop,
        overrides: Mapping[str, Mapping[str, object]],
        short: bool,
        until_empty: bool | float,
        samples: Mapping[str, Sequence[str]],
    ) -> int:
        requested = asyncio.create_task(stop.requested.wait())
        work = asyncio.create_task(self._work(overrides, short, until_empty, samples), name="loafer/work")
        failure: BaseException | None = None
        try:
            await asyncio.wait([requested, work], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                failure = work.exception()
        finally:
            requested.cancel()
            work.cancel()
            await asyncio.wait([work])
            await self._stop(stop.hurry, stop.reason or ("failure" if failure else "done"))
        if failure is not None:
            raise failure
        return self._exit_code(bool(until_empty))

    async def _work(
        self,
        overrides: Mapping[str, Mapping[str, object]],
        short: bool,
        until_empty: bool | float,
        samples: Mapping[str, Sequence[str]],
    ) -> None:
        await self._start(overrides, SHORT_POLL if short else self._long_poll())
        dispatcher = self._started()
        for lane in dispatcher.lanes:
            if lane.name in samples:
                await lane.publish(samples[lane.name])
        if until_empty is False:
            await dispatcher.wait()
            return
        try:
            async with asyncio.timeout(None if until_empty is True else until_empty):
                await dispatcher.wait_until_empty()
        except TimeoutError:
            self._timed_out = True
            logger.warning("not empty after %g s; stopping", until_empty)

    def _exit_code(self, until_empty: bool) -> int:
        dispatcher = self._dispatcher
        if dispatcher is None:
            return OK
        if any(lane.account.abandoned for lane in dispatcher.lanes):
            return ABANDONED
        if until_empty and (self._timed_out or any(lane.unfinished for lane in dispatcher.lanes)):
            return FINDING
        return OK

    def _is_stuck(self) -> bool:
        dispatcher = self._dispatcher
        return dispatcher is not None and (
            dispatcher.threads_running > 0 or any(lane.account.abandoned for lane in dispatcher.lanes)
        )

    # --- embedded

    async def __aenter__(self) -> Self:
        try:
            await self._start({}, self._long_poll())
        except BaseException:
            await self._stop(asyncio.Event(), "failure")
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop(asyncio.Event(), "left")

    async def wait(self) -> None:
        """Wait until a route ends by itself. Raises RouteFailed."""
        await self._started().wait()

    @property
    def accounts(self) -> Mapping[str, Account]:
        """What became of the messages so far, by route."""
        return {} if self._dispatcher is None else {lane.name: lane.account for lane in self._dispatcher.lanes}

    # --- start and stop

    def _long_poll(self) -> float:
        """A receive that is open when a stop begins shall end by itself before it would be aborted."""
        window = Plan.of(0.0, self.settings.shutdown_timeout, asyncio.Event()).polls_until
        return min(LONG_POLL, max(window - 1.0, window / 2))

    async def _start(self, overrides: Mapping[str, Mapping[str, object]], max_wait: float) -> None:
        prepared = self._prepared
        wired = prepared.build(overrides)
        self._raise_errors()
        state = None
        if prepared.lifespan is not None:
            lifespan = prepared.lifespan()
            state = await lifespan.__aenter__()
            self._lifespan = lifespan
        sharing, rng = Sharing(), random.Random()
        lanes = [self._lane(one, state, max_wait, sharing, rng) for one in wired]
        self._dispatcher = Dispatcher(
            lanes,
            on_bad_route=self.settings.on_bad_route,
            observers=prepared.observers,
            sample_interval=self.settings.sample_interval,
        )
        if prepared.observers.startup is not None:
            prepared.observers.startup()
        await self._dispatcher.start()
        logger.info("running %s", ", ".join(lane.name for lane in lanes if lane.state != "failed"))

    def _lane(self, wired: Wired, state: object, max_wait: float, sharing: Sharing, rng: random.Random) -> Lane:
        wired.delivery.state = state
        return Lane(
            wired.delivery,
            wired.provider,
            wired.lifecycles,
            wired.threads,
            max_wait=max_wait,
            sharing=sharing,
            observers=self._prepared.observers,
            rng=rng,
        )

    async def _stop(self, hurry: asyncio.Event, reason: str) -> None:
        plan = Plan.of(asyncio.get_running_loop().time(), self.settings.shutdown_timeout, hurry)
        dispatcher = self._dispatcher
        if dispatcher is not None:
            await dispatcher.drain(plan)
        if self._lifespan is not None:
            lifespan, self._lifespan = self._lifespan, None
            await bounded(lifespan.__aexit__(None, None, None), plan.closed_until, "leaving the lifespan")
        if dispatcher is not None:
            for lane in dispatcher.lanes:
                logger.info("account of %s: %s", lane.name, lane.account, extra={"route": lane.name})
        if self._prepared.observers.shutdown is not None:
            self._prepared.observers.shutdown(reason, self.accounts)

    def _started(self) -> Dispatcher:
        if self._dispatcher is None:
            raise LoaferError("the manager is not running: use 'async with', or run()")
        return self._dispatcher


def _tables(routes: Sequence[Route]) -> dict[str, dict[str, object]]:
    """Routes made in Python go the way of the file's, so that the same rules hold and say the same."""
    tables: dict[str, dict[str, object]] = {}
    for route in routes:
        if route.name in tables:
            raise ConfigError(Finding(f"routes.{route.name}", "two routes have this name"))
        table = {one.name: getattr(route, one.name) for one in fields(route) if one.name != "name"}
        tables[route.name] = {key: value for key, value in table.items() if value is not None}
    return tables
