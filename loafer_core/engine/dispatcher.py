"""All routes at once: start them, wait, drain them. Knows nothing of plugins, configuration or signals."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Literal

from loafer_core._tasks import BackgroundTasks
from loafer_core.api.errors import (
    ConfigError,
    CredentialError,
    Finding,
    LoaferError,
    ProviderError,
    SourceConfigError,
    Unavailable,
)
from loafer_core.engine.consumer import Consumer
from loafer_core.engine.shutdown import ShutdownDeadlines
from loafer_core.engine.watchdog import Watchdog
from loafer_core.observability.health import RouteHealth
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.dispatcher")

PATIENCE = 10.0
"""Seconds that the start waits for a source that takes long to open, before the other routes go on."""

STUCK = 1.0
"""Seconds beyond the deadlines after which a drain counts as stuck."""

REPORT_EVERY = 5.0
"""Seconds between two lines about what a drain still waits for."""


class Dispatcher:
    """Runs consumers side by side, independent of each other once all were tried or ``PATIENCE`` is over."""

    def __init__(
        self,
        consumers: Sequence[Consumer],
        *,
        on_bad_route: Literal["exit", "degrade"],
        observers: Observers,
        sample_interval: float,
    ) -> None:
        self.consumers = tuple(consumers)
        self._on_bad_route = on_bad_route
        self.watchdog = Watchdog(self.health, observers, sample_interval)
        self._openings: list[asyncio.Task[None]] = []
        self._background = BackgroundTasks(self._on_bug)

    async def start(self) -> None:
        """Open every route; receive only once each was tried, so that nothing is received where one cannot run.

        That waits ``PATIENCE`` seconds at most. A route that takes longer, or whose source is out of reach, starts when
        it is there. Call ``drain`` also where this raises.

        Raises:
            ConfigError: a route cannot run, and ``on_bad_route`` is "exit" or no other route is left.
        """
        loop = asyncio.get_running_loop()
        openings = {
            consumer: loop.create_task(consumer.open(), name=f"{consumer.name}/open") for consumer in self.consumers
        }
        self._openings = list(openings.values())
        await asyncio.wait(self._openings, timeout=PATIENCE)
        errors = {consumer: _error(opening) for consumer, opening in openings.items() if opening.done()}
        bad = {consumer: error for consumer, error in errors.items() if error is not None and _is_final(error)}
        if bad and (self._on_bad_route == "exit" or len(bad) == len(self.consumers)):
            raise _cannot_start(bad)
        for consumer, opening in openings.items():
            if consumer in bad:
                consumer.give_up(bad[consumer])
            elif opening.done() and errors[consumer] is None:
                consumer.start()
            else:
                self._background.start(f"{consumer.name}/open", functools.partial(self._start_later, consumer, opening))
        self._background.start("loafer/watchdog", self.watchdog.watch)

    async def wait(self) -> None:
        """Until a route ends by itself. Raises RouteFailed, or ConfigError where a late start failed."""
        await asyncio.wait([consumer.failed for consumer in self.consumers], return_when=asyncio.FIRST_COMPLETED)
        for consumer in self.consumers:
            if consumer.failed.done():
                consumer.failed.result()

    async def wait_until_empty(self) -> None:
        """Until every source was found empty and nothing of ours can come back. Raises as ``wait``."""
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self.wait())]
        try:
            while left := [consumer for consumer in self.consumers if not consumer.emptiness.emptied.is_set()]:
                waits[1:] = [asyncio.ensure_future(left[0].emptiness.emptied.wait())]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if waits[0].done():
                    waits[0].result()
        finally:
            for wait in waits:
                wait.cancel()

    async def drain(self, deadlines: ShutdownDeadlines) -> None:
        """Stop and drain every route, each bounded by ``deadlines``, none waiting for another."""
        loop = asyncio.get_running_loop()
        if left := self._in_work():
            logger.info("in work: %s", left)
        for opening in self._openings:
            opening.cancel()
        if self._openings:
            await asyncio.wait(self._openings, timeout=STUCK)
        await self._background.stop()
        drains = [
            loop.create_task(consumer.drain(deadlines), name=f"{consumer.name}/drain") for consumer in self.consumers
        ]
        reporter = loop.create_task(self._report(deadlines), name="loafer/report")
        try:
            await asyncio.wait(drains, timeout=max(0.0, deadlines.closed_until + STUCK - loop.time()))
        finally:
            for task in (reporter, *drains):
                task.cancel()
            await asyncio.wait([reporter, *drains], timeout=STUCK)
        for consumer, drain in zip(self.consumers, drains, strict=True):
            if (error := _error(drain) if drain.done() else TimeoutError("it did not end in time")) is not None:
                logger.critical("%s: a bug in Loafer broke its drain", consumer.name, exc_info=error)

    def health(self) -> list[RouteHealth]:
        """How each route is."""
        return [consumer.health() for consumer in self.consumers]

    @property
    def threads_running(self) -> int:
        """Plain functions that still run."""
        return sum(consumer.threads_running for consumer in self.consumers)

    async def _start_later(self, consumer: Consumer, opening: asyncio.Task[None]) -> None:
        """Start a route when its source is there."""
        if not opening.done():
            logger.warning("%s: opening it takes long; the others start", consumer.name, extra={"route": consumer.name})
            await asyncio.wait([opening])
        error = _error(opening)
        try:
            if error is not None and _is_final(error):
                raise error
            if not isinstance(error, ProviderError) or await consumer.keep_opening(error):
                consumer.start()
                logger.info("running: %s, too", consumer.name, extra={"route": consumer.name})
        except LoaferError as final:
            consumer.give_up(final)
            if self._on_bad_route == "exit" or all(one.state == "failed" for one in self.consumers):
                consumer.fail(_cannot_start({consumer: final}))

    async def _report(self, deadlines: ShutdownDeadlines) -> None:
        """After a second say which receives are waited for; then every five seconds what is left."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1.0)
        receives = {
            consumer.name: seconds
            for consumer in self.consumers
            if (seconds := consumer.receive_ends_in(deadlines)) > 0
        }
        if receives:
            logger.info(
                "waiting up to %.0f s for %s of %s; Ctrl-C again abandons %s until its lease ends)",
                max(receives.values()),
                "the open receive" if len(receives) == 1 else "the open receives",
                ", ".join(map(repr, receives)),
                "it (what it brings stays hidden" if len(receives) == 1 else "them (what they bring stays hidden",
            )
        while True:
            await asyncio.sleep(REPORT_EVERY)
            if left := self._in_work():
                until = max(0.0, deadlines.cancel_at - loop.time())
                logger.info("still in work: %s; cancelled in %.0f s", left, until)

    def _in_work(self) -> str:
        return ", ".join(f"{consumer.in_work} of {consumer.name!r}" for consumer in self.consumers if consumer.in_work)

    def _on_bug(self, error: BaseException) -> None:
        logger.critical("a bug in Loafer ended a background task", exc_info=error)


def _error(task: asyncio.Task[None]) -> BaseException | None:
    return Unavailable("it was cancelled") if task.cancelled() else task.exception()


def _is_final(error: BaseException) -> bool:
    """Trying again would not help. Once a route has run, it is tried again after these, too."""
    return isinstance(error, (SourceConfigError, CredentialError)) or not isinstance(error, ProviderError)


def _cannot_start(bad: Mapping[Consumer, BaseException]) -> ConfigError:
    findings: list[Finding] = []
    for consumer, error in bad.items():
        if isinstance(error, ConfigError):
            findings.extend(error.findings)
        elif isinstance(error, LoaferError):
            findings.append(Finding(f"routes.{consumer.name}.{consumer.resources.opening}", str(error)))
        else:
            raise error
    problem = ConfigError(findings)
    problem.__cause__ = next(iter(bad.values()))
    return problem
