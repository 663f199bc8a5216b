"""The core's side of a provider: what ``open(context)`` gets (``api.provider.Context``)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Hashable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from loafer_core.api.message import Message
from loafer_core.delivery.deliveries import Deliveries
from loafer_core.delivery.pipeline import Pipeline
from loafer_core.engine.sharing import Sharing

R = TypeVar("R")


class ProviderContext:
    """One for a route's provider, and one for its other components: ``user`` tells them apart."""

    def __init__(self, delivery: Pipeline, max_wait: float, sharing: Sharing, user: str) -> None:
        self.route = delivery.route.name
        self.concurrency = delivery.route.concurrency
        self.client_id = f"{socket.gethostname()}-{os.getpid()}-{self.route}"
        self.payload_type = delivery.handler.payload_type
        self.max_wait = max_wait
        self._sharing, self._user = sharing, f"{self.route}/{user}"
        self.deliveries: Deliveries | None = None
        """Set once the provider is open and its traits are known."""

    def outstanding(self) -> Collection[Message]:
        return [] if self.deliveries is None else list(self.deliveries.settling.open)

    def lost(self, messages: Collection[Message], reason: str) -> None:
        if self.deliveries is not None:
            self.deliveries.lost(messages, reason)

    async def revoke(self, messages: Collection[Message], within: float) -> None:
        if self.deliveries is not None:
            await self.deliveries.revoke(messages, within)

    async def shared(self, key: Hashable, open: Callable[[], AbstractAsyncContextManager[R]]) -> R:
        return await self._sharing.acquire(self._user, key, open)

    async def release_shared(self) -> None:
        """Its user needs nothing of what it shared any more."""
        await self._sharing.release(self._user)
