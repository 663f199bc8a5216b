"""What several providers of one manager use together, such as a client: opened once, closed after its last user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

R = TypeVar("R")


@dataclass(slots=True)
class _Shared:
    opened: asyncio.Future[Any]
    unused: asyncio.Event
    owner: asyncio.Task[None]
    users: set[str]


class Sharing:
    """One per manager. Each resource is entered and left in a task of its own, as some context managers demand."""

    def __init__(self) -> None:
        self._shared: dict[Hashable, _Shared] = {}

    async def acquire(self, user: str, key: Hashable, open: Callable[[], AbstractAsyncContextManager[R]]) -> R:
        """Give what ``open`` yields, opening it for the first user. Raises what opening raises, to each who waits."""
        shared = self._shared.get(key)
        if shared is None:
            opened: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            unused = asyncio.Event()
            owner = asyncio.create_task(_own(open, opened, unused), name="loafer/shared")
            shared = self._shared[key] = _Shared(opened, unused, owner, set())
        shared.users.add(user)
        try:
            return cast(R, await asyncio.shield(shared.opened))
        except BaseException:
            await self._leave(user, key)
            raise

    async def release(self, user: str) -> None:
        """``user`` needs nothing any more. Raises what closing raises."""
        for key in [key for key, shared in self._shared.items() if user in shared.users]:
            await self._leave(user, key)

    async def _leave(self, user: str, key: Hashable) -> None:
        shared = self._shared.get(key)
        if shared is None:
            return
        shared.users.discard(user)
        if not shared.users:
            del self._shared[key]
            shared.unused.set()
            await shared.owner


async def _own(
    open: Callable[[], AbstractAsyncContextManager[R]], opened: asyncio.Future[R], unused: asyncio.Event
) -> None:
    try:
        async with open() as resource:
            opened.set_result(resource)
            await unused.wait()
    except Exception as error:
        if opened.done():
            raise
        opened.set_exception(error)
