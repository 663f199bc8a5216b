"""An event loop whose time is virtual: hours of leases and delays pass in milliseconds, and every time the same way."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _LeapingSelector(selectors.DefaultSelector):
    def __init__(self, now: float, grace: float) -> None:
        super().__init__()
        self.now = now
        self._grace = grace

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(min(max(timeout, 0.0), self._grace))
        if not ready:
            self.now += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Where another loop would sleep until its next timer, this one moves its clock there at once.

    Only the loop's ``time()``, and what is built on it (``asyncio.sleep``, ``asyncio.timeout``, ``call_later``), is
    virtual. With no timer pending it really blocks, as a loop does that waits for nothing but threads or sockets. With
    a timer pending it does not see that a thread or a peer is still busy: ``grace`` is how many real seconds it waits
    for them before each leap. The clock does not begin at 0, so that a time is never mistaken for "none".
    """

    def __init__(self, *, start: float = 1000.0, grace: float = 0.0) -> None:
        self._leaping = _LeapingSelector(start, grace)
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        # Python 3.13 measures the timeout with the loop's clock, which would leap there while a thread is still busy.
        await super().shutdown_default_executor()


def run_virtual(main: Coroutine[Any, Any, T], *, start: float = 1000.0, grace: float = 0.0) -> T:
    """Run ``main`` to its end in virtual time, as ``asyncio.run`` does in real time, and give its result.

    Raises:
        RuntimeError: called where a loop runs already, such as in an ``async def`` test; call it from a plain one.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start=start, grace=grace)) as runner:
        return runner.run(main)
