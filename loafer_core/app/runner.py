"""The event loop and the signals around one coroutine: the process's side of ``loafer run``."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from loafer_core.api.errors import LoaferError

logger = logging.getLogger("loafer.stop")

SIGNALS = (signal.SIGINT, signal.SIGTERM)

PATIENCE = 1.0
"""Seconds for what may hang at the very end: writing the logs, and threads that the loop wants to join."""
YOUNG, YOUNG_OF_OLD = 2_000, 700
"""New objects after which the garbage collector looks at them: by default since Python 3.13, and before."""
STOPPED = "Event loop stopped before Future completed."
"""What asyncio and uvloop say when somebody else ends the loop."""


class Stop:
    """What the signals so far ask for: the first a stop, the second hurry. A third ends the process at once."""

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
        else:
            logger.warning("%s again: cancelling what still runs", name)
            self.hurry.set()


def run(serve: Callable[[Stop], Coroutine[Any, Any, int]], is_stuck: Callable[[], bool] = lambda: False) -> int:
    """Run ``serve`` on a loop of its own until it gives the exit code.

    Args:
        serve: gets the Stop that signals act on, and returns the process's exit code.
        is_stuck: asked at the end: threads or tasks still run that would keep the interpreter from exiting. Then the
            process ends here and now with that code; its logs are flushed.

    Raises:
        LoaferError: user code stopped the loop.
    """

    async def main() -> int:
        stop, thresholds = Stop(), gc.get_threshold()
        with _awakened_by_signals(), _signals(stop):
            try:
                code = await serve(stop)
            finally:
                gc.unfreeze()
                gc.set_threshold(*thresholds)
        if is_stuck():
            leave(code)
        return code

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            code = runner.run(main())
        except RuntimeError as error:
            if str(error) != STOPPED:
                raise
            raise LoaferError(
                "somebody stopped the event loop: does a handler call loop.stop()? A service ends by SIGTERM"
            ) from None
        # Closing the loop joins the threads of its default executor, where a handler may have left something.
        hanging = threading.Timer(PATIENCE, leave, [code])
        hanging.daemon = True
        hanging.start()
    hanging.cancel()
    return code


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed (``loafer-core[uvloop]``), since it costs less; else None, for asyncio's own."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        return None
    return factory


def ease_garbage_collection() -> None:
    """For the rest of this run, spare the garbage collector what is there now, and let it look less often.

    Called after the start: an SDK's models and the like stay to the end, and looking through them again and again, for
    the garbage that messages leave, costs as much as the messages themselves. How often it looks is what newer Pythons
    do anyway; what somebody else has chosen stays.
    """
    gc.freeze()
    young, *older = gc.get_threshold()
    if young == YOUNG_OF_OLD:
        gc.set_threshold(YOUNG, *older)


def leave(code: int) -> NoReturn:
    """End the process now, without joining threads; what was logged and printed is written, if that can be done."""
    try:
        writer = threading.Thread(target=_write_out, daemon=True)
        writer.start()
        writer.join(PATIENCE)
    finally:
        os._exit(code)


def _write_out() -> None:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    count = 0

    def arrived(number: int, _: FrameType | None) -> None:
        # Python calls this even while a handler blocks the loop. What it may do here is little: count, and leave.
        nonlocal count
        count += 1
        if count > 2:
            leave(128 + number)
        loop.call_soon_threadsafe(stop, number)

    before = {number: signal.signal(number, arrived) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _awakened_by_signals() -> Iterator[None]:
    """Let every signal end the loop's sleep.

    Python calls a signal's handler between two instructions of the main thread. One that comes just before the loop
    goes to sleep, or that the kernel gives to another thread, would else be seen only when the loop wakes for something
    else: https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd
    """
    theirs = signal.set_wakeup_fd(-1)
    if theirs != -1:  # uvloop does the same of its own accord
        signal.set_wakeup_fd(theirs)
        yield
        return
    loop = asyncio.get_running_loop()
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        loop.add_reader(reader, reader.recv, 4096)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            loop.remove_reader(reader)
