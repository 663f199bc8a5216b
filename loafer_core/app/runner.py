"""The event loop and the signals around one coroutine: what ``loafer run`` does as a process."""

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
"""Seconds that are waited for what may hang at the very end: writing the logs, and threads that the loop joins."""
GC_THRESHOLD = 2_000
"""The number of new objects after which the garbage collector looks at them: the default since Python 3.13."""
OLD_GC_THRESHOLD = 700
"""The default of older Pythons."""
LOOP_STOPPED = "Event loop stopped before Future completed."
"""The text of the RuntimeError that asyncio and uvloop raise when somebody else stops the loop."""


class Stop:
    """What the signals so far ask for: the first asks for a stop, the second for hurry.

    A third ends the process at once, and does not come here.
    """

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.hurry = asyncio.Event()
        self.reason = ""
        """The name of the first signal."""

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
        is_stuck: asked at the end, whether threads or tasks still run that would keep the interpreter from exiting. If
            so, the process ends at once with that code, and its logs are flushed.

    Raises:
        LoaferError: user code stopped the loop.
    """

    async def main() -> int:
        stop = Stop()
        thresholds = gc.get_threshold()
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
            if str(error) != LOOP_STOPPED:
                raise
            raise LoaferError(
                "somebody stopped the event loop: does a handler call loop.stop()? A service ends by SIGTERM"
            ) from None
        # Closing the loop joins the threads of its default executor, where something of a handler may hang.
        deadline = threading.Timer(PATIENCE, leave, [code])
        deadline.daemon = True
        deadline.start()
    deadline.cancel()
    return code


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Give uvloop's where it is installed (``loafer-core[uvloop]``), since it costs less; else None: asyncio's own."""
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    except ImportError:
        return None
    return factory


def ease_garbage_collection() -> None:
    """Let the garbage collector pass over what is there now, and look less often, for the rest of this run.

    Called after the start. What is there then, such as an SDK's models, stays to the end. To look through it again and
    again, for the garbage that messages leave, costs as much as the messages themselves.

    It looks as often as newer Pythons do by default; what somebody else has chosen stays.
    """
    gc.freeze()
    threshold, *others = gc.get_threshold()
    if threshold == OLD_GC_THRESHOLD:
        gc.set_threshold(GC_THRESHOLD, *others)


def leave(code: int) -> NoReturn:
    """End the process now, without joining threads. What was logged and printed is written, if that does not hang."""
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
    """Tell ``stop`` of signals; the third ends the process, also while a handler blocks the loop."""
    loop = asyncio.get_running_loop()
    count = 0

    def arrived(number: int, _: FrameType | None) -> None:
        # Python calls this between two instructions of the main thread, whatever runs there: little may be done here.
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
    """Let every signal wake the loop.

    Python calls a signal's handler between two instructions of the main thread. Without this, a signal that comes just
    before the loop goes to sleep, or that the kernel gives to another thread, is seen only when the loop wakes for
    something else: https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd
    """
    of_others = signal.set_wakeup_fd(-1)
    if of_others != -1:
        # uvloop has set one for the same purpose.
        signal.set_wakeup_fd(of_others)
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
