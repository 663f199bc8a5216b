"""The test bench of one check of a provider: a fresh source on one side, providers on the other.

Electronics calls it a test rig: what is under test is mounted on it, fed, and measured.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from loafer_core.api.message import Message
from loafer_core.api.provider import Traits
from loafer_core.testing.kit.driver import Driver, KitContext
from loafer_core.testing.kit.harness import Body, ask
from loafer_core.testing.kit.verdict import Absent, Broken
from loafer_core.testing.virtual import VirtualLoop

GLANCE = 0.1
"""Seconds that a receive waits where nothing is expected to come."""
MOST_REAL_LEASE = 3.0
"""The longest lease, in seconds, for whose end the kit waits where time is real."""


class Subject(Protocol):
    """The contract, as far as the rig knows it."""

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
        self.subject = subject
        self.harness = harness
        self.traits = subject.traits
        self._options: Mapping[str, object] | None = None
        self._drivers: list[Driver] = []
        self._numbers = itertools.count(1)

    # --- providers

    async def options(self) -> Mapping[str, object]:
        """Give the component's options for the source."""
        if self._options is None:
            self._options = dict(await ask(self.harness, "options"))
        return self._options

    async def build(self, options: Mapping[str, object] | None = None) -> Any:
        """Build a provider, and do not open it."""
        provider = self.subject.make(await self.options() if options is None else options)
        try:
            await ask(self.harness, "built", provider)
        except Absent:
            pass
        return provider

    def context(self, concurrency: int = 10, max_wait: float = math.inf) -> KitContext:
        """Make a context for one more provider."""
        return KitContext(next(self._numbers), concurrency, min(max_wait, self.subject.max_wait))

    async def open(self, provider: Any = None, *, concurrency: int = 10, max_wait: float = math.inf) -> Driver:
        """Open a provider: a new one, or the one that is given. It is closed when the check is over."""
        provider = provider or await self.build()
        driver = Driver(provider, self.context(concurrency, max_wait), self.subject.patience)
        try:
            await provider.open(driver.context)
        except BaseException:
            await driver.context.close()
            raise
        self._drivers.append(driver)
        return driver

    async def one_of(self, *drivers: Driver) -> tuple[Driver, Message]:
        """Receive from each in turn until a message comes to one: where messages are pushed, it may be any of them."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.subject.patience
        while loop.time() < until:
            for driver in drivers:
                for message in await driver.receive(1):
                    return driver, message
            await asyncio.sleep(0.02)
        raise Broken(f"a message that had to come did not come to anybody in {self.subject.patience:g} s")

    async def close(self) -> None:
        """Close all that was opened, and the harness."""
        try:
            for driver in self._drivers:
                await driver.close()
        finally:
            await ask(self.harness, "close")

    # --- the source

    async def publish(
        self, body: Body | None = None, attributes: Mapping[str, Body] | None = None, group: str | None = None
    ) -> str:
        """Send one message and give its id; on an ordered source it is in a group of its own, unless told otherwise."""
        number = next(self._numbers)
        if group is None and self.traits.ordered:
            group = f"group-{number}"
        return str(await ask(self.harness, "publish", f"body {number}" if body is None else body, attributes, group))

    async def publish_many(self, count: int) -> list[str]:
        """Send several messages that do not wait for each other."""
        return [await self.publish() for _ in range(count)]

    async def is_settled(self, id: str) -> bool:
        """Tell whether the message is gone from the source now."""
        return bool(await ask(self.harness, "settled", id))

    async def settled(self, *ids: str) -> bool:
        """Wait until all of these are gone from the source. False: some are still there when the patience is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.subject.patience
        while not all([await self.is_settled(id) for id in ids]):
            if loop.time() > until:
                return False
            await asyncio.sleep(0.02)
        return True

    async def fail_next(self, operation: str, error: Exception) -> None:
        """Let the source fail once, so that the provider's next ``operation`` has to report ``error``."""
        await ask(self.harness, "fail_next", operation, error)

    async def rejected(self) -> Sequence[Body | Message]:
        """Give what lies in the dead-letter target."""
        return list(await ask(self.harness, "rejected"))

    async def expire(self, message: Message) -> None:
        """End our hold on the message: ask the harness to, or wait for the end of a short lease."""
        try:
            await ask(self.harness, "expire", message.id)
        except Absent:
            lease = self.short_lease()
            if lease is None:
                raise
            await asyncio.sleep(lease * 1.05)

    def short_lease(self) -> float | None:
        """Give the lease, in seconds, if its end can be waited for; else None."""
        lease = self.traits.lease
        if lease is None or self.is_virtual or lease <= MOST_REAL_LEASE:
            return lease
        return None

    @property
    def is_virtual(self) -> bool:
        """Time is virtual: waiting costs nothing, and lasts exactly as long as it should."""
        return isinstance(asyncio.get_running_loop(), VirtualLoop)

    def need(self, ability: object, name: str) -> None:
        """Skip the check where ``ability`` is false; ``name`` says what is missing."""
        if not ability:
            raise Absent(name)


@asynccontextmanager
async def rigged(subject: Subject, harness: object) -> AsyncIterator[Rig]:
    """Give a rig, and close it afterwards. What closing raises does not hide what the check found."""
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
