"""Numbers from Loafer's core on a queue in memory, in virtual time: the same code, thousands of times, no machine to
blame. Nothing that depends on how fast anything runs is measured here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from loafer_core import Breaker, Manager, MemoryProvider, MemoryQueue, Message, Route, Unavailable
from loafer_core.testing import run_virtual

LEASE = 30.0


class Down:
    """A handler whose dependency is away for a while."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.handled_at: list[float] = []

    async def __call__(self, payload: str) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.05)
        if loop.time() < self.until:
            raise ConnectionError("the dependency is away")
        self.handled_at.append(loop.time())


def dead_lettered(how: str, outage: float, receives: int, messages: int, seed: int) -> int:
    """How many of the messages that come during an outage of a handler's dependency are dead-lettered."""

    async def story() -> int:
        rng, loop = random.Random(seed), asyncio.get_running_loop()
        queue = MemoryQueue("orders", lease=LEASE, max_receives=receives, dead_letter=MemoryQueue("dead"))
        handler = Down(loop.time() + outage)
        for at in sorted(rng.uniform(0, outage) for _ in range(messages)):
            loop.call_later(at, queue.send, "order")
        task = asyncio.ensure_future((_raw if how.startswith("raw") else _loafer)(queue, handler, how))
        await asyncio.sleep(outage)
        while queue.messages() and not task.done():
            await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert len(handler.handled_at) + len(queue.dead) == messages, "lost"
        return len(queue.dead)

    return run_virtual(story())


async def _loafer(queue: MemoryQueue, handler: Down, how: str) -> None:
    breaker = Breaker(failures=20, window=60) if "breaker" in how else None
    route = Route("orders", provider=MemoryProvider(queue=queue), handler=handler.__call__, breaker=breaker)
    async with Manager([route]) as manager:
        await manager.wait()


async def _raw(queue: MemoryQueue, handler: Down, how: str) -> None:
    async def one(message: Message) -> None:
        try:
            await handler(str(message.body))
        except ConnectionError:
            if "visibility 0" in how:
                queue.nack(message.receipt)
            return
        queue.delete(message.receipt)

    while True:
        messages = queue.receive(10)
        await asyncio.gather(*map(one, messages))
        if not messages:
            await asyncio.sleep(0.2)


class _Flaky(MemoryProvider):
    """Its source is away until then."""

    until = 0.0

    async def receive(self, limit: int) -> Sequence[Message]:
        if asyncio.get_running_loop().time() < self.until:
            raise Unavailable("the source is away")
        return await super().receive(limit)


def recovery(outage: float, seed: int) -> float:
    """Seconds from when a source is back to the first message that is handled."""

    async def story() -> float:
        random.seed(seed)
        queue, handler = MemoryQueue("orders", lease=LEASE), Down(0.0)
        provider = _Flaky(queue=queue)
        async with Manager([Route("orders", provider=provider, handler=handler.__call__)]):
            await asyncio.sleep(random.uniform(0, 20))
            provider.until = asyncio.get_running_loop().time() + outage
            queue.send("order")
            while not handler.handled_at or handler.handled_at[-1] < provider.until:
                queue.send("order")
                await asyncio.sleep(max(0.1, provider.until - asyncio.get_running_loop().time()))
            return handler.handled_at[-1] - provider.until - 0.05

    return run_virtual(story())


class _LongPoll(MemoryProvider):
    """A receive that is open when a stop comes ends by itself, as SQS's does: with a message or after its wait."""

    async def stop(self) -> None:
        """It cannot be told."""


def drain(longest: float, gap: float, seed: int) -> float:
    """Seconds that a stop takes at a random moment; a message every ``gap`` seconds or so, a long poll of 20."""

    async def story() -> float:
        rng, loop = random.Random(seed), asyncio.get_running_loop()
        queue = MemoryQueue("orders", lease=LEASE)

        async def handler(payload: str) -> None:
            await asyncio.sleep(rng.uniform(0, longest))

        at = 0.0
        while (at := at + rng.expovariate(1 / gap)) < 80:
            loop.call_later(at, queue.send, "order")
        async with Manager([Route("orders", provider=_LongPoll(queue=queue), handler=handler)]):
            await asyncio.sleep(rng.uniform(20, 50))
            begin = loop.time()
        return loop.time() - begin

    return run_virtual(story())
