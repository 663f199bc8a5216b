"""Plugins' code that does not come back: named after a while, interrupted where that is possible.

A module that is being imported cannot be told to stop. In the main thread, on POSIX, a signal can raise inside it;
elsewhere all that can be done is to say who it is, and, for a command that has nothing else to do, to end the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator

logger = logging.getLogger("loafer.plugins")

NAMED_AFTER = 5.0
"""Seconds after which it is said what is waited for."""
LIMIT = 20.0
"""Seconds after which it is interrupted. A plugin's module is light: this is a thousand times what it needs."""
ENDED_AFTER = 30.0
"""Seconds after which the process is ended, if it is ours to end and nothing could be interrupted."""


class TookTooLong(BaseException):
    """Raised inside what takes too long. No Exception: the author's own ``except Exception`` shall not swallow it."""


@contextlib.contextmanager
def bounded(what: str, *, end_process: bool = False) -> Iterator[None]:
    """Run the body, which is said to be ``what``: ``importing the plugin acme/acme``.

    Raises:
        TookTooLong: it took longer than ``LIMIT`` and could be interrupted.
    """
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(what, ended, end_process), name="loafer/hangs", daemon=True)
    watch.start()
    try:
        with _interrupted(what):
            yield
    finally:
        ended.set()
        watch.join()


def _watch(what: str, ended: threading.Event, end_process: bool) -> None:
    if ended.wait(NAMED_AFTER):
        return
    logger.warning("still %s, after %g s", what, NAMED_AFTER)
    if end_process and not ended.wait(ENDED_AFTER - NAMED_AFTER):
        sys.stderr.write(f"error: {what} took longer than {ENDED_AFTER:g} s and cannot be interrupted\n")
        sys.stderr.flush()
        os._exit(1)


@contextlib.contextmanager
def _interrupted(what: str) -> Iterator[None]:
    """Raise TookTooLong inside the body after ``LIMIT``, and again each second, should somebody swallow it."""
    if not _is_alarm_free():
        yield
        return

    def alarm(number: int, frame: types.FrameType | None) -> None:
        raise TookTooLong(f"{what} took longer than {LIMIT:g} s")

    signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, LIMIT, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _is_alarm_free() -> bool:
    """The alarm may be somebody else's: the host's program, or a test's time limit."""
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
        and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    )
