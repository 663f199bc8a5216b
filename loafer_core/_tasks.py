"""Background tasks that go on until they are stopped: one that a stray cancel hit is started again."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

STOP_TIMEOUT = 1.0
"""Seconds that a cancelled chore is waited for."""


class BackgroundTasks:
    """Handlers run on our loop, and some cancel every task that they find there: no route falls silent for that."""

    def __init__(self, on_bug: Callable[[BaseException], None]) -> None:
        self._on_bug = on_bug
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def start(self, name: str, chore: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``chore()`` as a task, unless it is too late; what it raises goes to ``on_bug``."""
        if self._stopped:
            return
        task = asyncio.get_running_loop().create_task(chore(), name=name)
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._ended, chore))

    async def stop(self) -> None:
        """Cancel them all; waits for them, but not for ever."""
        self._stopped = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_TIMEOUT)

    def _ended(self, chore: Callable[[], Coroutine[Any, Any, None]], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            if (bug := task.exception()) is not None:
                self._on_bug(bug)
        else:
            self.start(task.get_name(), chore)


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
