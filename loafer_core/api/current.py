"""What user code may ask about the delivery that it runs in: ``loafer_core.current()``."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field

from loafer_core.api.message import Message


class Flag:
    """Something that is set once and stays so.

    Ask with ``is_set()`` anywhere, with ``await wait()`` on the loop, with ``wait_blocking(timeout)`` in a thread.
    """

    __slots__ = ("_set", "_thread_event", "_waiters")

    # One lock for all flags. It is held only for a moment, and a lock for each would be one more for every delivery.
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._set = False
        self._thread_event: threading.Event | None = None
        self._waiters: tuple[asyncio.Future[None], ...] = ()

    def is_set(self) -> bool:
        """Tell whether it is set. May be called in any thread."""
        return self._set

    def set(self) -> None:
        """Set it, and wake whoever waits for it. On the loop only. Idempotent."""
        with self._lock:
            self._set = True
            if self._thread_event is not None:
                self._thread_event.set()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Wait, on the loop, until it is set."""
        if not self._set:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters = (*self._waiters, waiter)
            try:
                await waiter
            finally:
                self._waiters = tuple(other for other in self._waiters if other is not waiter)

    def wait_blocking(self, timeout: float | None = None) -> bool:
        """Block this thread for at most ``timeout`` seconds; tell whether the flag is set. Never on the loop."""
        with self._lock:
            if self._set:
                return True
            if self._thread_event is None:
                self._thread_event = threading.Event()
            event = self._thread_event
        return event.wait(timeout)


@dataclass(frozen=True, slots=True)
class Current:
    """The delivery that the running code belongs to."""

    message: Message
    route: str
    """The route's name."""
    stopping: Flag
    """Loafer is going to stop: long work may want to come to an end."""
    lease_lost: Flag = field(default_factory=Flag)
    """The message is not ours any more: somebody else may be working on it."""


_current: ContextVar[Current] = ContextVar("loafer_current")


def current() -> Current:
    """Give the delivery that this code runs in; in handlers, error handlers and middlewares, threads included.

    Raises:
        LookupError: called outside of a delivery.
    """
    try:
        return _current.get()
    except LookupError:
        raise LookupError("loafer_core.current() was called outside of a delivery") from None


def enter(delivery: Current) -> None:
    """Make ``delivery`` the current one of the running task."""
    _current.set(delivery)
