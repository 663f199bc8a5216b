"""All routes at once: start them, wait, drain them. Knows nothing of plugins, configuration or signals."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Literal

from loafer_core._tasks import Chores
from loafer_core.api.errors import (
    ConfigError,
    CredentialError,
    Finding,
    LoaferError,
    ProviderError,
    SourceConfigError,
    Unavailable,
)
from loafer_core.engine.consumer import Lane
from loafer_core.engine.shutdown import Plan
from loafer_core.engine.watchdog import Watchdog
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.dispatcher")

PATIENCE = 10.0
"""Seconds that the start waits for a source that takes long to open, before the other routes go on."""
STUCK = 1.0
"""Seconds beyond the plan after which a drain counts as stuck."""
REPORT_EVERY = 5.0
"""Seconds between two lines about what a drain still waits for."""


class Dispatcher:
    """Runs lanes side by side. None of them waits for another, but for a moment at the very start."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        on_bad_route: Literal["exit", "degrade"],
        observers: Observers,
        sample_interval: float,
    ) -> None:
        self.lanes = tuple(lanes)
        self._on_bad_route = on_bad_route
        self.watchdog = Watchdog(self.lanes, observers, sample_interval)
        self._openings: list[asyncio.Task[None]] = []
        self._chores = Chores(self._on_bug)

    async def start(self) -> None:
        """Open every route; receive only once each was tried, so that nothing is received where one cannot run.

        That waits ``PATIENCE`` seconds at most. A route that takes longer, or whose source is out of reach, starts when
        it is there. Call ``drain`` also where this raises.

        Raises:
            ConfigError: a route cannot run, and ``on_bad_route`` is "exit" or no other route is left.
        """
        loop = asyncio.get_running_loop()
        openings = {lane: loop.create_task(lane.open(), name=f"{lane.name}/open") for lane in self.lanes}
        self._openings = list(openings.values())
        await asyncio.wait(self._openings, timeout=PATIENCE)
        errors = {lane: _error(opening) for lane, opening in openings.items() if opening.done()}
        bad = {lane: error for lane, error in errors.items() if error is not None and _is_final(error)}
        if bad and (self._on_bad_route == "exit" or len(bad) == len(self.lanes)):
            raise _cannot_start(bad)
        for lane, opening in openings.items():
            if lane in bad:
                lane.give_up(bad[lane])
            elif opening.done() and errors[lane] is None:
                lane.start()
            else:
                self._chores.start(f"{lane.name}/open", functools.partial(self._start_later, lane, opening))
        self._chores.start("loafer/watchdog", self.watchdog.watch)

    async def wait(self) -> None:
        """Until a route ends by itself. Raises RouteFailed, or ConfigError where a late start failed."""
        await asyncio.wait([lane.failed for lane in self.lanes], return_when=asyncio.FIRST_COMPLETED)
        for lane in self.lanes:
            if lane.failed.done():
                lane.failed.result()

    async def wait_until_empty(self) -> None:
        """Until every source was found empty and nothing of ours can come back. Raises as ``wait``."""
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self.wait())]
        try:
            while left := [lane for lane in self.lanes if not lane.emptied.is_set()]:
                waits[1:] = [asyncio.ensure_future(left[0].emptied.wait())]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if waits[0].done():
                    waits[0].result()
        finally:
            for wait in waits:
                wait.cancel()

    async def drain(self, plan: Plan) -> None:
        """Stop and drain every route, each bounded by ``plan``, none waiting for another."""
        loop = asyncio.get_running_loop()
        if left := self._in_work():
            logger.info("in work: %s", left)
        for opening in self._openings:
            opening.cancel()
        if self._openings:
            await asyncio.wait(self._openings, timeout=STUCK)
        await self._chores.stop()
        drains = [loop.create_task(lane.drain(plan), name=f"{lane.name}/drain") for lane in self.lanes]
        reporter = loop.create_task(self._report(plan), name="loafer/report")
        try:
            await asyncio.wait(drains, timeout=max(0.0, plan.closed_until + STUCK - loop.time()))
        finally:
            for task in (reporter, *drains):
                task.cancel()
            await asyncio.wait([reporter, *drains], timeout=STUCK)
        for lane, drain in zip(self.lanes, drains, strict=True):
            if (error := _error(drain) if drain.done() else TimeoutError("it did not end in time")) is not None:
                logger.critical("%s: a bug in Loafer broke its drain", lane.name, exc_info=error)

    @property
    def threads_running(self) -> int:
        """Plain functions that still run."""
        return sum(lane.threads_running for lane in self.lanes)

    async def _start_later(self, lane: Lane, opening: asyncio.Task[None]) -> None:
        """Start a route when its source is there."""
        if not opening.done():
            logger.warning("%s: opening it takes long; the others start", lane.name, extra={"route": lane.name})
            await asyncio.wait([opening])
        error = _error(opening)
        try:
            if error is not None and _is_final(error):
                raise error
            if not isinstance(error, ProviderError) or await lane.keep_opening(error):
                lane.start()
                logger.info("running: %s, too", lane.name, extra={"route": lane.name})
        except LoaferError as final:
            lane.give_up(final)
            if self._on_bad_route == "exit" or all(one.state == "failed" for one in self.lanes):
                lane.fail(_cannot_start({lane: final}))

    async def _report(self, plan: Plan) -> None:
        """After a second say which receives are waited for; then every five seconds what is left."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1.0)
        receives = {lane.name: seconds for lane in self.lanes if (seconds := lane.receive_ends_in(plan)) > 0}
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
                until = max(0.0, plan.cancel_at - loop.time())
                logger.info("still in work: %s; cancelled in %.0f s", left, until)

    def _in_work(self) -> str:
        return ", ".join(f"{lane.in_work} of {lane.name!r}" for lane in self.lanes if lane.in_work)

    def _on_bug(self, error: BaseException) -> None:
        logger.critical("a bug in Loafer ended a background task", exc_info=error)


def _error(task: asyncio.Task[None]) -> BaseException | None:
    return Unavailable("it was cancelled") if task.cancelled() else task.exception()


def _is_final(error: BaseException) -> bool:
    """Trying again would not help. Once a route has run, it is tried again after these, too."""
    return isinstance(error, (SourceConfigError, CredentialError)) or not isinstance(error, ProviderError)


def _cannot_start(bad: Mapping[Lane, BaseException]) -> ConfigError:
    findings: list[Finding] = []
    for lane, error in bad.items():
        if isinstance(error, ConfigError):
            findings.extend(error.findings)
        elif isinstance(error, LoaferError):
            findings.append(Finding(f"routes.{lane.name}.{lane.resources.opening}", str(error)))
        else:
            raise error
    problem = ConfigError(findings)
    problem.__cause__ = next(iter(bad.values()))
    return problem
