"""What makes a seed repeat its world to the last event: no order that depends on where an object lies in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from loafer_core import MemoryQueue


class Task(asyncio.Task[Any]):
    """Sets of tasks have an order that the seed repeats."""

    def __init__(self, number: int, work: Any, loop: asyncio.AbstractEventLoop, **more: Any) -> None:
        self.number = number
        super().__init__(work, loop=loop, **more)

    def __hash__(self) -> int:
        return self.number


class Queue(MemoryQueue):
    """Wakes those who wait for it in the order in which they came."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.waiting: dict[Callable[[], None], None] = {}
        super().watch(self._wake)

    def watch(self, changed: Callable[[], None]) -> None:
        self.waiting[changed] = None

    def unwatch(self, changed: Callable[[], None]) -> None:
        self.waiting.pop(changed, None)

    def _wake(self) -> None:
        for changed in list(self.waiting):
            changed()
