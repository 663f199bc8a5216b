"""What asyncio leaves to be said about tasks: who was cancelled, what is waited for how long, what goes on for ever."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

logger = logging.getLogger("loafer.stop")

STOP_TIMEOUT = 1.0
"""Seconds that a cancelled background task is waited for."""

LAST_WORD = 0.1
"""Seconds that something gets to end after it was cancelled."""


class BackgroundTasks:
    """Tasks that go on until they are stopped.

    Handlers run on our loop, and some cancel every task that they find there. A task that such a cancel hits is started
    again, so that no route falls silent for it.
    """

    def __init__(self, on_bug: Callable[[BaseException], None]) -> None:
        self._on_bug = on_bug
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work()`` as a task, unless it is too late; what it raises goes to ``on_bug``."""
        if self._stopped:
            return
        task = asyncio.get_running_loop().create_task(work(), name=name)
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._ended, work))

    async def stop(self) -> None:
        """Cancel them all; waits for them, but not for ever."""
        self._stopped = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_TIMEOUT)

    def _ended(self, work: Callable[[], Coroutine[Any, Any, None]], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            if (bug := task.exception()) is not None:
                self._on_bug(bug)
        else:
            self.start(task.get_name(), work)


class Signal:
    """Says that something has changed, to whoever listens. It knows none of them, and says nothing of what it was."""

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[], None], ...] = ()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` at each change, after those that listen already."""
        self._listeners = (*self._listeners, listener)

    def forget(self, listener: Callable[[], None]) -> None:
        """Call it no more."""
        self._listeners = tuple(other for other in self._listeners if other != listener)

    def __call__(self) -> None:
        for listener in self._listeners:
            listener()


async def bounded(work: Awaitable[object], until: float, what: str) -> None:
    """Wait for ``work``, at most until then (the loop's time); what goes wrong is logged and hinders nobody.

    It runs as a task of its own, so that not even work that resists being cancelled is waited for.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda task: task.cancelled() or task.exception())  # asked for: never "not retrieved"
    try:
        await asyncio.wait([task], timeout=max(0.0, until - asyncio.get_running_loop().time()))
        if not task.done():
            logger.warning("%s took too long; going on without it", what)
            task.cancel()
            await asyncio.wait([task], timeout=LAST_WORD)
        elif task.cancelled():
            logger.warning("%s was cancelled", what)
        elif (error := task.exception()) is not None:
            logger.warning("%s failed", what, exc_info=error)
    finally:
        task.cancel()


def uncancel(task: asyncio.Task[Any] | None) -> None:
    """Take back every cancellation that was asked of the task: whoever asked had no right to it."""
    while task is not None and task.cancelling():
        task.uncancel()


def is_cancel(error: BaseException) -> bool:
    """Tell whether somebody cancelled the running task; else a CancelledError is a failure of what it awaits."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def is_async(function: Callable[..., Any]) -> bool:
    """Tell whether calling it gives a coroutine: coroutine functions, objects with ``async __call__``, partials."""
    return any(map(inspect.iscoroutinefunction, what_runs(function)))


def what_runs(function: object) -> tuple[Any, Any]:
    """Give where the code may be: in the object itself, or in its ``__call__``."""
    function = inside(function)
    return function, getattr(function, "__call__", None)  # noqa: B004 - the method itself is wanted


def inside(function: object) -> object:
    while isinstance(function, functools.partial):
        function = function.func
    return function
