"""Where plain functions run, so that they do not block the event loop: in threads of our own.

asyncio's default executor will not do: name look-ups and TLS contexts use it, and acks would wait behind handlers.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol


class Executor(Protocol):
    """Somewhere to run plain functions."""

    @property
    def running(self) -> int:
        """Calls that occupy it or wait for it, those that nobody waits for any more included."""
        ...

    async def run(self, function: Callable[..., Any], *args: Any, leave: bool = False, **kwargs: Any) -> Any:
        """Call ``function`` there and give what it returns or raises, whatever that is.

        A call that runs cannot be stopped. When the waiting task is cancelled it goes on waiting, because the work is
        still being done; with ``leave=True`` it gives up and leaves the call to itself. A call that has not started is
        taken back.
        """
        ...

    def close(self) -> None:
        """Start nothing more and wait for nobody."""


class ThreadExecutor:
    """At most ``size`` threads, started on demand. contextvars are carried over into each call."""

    def __init__(self, name: str, size: int) -> None:
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._closed = False
        self.running = 0

    async def run(self, function: Callable[..., Any], *args: Any, leave: bool = False, **kwargs: Any) -> Any:
        """As ``Executor.run``."""
        context = contextvars.copy_context()
        call = self._executor.submit(_capture, context, function, args, kwargs)
        self.running += 1
        done = asyncio.wrap_future(call)
        done.add_done_callback(self._ended)
        while True:
            try:
                result = await asyncio.shield(done)
                break
            except asyncio.CancelledError:
                if call.cancel() or leave or self._closed:
                    raise
        error, value = result
        # An error's traceback holds this frame and the thread's, and these would hold the error: all of it, payload
        # included, would stay until the garbage collector comes.
        result.clear()
        try:
            if error is not None:
                raise error
            return value
        finally:
            del error

    def _ended(self, _: object) -> None:
        self.running -= 1

    def close(self) -> None:
        """Start nothing more and wait for nobody."""
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)


def _capture(
    context: contextvars.Context, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[Any]:
    # As a value, because a future does not take every exception: with a StopIteration it would never be done.
    try:
        return [None, context.run(function, *args, **kwargs)]
    except BaseException as error:
        return [error, None]
