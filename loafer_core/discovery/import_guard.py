"""A time limit for plugins' code that runs in our thread: the import of a module, the making of a command.

A module that is being imported cannot be told to stop. In the main thread, on POSIX, a signal can raise inside it.
Elsewhere Loafer can only log which plugin it waits for; a command that has nothing else to do may end the process.
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

WARN_AFTER = 5.0
"""Seconds after which a warning says what is waited for."""
INTERRUPT_AFTER = 20.0
"""Seconds after which the code is interrupted. A plugin's module is light: this is a thousand times what it needs."""
EXIT_AFTER = 30.0
"""Seconds after which the process ends, where the caller allows that and the code could not be interrupted."""


class TookTooLong(BaseException):
    """Raised inside the code that takes too long. No Exception: the plugin's ``except Exception`` must let it pass."""


@contextlib.contextmanager
def time_limit(what: str, *, end_process: bool = False) -> Iterator[None]:
    """Run the body with the time limit.

    Args:
        what: what the body does, as messages say it: ``importing the plugin loafer-acme/acme``.
        end_process: end the process after ``EXIT_AFTER`` if the body could not be interrupted.

    Raises:
        TookTooLong: the body took longer than ``INTERRUPT_AFTER`` and could be interrupted.
    """
    has_ended = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(what, has_ended, end_process), name="loafer/import-timeout", daemon=True
    )
    watch.start()
    try:
        with _interrupted(what):
            yield
    finally:
        has_ended.set()
        watch.join()


def _watch(what: str, has_ended: threading.Event, end_process: bool) -> None:
    if has_ended.wait(WARN_AFTER):
        return
    logger.warning("still %s, after %g s", what, WARN_AFTER)
    if end_process and not has_ended.wait(EXIT_AFTER - WARN_AFTER):
        sys.stderr.write(f"error: {what} took longer than {EXIT_AFTER:g} s and cannot be interrupted\n")
        sys.stderr.flush()
        os._exit(1)


@contextlib.contextmanager
def _interrupted(what: str) -> Iterator[None]:
    """Raise TookTooLong inside the body after ``INTERRUPT_AFTER``, and again each second if the body swallows it."""
    if not _is_alarm_free():
        yield
        return

    def alarm(number: int, frame: types.FrameType | None) -> None:
        raise TookTooLong(f"{what} took longer than {INTERRUPT_AFTER:g} s")

    signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, INTERRUPT_AFTER, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _is_alarm_free() -> bool:
    """Tell whether this thread can use SIGALRM, and nobody else does: the host program, or a test's time limit."""
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
        and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    )
