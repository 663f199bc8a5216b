"""The core's side of a provider: what ``open(context)`` gets (``api.provider.Context``), and what contexts share."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Collection, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from loafer_core.api.message import Message
from loafer_core.delivery.deliveries import Deliveries
from loafer_core.delivery.pipeline import Pipeline

R = TypeVar("R")


class ProviderContext:
    """One for each user of a route, its provider or its other components: ``user`` says which."""

    def __init__(self, pipeline: Pipeline, max_wait: float, sharing: Sharing, user: str) -> None:
        self.route = pipeline.route.name
        self.concurrency = pipeline.route.concurrency
        # Host, process and route are for people who look at a broker; containers on one host may share all three. The
        # operating system's randomness makes the id unique: that of `random` would be the same in forked processes.
        self.client_id = f"{socket.gethostname()}-{os.getpid()}-{self.route}-{secrets.token_hex(4)}"
        self.payload_type = pipeline.handler.payload_type
        self.max_wait = max_wait
        self._sharing = sharing
        self._user = f"{self.route}/{user}"
        self.deliveries: Deliveries | None = None
        """Set once the provider is open and its traits are known; before that it has handed out nothing."""

    def outstanding(self) -> Collection[Message]:
        return [] if self.deliveries is None else self.deliveries.outstanding()

    def lost(self, messages: Collection[Message], reason: str) -> None:
        if self.deliveries is not None:
            self.deliveries.lost(messages, reason)

    async def revoke(self, messages: Collection[Message], within: float) -> None:
        if self.deliveries is not None:
            await self.deliveries.revoke(messages, within)

    async def shared(self, key: Hashable, open: Callable[[], AbstractAsyncContextManager[R]]) -> R:
        return await self._sharing.acquire(self._user, key, open)

    async def release_shared(self) -> None:
        """Give back what this context got from ``shared``."""
        await self._sharing.release(self._user)


@dataclass(slots=True, eq=False)
class _Shared:
    opened: asyncio.Future[Any]
    owner: asyncio.Task[None]
    unused: asyncio.Event
    users: set[str] = field(default_factory=set)


class Sharing:
    """One per manager. Each resource is entered and left in a task of its own, as some context managers demand."""

    def __init__(self) -> None:
        self._shared: dict[Hashable, _Shared] = {}

    async def acquire(self, user: str, key: Hashable, open: Callable[[], AbstractAsyncContextManager[R]]) -> R:
        """Give what ``open`` yields, opening it for the first user. Raises what opening raises, to each who waits."""
        shared = self._shared.get(key)
        if shared is None or shared.owner.done():
            shared = self._shared[key] = _start(open)
        shared.users.add(user)
        try:
            await asyncio.wait([shared.opened, shared.owner], return_when=asyncio.FIRST_COMPLETED)
            if not shared.opened.done():
                await shared.owner  # it failed, and says how
            resource: R = shared.opened.result()
            return resource
        except BaseException:
            await self._leave(user, key, shared)
            raise

    async def release(self, user: str) -> None:
        """``user`` needs nothing any more. Raises what closing raises, once all is closed."""
        used = [(key, shared) for key, shared in self._shared.items() if user in shared.users]
        for left in await asyncio.gather(*(self._leave(user, *one) for one in used), return_exceptions=True):
            if left is not None:
                raise left

    async def _leave(self, user: str, key: Hashable, shared: _Shared) -> None:
        shared.users.discard(user)
        if shared.users:
            return
        if self._shared.get(key) is shared:
            del self._shared[key]
        shared.unused.set()
        if not shared.opened.done():
            shared.owner.cancel()
        await asyncio.wait([shared.owner])
        error = None if shared.owner.cancelled() else shared.owner.exception()
        if error is not None and shared.opened.done():
            raise error


def _start(open: Callable[[], AbstractAsyncContextManager[R]]) -> _Shared:
    opened: asyncio.Future[R] = asyncio.get_running_loop().create_future()
    unused = asyncio.Event()

    async def own() -> None:
        async with open() as resource:
            opened.set_result(resource)
            await unused.wait()

    return _Shared(opened, asyncio.create_task(own(), name="loafer/shared"), unused)
