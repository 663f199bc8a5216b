"""All routes at once: start them, wait, drain them. Knows nothing of plugins, configuration or signals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal

from loafer_core.errors import ConfigError, CredentialError, Finding, LoaferError, ProviderError, SourceConfigError
from loafer_core.lanes import Lane
from loafer_core.observers import Observers
from loafer_core.plan import Plan

logger = logging.getLogger("loafer.dispatcher")

REPORT_EVERY = 5.0
"""Seconds between two lines about what a drain still waits for."""


class Dispatcher:
    """Runs lanes side by side. None of them waits for another, but for the very first opening."""

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
        self._observers = observers
        self._sample_interval = sample_interval
        self._tasks: list[asyncio.Task[None]] = []
        self._lag = 0.0

    async def start(self) -> None:
        """Open every route; receive only once each was tried.

        A source that is out of reach is tried again, and its route starts when it is there.

        Raises:
            ConfigError: a route cannot run, and ``on_bad_route`` is "exit" or no other route is left.
        """
        opened = await asyncio.gather(*(lane.open() for lane in self.lanes), return_exceptions=True)
        bad = {
            lane: error
            for lane, error in zip(self.lanes, opened, strict=True)
            if isinstance(error, (SourceConfigError, CredentialError))
            or (isinstance(error, BaseException) and not isinstance(error, ProviderError))
        }
        if bad and (self._on_bad_route == "exit" or len(bad) == len(self.lanes)):
            raise _cannot_start(bad)
        for lane, error in zip(self.lanes, opened, strict=True):
            if lane in bad:
                lane.give_up(bad[lane])
            elif isinstance(error, ProviderError):
                self._spawn(self._start_later(lane, error), f"{lane.name}/open")
            else:
                lane.start()
        self._spawn(self._watch(), "loafer/watch")

    async def wait(self) -> None:
        """Until a route ends by itself. Raises RouteFailed."""
        await asyncio.wait([lane.failed for lane in self.lanes], return_when=asyncio.FIRST_COMPLETED)
        for lane in self.lanes:
            if lane.failed.done():
                lane.failed.result()

    async def wait_until_empty(self) -> None:
        """Until every source was found empty and nothing of ours can come back. Raises RouteFailed."""
        failed = asyncio.ensure_future(self.wait())
        try:
            while not all(lane.is_empty or lane.state == "failed" for lane in self.lanes):
                changes = [asyncio.ensure_future(lane.emptied.wait()) for lane in self.lanes if not lane.is_empty]
                await asyncio.wait([failed, *changes], return_when=asyncio.FIRST_COMPLETED)
                for change in changes:
                    change.cancel()
                if failed.done():
                    failed.result()
        finally:
            failed.cancel()

    async def drain(self, plan: Plan) -> None:
        """Stop and drain every route, each bounded by ``plan``, none waiting for another."""
        for task in self._tasks:
            task.cancel()
        reporter = asyncio.ensure_future(self._report(plan))
        results = await asyncio.gather(*(lane.drain(plan) for lane in self.lanes), return_exceptions=True)
        reporter.cancel()
        for lane, result in zip(self.lanes, results, strict=True):
            if isinstance(result, BaseException):
                logger.critical("%s: a bug in Loafer broke its drain", lane.name, exc_info=result)

    @property
    def threads_running(self) -> int:
        """Plain functions that still run."""
        return sum(lane.threads_running for lane in self.lanes)

    def snapshot(self) -> Mapping[str, object]:
        """What observers' ``sample`` gets; all from counters that are kept anyway. Ages in seconds."""
        now = asyncio.get_running_loop().time()
        return {
            "loop_lag": self._lag,
            "routes": {
                lane.name: {
                    "state": lane.state,
                    "in_work": lane.in_work,
                    "last_receive_age": None if lane.last_receive is None else now - lane.last_receive,
                    "last_progress_age": None if lane.last_progress is None else now - lane.last_progress,
                    "account": asdict(lane.account),
                }
                for lane in self.lanes
            },
        }

    async def _start_later(self, lane: Lane, error: ProviderError) -> None:
        try:
            if await lane.keep_opening(error):
                lane.start()
        except LoaferError as failure:
            lane.give_up(failure)

    async def _watch(self) -> None:
        """Sample every interval; how late it wakes is the loop's lag."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._sample_interval
            await asyncio.sleep(self._sample_interval)
            self._lag = max(0.0, loop.time() - due)
            if self._lag > 1.0:
                logger.warning(
                    "the event loop was blocked for %.1f s: does an async handler call blocking code?", self._lag
                )
            if self._observers.sample is not None:
                self._observers.sample(self.snapshot())

    async def _report(self, plan: Plan) -> None:
        """After a second say which receives are waited for; then every five seconds what is left."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1.0)
        for lane in self.lanes:
            if (seconds := lane.receive_ends_in(plan)) > 0:
                logger.info(
                    "waiting up to %.0f s for the open receive of %r; Ctrl-C again abandons it "
                    "(what it brings stays hidden until its lease ends)",
                    seconds,
                    lane.name,
                )
        while True:
            await asyncio.sleep(REPORT_EVERY)
            left = ", ".join(f"{lane.in_work} of {lane.name!r}" for lane in self.lanes if lane.in_work)
            if left:
                until = max(0.0, plan.cancel_at - loop.time())
                logger.info("still in work: %s; cancelled in %.0f s", left, until)

    def _spawn(self, coroutine: object, name: str) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(coroutine, name=name))  # type: ignore[arg-type]


def _cannot_start(bad: Mapping[Lane, BaseException]) -> ConfigError:
    findings: list[Finding] = []
    for lane, error in bad.items():
        if isinstance(error, ConfigError):
            findings.extend(error.findings)
        elif isinstance(error, ProviderError):
            findings.append(Finding(f"routes.{lane.name}.provider", str(error)))
        elif isinstance(error, LoaferError):
            findings.append(Finding(f"routes.{lane.name}", str(error)))
        else:
            raise error
    problem = ConfigError(findings)
    problem.__cause__ = next(iter(bad.values()))
    return problem
