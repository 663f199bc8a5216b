"""The core's part towards one provider: a context, and receiving and settling with every answer kept."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, TypeVar, cast

from loafer_core.api.message import Message
from loafer_core.api.provider import Leases, Provider, Rejects, Settled
from loafer_core.engine.provider_context import Sharing
from loafer_core.testing.kit.harness import Absent

R = TypeVar("R")
Verb = Literal["ack", "nack", "release", "extend", "reject"]

REASON = "contract kit"


class Broken(Exception):
    """A contract is not kept. The text says what was seen."""


def expect(kept: object, seen: str) -> None:
    """Raise Broken where the contract is not kept."""
    if not kept:
        raise Broken(seen)


class KitContext:
    """The core's side of a provider, as small as it gets (``Context``)."""

    payload_type: object = None

    def __init__(self, number: int, concurrency: int, max_wait: float) -> None:
        self.route, self.client_id = f"contract-{number}", f"contract-kit-{number}-{secrets.token_hex(4)}"
        self.concurrency, self.max_wait = concurrency, max_wait
        self.in_hands: dict[Message, None] = {}
        self.gone: list[Message] = []
        """What the provider told that it lost."""
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


class Consumer:
    """One provider under test and the context that it was opened with."""

    def __init__(self, provider: Any, context: KitContext, patience: float) -> None:
        self.provider: Provider = provider
        self.context, self._patience = context, patience
        self._closed = False

    async def receive(self, limit: int = 10) -> list[Message]:
        """Ask once."""
        messages = list(await self.provider.receive(limit))
        self.context.in_hands.update(dict.fromkeys(messages))
        return messages

    async def take(self, count: int = 1, *, limit: int | None = None) -> list[Message]:
        """Ask until ``count`` messages have come."""
        found = await self.gather(count, limit=limit)
        expect(len(found) >= count, f"of {count} messages that had to come, {len(found)} came in {self._patience:g} s")
        return found

    async def one(self) -> Message:
        """Ask until a message has come."""
        [message] = await self.take(1, limit=1)
        return message

    async def gather(self, count: int, *, limit: int | None = None, within: float | None = None) -> list[Message]:
        """Ask until ``count`` messages have come or the time is over."""
        loop, found = asyncio.get_running_loop(), list[Message]()
        until = loop.time() + (self._patience if within is None else within)
        while len(found) < count and loop.time() < until:
            came = await self.receive(limit or count - len(found))
            found += came
            if not came:
                await asyncio.sleep(0.02)  # a provider that answers at once shall not spin in virtual time either
        return found

    async def settle(self, verb: Verb, *messages: Message, delay: float = 0.0) -> list[Settled]:
        """Settle, and give the answer for each; RETRY where there is none."""
        answers = await self.answers(verb, *messages, delay=delay)
        given = [answers.get(message, Settled.RETRY) for message in messages]
        for message, answer in zip(messages, given, strict=True):
            if verb != "extend" and answer is not Settled.RETRY:
                self.context.in_hands.pop(message, None)
        return given

    async def done(self, verb: Verb, *messages: Message, delay: float = 0.0) -> None:
        """Settle what has to be DONE; RETRY is asked again, as the core does."""
        loop = asyncio.get_running_loop()
        until, left = loop.time() + self._patience, list(messages)
        while left:
            answers = await self.settle(verb, *left, delay=delay)
            for message, answer in zip(left, answers, strict=True):
                expect(answer is not Settled.LOST, f"{verb} of {message}, which was ours, answered LOST")
            left = [message for message, answer in zip(left, answers, strict=True) if answer is not Settled.DONE]
            expect(loop.time() < until, f"{verb} of {left} was never DONE")
            if left:
                await asyncio.sleep(0.1)

    async def answers(self, verb: Verb, *messages: Message, delay: float = 0.0) -> Mapping[Message, Settled]:
        """Settle, and give what the provider answered."""
        provider = self.provider
        if (verb == "extend" and not isinstance(provider, Leases)) or (
            verb == "reject" and not isinstance(provider, Rejects)
        ):
            raise Absent(verb)  # said by the check that asks for the method
        match verb:
            case "ack":
                return await provider.ack(messages)
            case "nack":
                return await provider.nack(dict.fromkeys(messages, delay))
            case "release":
                return await provider.release(messages)
            case "extend":
                return await cast(Leases, provider).extend(messages)
            case "reject":
                return await cast(Rejects, provider).reject(messages, REASON)

    async def close(self) -> None:
        """Close the provider, once, and what it shared."""
        if self._closed:
            return
        self._closed = True
        await self.provider.close()
        await self.context.close()
