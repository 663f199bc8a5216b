"""The manager puts configuration, plugins and routes together, starts them, and stops them in order."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import fields, replace
from types import TracebackType
from typing import Any, Self

from loafer_core._tasks import uncancel
from loafer_core.api.errors import ConfigError, Finding, LoaferError, RouteFailed
from loafer_core.api.route import Route
from loafer_core.app import runner
from loafer_core.app.resolve import Resolved, resolve
from loafer_core.app.sandbox import Sandboxes
from loafer_core.app.session import Session
from loafer_core.config.settings import Config, check_route, read
from loafer_core.engine.shutdown import ShutdownDeadlines
from loafer_core.observability.account import Account
from loafer_core.observability.health import InFlight

logger = logging.getLogger("loafer.manager")

LONG_POLL = 20.0
"""Most seconds that a receive may wait, unless the time for a stop asks for less."""
SHORT_POLL = 1.0
"""Most seconds that a receive may wait with ``until_empty`` or ``sandbox``: somebody waits for the end."""

MOST_STOPS = 3
"""How often a stop is begun that something else cancels."""

# Exit codes.
OK = 0
FINDING = 1
"""``until_empty``: not every message was acked or rejected."""
BUG = os.EX_SOFTWARE
"""70: an error that Loafer did not foresee; its traceback is logged."""
ABANDONED = os.EX_TEMPFAIL
"""75: stopped with work that will be delivered again."""
BAD_CONFIG = os.EX_CONFIG
"""78: what the user wrote cannot be run."""


class Manager:
    """Everything that ``loafer run`` does, for Python.

    ``run()`` blocks, owns the signals and returns the exit code. ``async with Manager(...) as manager`` embeds it in a
    program that has a loop: it leaves the signals alone, and drains when it is left.

    A manager may be used again afterwards. Components that were given by name are then built anew; those that were
    given as objects are opened again.
    """

    def __init__(self, routes: Sequence[Route], **settings: object) -> None:
        """Take routes made in Python, and the settings of ``[loafer]`` by name (``shutdown_timeout=10.0``).

        Raises:
            ConfigError: as ``from_config``.
        """
        config = read({"loafer": settings, "routes": _tables(routes)})
        known = {finding.where for finding in config.findings}
        of_routes = [finding for route in routes for finding in check_route(route)]
        more = [finding for finding in of_routes if finding.where not in known]
        self._resolve(replace(config, findings=(*config.findings, *more)), ())

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
            ConfigError: with every finding of file, plugins and handlers at once. What shows only when the components
                are built is raised at the start, if nothing else is wrong.
        """
        manager = cls.__new__(cls)
        manager._resolve(read(source, overrides=overrides), routes)
        return manager

    def _resolve(self, config: Config, only: Sequence[str]) -> None:
        self._resolved: Resolved = resolve(config, only)
        self._session: Session | None = None
        self._in_use = False
        self.settings = config.settings
        if self._resolved.is_fatal:
            self._resolved.build()  # Building finds what else is wrong, so that all of it is said at once.
        self._resolved.report()

    @property
    def routes(self) -> tuple[str, ...]:
        """Names of the routes that run."""
        return tuple(resolved.route.name for resolved in self._resolved.routes)

    @property
    def accounts(self) -> Mapping[str, Account]:
        """What became of the messages so far, by route; after the end: what became of those of the last use."""
        return {} if self._session is None else self._session.accounts

    def messages(self) -> tuple[InFlight, ...]:
        """Where each message is that is in flight now, route by route in the order of receive.

        May be called from any thread, at any time; gives () where nothing runs. What it gives does not change any more.
        """
        return () if self._session is None else self._session.messages()

    # --- as a process

    def run(
        self,
        *,
        until_empty: bool | float = False,
        sandbox: bool = False,
        samples: Mapping[str, Sequence[str]] | None = None,
    ) -> int:
        """Run until a signal, and give the exit code: 0, 1 (``until_empty``: not all done), 70, 75 or 78.

        Where threads or tasks are left that would keep the interpreter from exiting, it ends the process with that code
        instead of returning it.

        Args:
            until_empty: end when every source is empty; with a number, drain after so many seconds in any case.
            sandbox: run on the plugins' local stand-ins, never on a real source.
            samples: bodies to publish at start, by route; with ``sandbox`` only.

        Raises:
            LoaferError: called where a loop runs, in another thread than the main one, or while the manager is in use.
        """
        self._claim_process(samples, sandbox=sandbox)
        try:
            return self.run_or_raise(until_empty=until_empty, sandbox=sandbox, samples=samples)
        except Exception as error:
            _log(error)
            return BAD_CONFIG if isinstance(error, ConfigError) else BUG

    def run_or_raise(
        self,
        *,
        until_empty: bool | float = False,
        sandbox: bool = False,
        samples: Mapping[str, Sequence[str]] | None = None,
    ) -> int:
        """Run as ``run`` does, but raise the errors that ``run`` logs and turns into 70 or 78."""
        self._claim_process(samples, sandbox=sandbox)
        sandboxes = Sandboxes(self._resolved.plugins.registry)
        failures: list[BaseException] = []
        try:
            overrides = sandboxes.start(self._resolved.routes) if sandbox else {}
            max_wait = SHORT_POLL if until_empty or sandbox else self._long_poll()
            session = Session(self._resolved, overrides, max_wait)
            self._session = session

            async def serve(stop: runner.Stop) -> int:
                try:
                    return await self._serve(session, stop, until_empty, samples or {})
                except Exception as error:
                    if session.is_stuck:
                        _log(error)  # Nobody else will: the process ends before this method returns.
                    failures.append(error)
                    return BAD_CONFIG if isinstance(error, ConfigError) else BUG
                finally:
                    sandboxes.stop()

            self._in_use = True
            code = runner.run(serve, lambda: session.is_stuck)
        finally:
            self._in_use = False
            sandboxes.stop()
        if failures:
            raise failures[0]
        return code

    def _claim_process(self, samples: object, *, sandbox: bool) -> None:
        if samples and not sandbox:
            raise LoaferError("samples are for the sandbox: they are never sent to a real source")
        if self._in_use:
            raise LoaferError("the manager is in use already")
        if threading.current_thread() is not threading.main_thread():
            raise LoaferError("run() owns the signals, so it belongs in the main thread; elsewhere use 'async with'")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise LoaferError("run() makes a loop of its own; where one runs already use 'async with'")

    async def _serve(
        self, session: Session, stop: runner.Stop, until_empty: bool | float, samples: Mapping[str, Sequence[str]]
    ) -> int:
        """Run a session until it ends by itself or a stop is asked for, drain it, and give the exit code."""
        loop = asyncio.get_running_loop()
        requested = loop.create_task(stop.requested.wait(), name="loafer/signals")
        work = loop.create_task(_work(session, until_empty, samples), name="loafer/work")
        try:
            await asyncio.wait([requested, work], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            uncancel(asyncio.current_task())
        failure: BaseException | None = None
        if work.done() and not work.cancelled():
            failure = work.exception()
        elif not stop.requested.is_set():
            failure = LoaferError("somebody cancelled the tasks of Loafer itself; does a handler cancel all it finds?")
        deadlines = ShutdownDeadlines.of(loop.time(), self.settings.shutdown_timeout, stop.hurry)
        requested.cancel()
        work.cancel()

        async def end() -> None:
            await asyncio.wait([work], timeout=deadlines.cancelled_until - deadlines.cancel_at)
            await session.stop(deadlines, stop.reason or ("failure" if failure else "done"))

        await _to_the_end(end)
        if failure is not None:
            raise failure
        if session.has_abandoned:
            return ABANDONED
        return FINDING if until_empty and not session.check_done() else OK

    def _long_poll(self) -> float:
        """Give the seconds that a receive may wait: one that is open when a stop begins ends before it is aborted."""
        window = ShutdownDeadlines.of(0.0, self.settings.shutdown_timeout, asyncio.Event()).polls_until
        return min(LONG_POLL, max(window - 1.0, window / 2))

    # --- embedded

    async def __aenter__(self) -> Self:
        if self._in_use:
            raise LoaferError("the manager is in use already")
        self._in_use = True
        self._session = Session(self._resolved, {}, self._long_poll())
        try:
            await self._session.start()
        except BaseException:
            await self._leave(self._session, "failure")
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._leave(self._session, "left")

    async def wait(self) -> None:
        """Wait until a route ends by itself. Raises RouteFailed."""
        if self._session is None or not self._in_use:
            raise LoaferError("the manager is not running: use 'async with', or run()")
        await self._session.wait()

    async def _leave(self, session: Session, reason: str) -> None:
        """Drain, and return when that is done. Being cancelled meanwhile means hurry, and is raised at the end."""
        hurry = asyncio.Event()
        deadlines = ShutdownDeadlines.of(asyncio.get_running_loop().time(), self.settings.shutdown_timeout, hurry)
        stopping = asyncio.ensure_future(session.stop(deadlines, reason))
        stopping.add_done_callback(lambda _: setattr(self, "_in_use", False))
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            hurry.set()
            await asyncio.wait([stopping])
            raise


async def _work(session: Session, until_empty: bool | float, samples: Mapping[str, Sequence[str]]) -> None:
    """Start, and wait until there is nothing more to wait for."""
    await session.start()
    runner.ease_garbage_collection()
    await session.publish(samples)
    if until_empty is False:
        await session.wait()
    else:
        await session.wait_until_empty(None if until_empty is True else until_empty)


async def _to_the_end(stop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``stop`` to its end, and begin it again where it was cancelled.

    Handlers run on the same loop, and some of them cancel every task that they find there.
    """
    for _ in range(MOST_STOPS):
        stopping = asyncio.get_running_loop().create_task(stop(), name="loafer/stop")
        while not stopping.done():
            try:
                await asyncio.wait([stopping])
            except asyncio.CancelledError:
                uncancel(asyncio.current_task())
        if not stopping.cancelled():
            stopping.result()
            break


def _log(error: BaseException) -> None:
    if isinstance(error, ConfigError):
        for finding in error.findings:
            logger.error("%s", finding)
    elif isinstance(error, LoaferError) and not isinstance(error, RouteFailed):
        logger.error("%s", error)
    else:
        logger.critical("stopped by a bug in Loafer", exc_info=error)


def _tables(routes: Sequence[Route]) -> dict[str, dict[str, object]]:
    """Give routes made in Python the shape of a file's: so the same rules hold for them, with the same texts."""
    tables: dict[str, dict[str, object]] = {}
    for route in routes:
        if route.name in tables:
            raise ConfigError(Finding(f"routes.{route.name}", "two routes have this name"))
        table = {one.name: getattr(route, one.name) for one in fields(route) if one.name != "name"}
        tables[route.name] = {key: value for key, value in table.items() if value is not None}
    return tables
