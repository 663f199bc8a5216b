"""The event loop and the signals around one coroutine: the process's side of ``loafer run``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

logger = logging.getLogger("loafer.stop")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """What the signals so far ask for: the first a stop, the second hurry, the third the end."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.hurry = asyncio.Event()
        self.reason = ""

    def __call__(self, number: int) -> None:
        name = signal.Signals(number).name
        if not self.requested.is_set():
            logger.info("%s: stopping; once more hurries, a third time ends at once", name)
            self.reason = name
            self.requested.set()
        elif not self.hurry.is_set():
            logger.warning("%s again: cancelling what still runs", name)
            self.hurry.set()
        else:
            leave(128 + number)


def run(serve: Callable[[Stop], Coroutine[Any, Any, int]], is_stuck: Callable[[], bool] = lambda: False) -> int:
    """Run ``serve`` on a loop of its own until it gives the exit code.

    Args:
        serve: gets the Stop that signals act on, and returns the process's exit code.
        is_stuck: asked at the end: threads or tasks still run that would keep the interpreter from exiting. Then the
            process ends here and now with that code; its logs are flushed.
    """

    async def main() -> int:
        stop = Stop()
        with _signals(stop):
            code = await serve(stop)
        if is_stuck():
            leave(code)
        return code

    with asyncio.Runner() as runner:
        return runner.run(main())


def leave(code: int) -> None:
    """End the process now, without joining threads; what was logged and printed is written."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    try:
        for number in SIGNALS:
            loop.add_signal_handler(number, stop, number)
    except NotImplementedError:  # pragma: no cover - a loop without signal support: Windows
        for number in SIGNALS:
            signal.signal(number, lambda n, _frame: loop.call_soon_threadsafe(stop, n))
        yield
        return
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
