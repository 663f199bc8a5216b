"""The user's own start and end around everything: an async context manager that is entered once and left once."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from loafer_core.api.errors import ConfigError, Finding
from loafer_core.config.importer import import_target

logger = logging.getLogger("loafer.lifespan")

WHERE = "loafer.lifespan"
"""Its place in the configuration."""
MakeLifespan = Callable[[], AbstractAsyncContextManager[object]]
_DECORATE = "write 'async def lifespan(): ... yield ...', decorated with contextlib.asynccontextmanager"


def import_lifespan(reference: str) -> MakeLifespan:
    """Import it, and refuse what cannot be one. Raises ConfigError."""
    target = import_target(reference, WHERE)
    if not callable(target):
        raise _error(f"{reference!r} is not callable; it is called without arguments")
    if inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target) or inspect.iscoroutinefunction(target):
        raise _error(f"{reference!r} gives no async context manager; {_DECORATE}")
    try:
        inspect.signature(target).bind()
    except TypeError as error:
        raise _error(f"{reference!r} is called without arguments: {error}") from None
    except ValueError:
        pass  # It is written in C, and has no signature that can be read.
    return target


class Lifespan:
    """The lifespan of one run, entered and left in one task of its own: task groups and cancel scopes need that.

    It is left without an exception, whatever went wrong: its cleaning up is needed most when something did.
    """

    def __init__(self, make: MakeLifespan) -> None:
        self._make = make
        self._entered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._leaving = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._live(), name="loafer/lifespan")

    async def enter(self) -> object:
        """Enter it, and give what it yields. Raises ConfigError, whatever it raises."""
        either: list[asyncio.Future[Any]] = [self._entered, self._task]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._entered.done():
            raise _error("it was cancelled while it started")
        return self._entered.result()

    async def leave(self, until: float) -> None:
        """Leave it, and wait for that until ``until`` (the loop's time) at most. What goes wrong is logged."""
        loop = asyncio.get_running_loop()
        self._leaving.set()
        if not self._entered.done():
            self._entered.cancel()
            self._task.cancel()
        await asyncio.wait([self._task], timeout=max(0.0, until - loop.time()))
        if not self._task.done():
            logger.warning("leaving the lifespan took too long; going on without it")
            self._task.cancel()

    async def _live(self) -> None:
        try:
            async with self._context() as state:
                if not self._entered.done():
                    self._entered.set_result(state)
                await self._leaving.wait()
        except (Exception, SystemExit) as error:
            if self._entered.done():
                logger.warning("leaving the lifespan failed: %s", _text(error), exc_info=error)
            else:
                self._entered.set_exception(_failure(error))

    def _context(self) -> AbstractAsyncContextManager[object]:
        context = self._make()
        if isinstance(context, AbstractAsyncContextManager):
            return context
        raise _error(f"it gave {type(context).__name__}, which is no async context manager; {_DECORATE}")


def _failure(error: BaseException) -> ConfigError:
    """Make a ConfigError of what entering it raised."""
    if isinstance(error, ConfigError):
        return error
    failure = _error(f"starting it raised {_text(error)}")
    failure.__cause__ = error
    return failure


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _error(text: str) -> ConfigError:
    return ConfigError(Finding(WHERE, text))
