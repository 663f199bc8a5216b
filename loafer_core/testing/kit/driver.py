"""Drives one provider as the core does: gives it a context, receives from it and settles, and keeps every answer."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, TypeVar

from loafer_core.api.message import Message
from loafer_core.api.provider import Leases, Provider, Rejects, Settled
from loafer_core.engine.provider_context import Sharing
from loafer_core.testing.kit.verdict import Absent, expect

R = TypeVar("R")
Verb = Literal["ack", "nack", "release", "extend", "reject"]

REASON = "contract kit"
"""The reason of every reject."""


class KitContext:
    """The ``Context`` of a provider under test. It keeps what it is told, and nothing else."""

    payload_type: object = None

    def __init__(self, number: int, concurrency: int, max_wait: float) -> None:
        self.route = f"contract-{number}"
        self.client_id = f"contract-kit-{number}-{secrets.token_hex(4)}"
        self.concurrency = concurrency
        self.max_wait = max_wait
        self.in_hands: dict[Message, None] = {}
        """Received and not settled; in order."""
        self.gone: list[Message] = []
        """What the provider said that it lost."""
        self._sharing = Sharing()

    def outstanding(self) -> Collection[Message]:
        return list(self.in_hands)

    def lost(self, messages: Collection[Message], reason: str) -> None:
        self.gone += messages
        for message in messages:
            self.in_hands.pop(message, None)

    async def revoke(self, messages: Collection[Message], within: float) -> None:
        self.lost(messages, "revoked")

    async def shared(self, key: Hashable, open: Callable[[], AbstractAsyncContextManager[R]]) -> R:
        return await self._sharing.acquire(self.route, key, open)

    async def close(self) -> None:
        await self._sharing.release(self.route)


class Driver:
    """Drives one provider under test, in the context that it was opened with."""

    def __init__(self, provider: Any, context: KitContext, patience: float) -> None:
        """Take a provider; ``patience`` is the seconds to wait for what has to happen."""
        self.provider: Provider = provider
        self.context = context
        self._patience = patience
        self._closed = False

    async def receive(self, limit: int = 10) -> list[Message]:
        """Receive once."""
        messages = list(await self.provider.receive(limit))
        self.context.in_hands.update(dict.fromkeys(messages))
        return messages

    async def take(self, count: int = 1, *, limit: int | None = None) -> list[Message]:
        """Receive until ``count`` messages have come, in answers of at most ``limit``; no fewer will do."""
        found = await self.gather(count, limit=limit)
        expect(len(found) >= count, f"of {count} messages that had to come, {len(found)} came in {self._patience:g} s")
        return found

    async def one(self) -> Message:
        """Receive until a message has come."""
        [message] = await self.take(1, limit=1)
        return message

    async def gather(self, count: int, *, limit: int | None = None, within: float | None = None) -> list[Message]:
        """Receive until ``count`` messages have come, or ``within`` seconds (default: the patience) are over."""
        loop = asyncio.get_running_loop()
        found: list[Message] = []
        until = loop.time() + (self._patience if within is None else within)
        while len(found) < count and loop.time() < until:
            came = await self.receive(limit or count - len(found))
            found += came
            if not came:
                # In virtual time, a provider that answers at once would spin here for ever.
                await asyncio.sleep(0.02)
        return found

    async def settle(self, verb: Verb, *messages: Message, delay: float = 0.0) -> list[Settled]:
        """Settle, and give the answer for each message; RETRY where there is none."""
        answers = await self.answers(verb, *messages, delay=delay)
        given = [answers.get(message, Settled.RETRY) for message in messages]
        for message, answer in zip(messages, given, strict=True):
            if verb != "extend" and answer is not Settled.RETRY:
                self.context.in_hands.pop(message, None)
        return given

    async def done(self, verb: Verb, *messages: Message, delay: float = 0.0) -> None:
        """Settle messages that are ours, until all are DONE; like the core, ask again where the answer is RETRY."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        left = list(messages)
        while left:
            answers = await self.settle(verb, *left, delay=delay)
            for message, answer in zip(left, answers, strict=True):
                expect(answer is not Settled.LOST, f"{verb} of {message}, which was ours, answered LOST")
            left = [message for message, answer in zip(left, answers, strict=True) if answer is not Settled.DONE]
            expect(loop.time() < until, f"{verb} of {left} was never DONE")
            if left:
                await asyncio.sleep(0.1)

    async def answers(self, verb: Verb, *messages: Message, delay: float = 0.0) -> Mapping[Message, Settled]:
        """Settle, and give what the provider answered.

        Raises:
            Absent: the provider has no such method. Whether it has to have one is another check.
        """
        provider: object = self.provider
        match verb:
            case "ack":
                return await self.provider.ack(messages)
            case "nack":
                return await self.provider.nack(dict.fromkeys(messages, delay))
            case "release":
                return await self.provider.release(messages)
            case "extend":
                if not isinstance(provider, Leases):
                    raise Absent(verb)
                return await provider.extend(messages)
            case "reject":
                if not isinstance(provider, Rejects):
                    raise Absent(verb)
                return await provider.reject(messages, REASON)

    async def close(self) -> None:
        """Close the provider, and what it shared. Only the first call does anything."""
        if self._closed:
            return
        self._closed = True
        await self.provider.close()
        await self.context.close()
