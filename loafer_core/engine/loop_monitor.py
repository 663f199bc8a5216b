"""Who blocks the event loop: a thread looks where the loop is while it does not answer, since the loop cannot."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from types import FrameType

logger = logging.getLogger("loafer.watchdog")

LOOK_EVERY = 1.0
"""Seconds between two looks."""

JOIN_TIMEOUT = 0.1
"""Seconds that the thread is waited for at the end."""

_OURS = ("loafer_core.", "asyncio.", "uvloop.")


class LoopMonitor:
    """Asks the loop for a sign of life; where it gives none, logs what it is at, once each time it is blocked."""

    def __init__(self, patience: float) -> None:
        """``patience``: seconds that the loop may take to answer."""
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._answered = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loafer/loop-monitor", daemon=True)

    def start(self) -> None:
        """On the loop that is to be watched."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self._answered.set()
        self._thread.join(JOIN_TIMEOUT)

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            self._answered.clear()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop is closed
                return
            if not self._answered.wait(self._patience):
                self._say()
                self._answered.wait()

    def _say(self) -> None:
        task, frame = asyncio.current_task(self._loop), sys._current_frames().get(self._loop_thread)
        if task is None or frame is None:
            return  # it is at nothing: the process, or the machine, was stopped for a while
        logger.warning(
            "the event loop has been blocked for %.1f s by %s, %s: until it goes on nothing is received, extended or "
            "settled. Blocking code belongs in a plain function",
            self._patience,
            task.get_name(),
            _place(frame),
        )


def _place(frame: FrameType) -> str:
    """Where it is, and from where of the user's own code that was called."""
    inner, outer = frame, frame
    back: FrameType | None = frame
    while back is not None and not str(back.f_globals.get("__name__")).startswith(_OURS):
        outer, back = back, back.f_back
    place = _line(inner)
    return f"at {place}" if outer is inner else f"at {place}, called from {_line(outer)}"


def _line(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
