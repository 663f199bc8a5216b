"""Components with a beginning and an end: ``open``/``close`` or ``start``/``stop``, sync or async."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from loafer_core._tasks import is_async
from loafer_core.api.provider import Context
from loafer_core.delivery.executors import Threads


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """How one component is opened and closed."""

    name: str
    """Its place in the configuration."""
    open: Callable[[Context], Awaitable[object]]
    close: Callable[[], Awaitable[object]]


def lifecycle_of(component: object, name: str, threads: Threads) -> Lifecycle | None:
    """Find what opens and closes ``component``; None when it has neither.

    What opens it gets the context if it has a parameter of that name, or one without default. Plain functions run in
    a thread.
    """
    if inspect.isroutine(component):
        return None
    opener = _method(component, "open", "start")
    closer = _method(component, "close", "stop")
    if opener is None and closer is None:
        return None

    async def open(context: Context) -> None:
        if opener is not None:
            await _run(opener, threads, *([context] if _takes_context(opener) else []))

    async def close() -> None:
        if closer is not None:
            await _run(closer, threads)

    return Lifecycle(name, open, close)


def _method(component: object, *names: str) -> Callable[..., Any] | None:
    return next((m for name in names if callable(m := getattr(component, name, None))), None)


def _takes_context(function: Callable[..., Any]) -> bool:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.kind in positional and (p.name == "context" or p.default is p.empty) for p in parameters)


async def _run(function: Callable[..., Any], threads: Threads, *args: object) -> None:
    result = function(*args) if is_async(function) else await threads.run(function, *args, leave=True)
    if inspect.isawaitable(result):
        await result
