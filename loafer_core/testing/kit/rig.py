"""Puts a provider under test to its source: opens it, sends to the source, looks into it."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from loafer_core.api.message import Message
from loafer_core.api.provider import Traits
from loafer_core.testing.kit.consumer import Broken, Consumer, KitContext
from loafer_core.testing.kit.harness import Absent, Body, ask
from loafer_core.testing.virtual import VirtualLoop

GLANCE = 0.1
"""Seconds that a receive waits where nothing is expected to come."""
MOST_REAL_LEASE = 3.0
"""Seconds of a declared lease up to which the kit waits for its end itself, where time is real."""


class Subject(Protocol):
    """What the rig needs to know of the contract."""

    @property
    def traits(self) -> Traits: ...
    @property
    def patience(self) -> float: ...
    @property
    def max_wait(self) -> float: ...
    def make(self, options: Mapping[str, object]) -> Any: ...


class Rig:
    """One fresh source, and the providers that a check opens on it."""

    def __init__(self, subject: Subject, harness: object) -> None:
        self.subject, self.harness, self.traits = subject, harness, subject.traits
        self._options: Mapping[str, object] | None = None
        self._consumers: list[Consumer] = []
        self._numbers = itertools.count(1)

    # --- providers

    async def options(self) -> Mapping[str, object]:
        """The component's options for the source."""
        if self._options is None:
            self._options = dict(await ask(self.harness, "options"))
        return self._options

    async def build(self, options: Mapping[str, object] | None = None) -> Any:
        """A provider that is not open yet."""
        provider = self.subject.make(await self.options() if options is None else options)
        try:
            await ask(self.harness, "built", provider)
        except Absent:
            pass
        return provider

    def context(self, concurrency: int = 10, max_wait: float = math.inf) -> KitContext:
        """A context of its own for one more provider."""
        return KitContext(next(self._numbers), concurrency, min(max_wait, self.subject.max_wait))

    async def open(self, provider: Any = None, *, concurrency: int = 10, max_wait: float = math.inf) -> Consumer:
        """Open a provider: a new one, or the one that is given. It is closed when the check is over."""
        provider = provider or await self.build()
        consumer = Consumer(provider, self.context(concurrency, max_wait), self.subject.patience)
        try:
            await provider.open(consumer.context)
        except BaseException:
            await consumer.context.close()
            raise
        self._consumers.append(consumer)
        return consumer

    async def one_of(self, *consumers: Consumer) -> tuple[Consumer, Message]:
        """Ask them in turn until one has a message: where messages are pushed, it may be any of them."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.subject.patience
        while loop.time() < until:
            for consumer in consumers:
                for message in await consumer.receive(1):
                    return consumer, message
            await asyncio.sleep(0.02)
        raise Broken(f"a message that had to come did not come to anybody in {self.subject.patience:g} s")

    async def close(self) -> None:
        """Close all that was opened, and the harness."""
        try:
            for consumer in self._consumers:
                await consumer.close()
        finally:
            await ask(self.harness, "close")

    # --- the far side

    async def publish(
        self, body: Body | None = None, attributes: Mapping[str, Body] | None = None, group: str | None = None
    ) -> str:
        """Send one message; on an ordered source in a group of its own, unless told otherwise."""
        number = next(self._numbers)
        if group is None and self.traits.ordered:
            group = f"group-{number}"
        return str(await ask(self.harness, "publish", f"body {number}" if body is None else body, attributes, group))

    async def publish_many(self, count: int) -> list[str]:
        """Send several that have nothing to do with each other."""
        return [await self.publish() for _ in range(count)]

    async def is_settled(self, id: str) -> bool:
        """Tell whether it is gone from the source, as of now."""
        return bool(await ask(self.harness, "settled", id))

    async def settled(self, *ids: str) -> bool:
        """Wait until all are gone from the source; False = they are still there when the patience is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.subject.patience
        while not all([await self.is_settled(id) for id in ids]):
            if loop.time() > until:
                return False
            await asyncio.sleep(0.02)
        return True

    async def fail_next(self, operation: str, error: Exception) -> None:
        """Let the source fail once."""
        await ask(self.harness, "fail_next", operation, error)

    async def rejected(self) -> Sequence[Body | Message]:
        """What lies in the dead-letter target."""
        return list(await ask(self.harness, "rejected"))

    async def expire(self, message: Message) -> None:
        """Let the message not be ours any more."""
        try:
            await ask(self.harness, "expire", message.id)
        except Absent:
            lease = self.short_lease()
            if lease is None:
                raise
            await asyncio.sleep(lease * 1.05)

    def short_lease(self) -> float | None:
        """The lease, if it is one that can be waited for."""
        lease = self.traits.lease
        return lease if lease is not None and (self.is_virtual or lease <= MOST_REAL_LEASE) else None

    @property
    def is_virtual(self) -> bool:
        """Time is virtual: to wait costs nothing, and lasts exactly as long as it should."""
        return isinstance(asyncio.get_running_loop(), VirtualLoop)

    def need(self, ability: object, name: str) -> None:
        """Skip the check where there is no such ability."""
        if not ability:
            raise Absent(name)


@asynccontextmanager
async def rigged(subject: Subject, harness: object) -> AsyncIterator[Rig]:
    """Give a rig, and close it; what closing raises does not hide what the check found."""
    rig = Rig(subject, harness)
    try:
        yield rig
    except BaseException:
        try:
            await rig.close()
        except Exception:  # noqa: S110 - the first thing that went wrong says more
            pass
        raise
    await rig.close()
