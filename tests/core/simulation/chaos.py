"""A provider whose calls take time, fail before or after they did their work, hang, and lose their answers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from simulation.history import Delivery, History, Life, Receive, Request

from loafer_core import CredentialError, MemoryProvider, Message, Settled, Throttled, Traits, Unavailable

ERRORS = (
    Unavailable("down"),
    Throttled("slower"),
    CredentialError("expired"),
    KeyError("odd"),
    OSError("broken"),
    asyncio.CancelledError(),
)


class Chaos:
    """Around one MemoryProvider, for one process; writes down what is asked and what is done."""

    def __init__(self, provider: MemoryProvider, rng: random.Random, history: History, life: Life) -> None:
        self.provider, self.rng, self.history, self.life = provider, rng, history, life
        self.badness = rng.choice([0.0, 0.05, 0.3])
        self.healed = asyncio.Event()
        self.impatient = rng.random() < 0.1
        """An empty receive returns at once."""
        traits = provider.traits
        self.traits = Traits(
            lease=traits.lease,
            ordered=traits.ordered,
            stable_ids=True,
            max_delay=rng.choice([0.0, 5.0, 43_200.0]),
            batch=rng.choice([1, 3, 10]),
            linger=rng.choice([0.0, 0.1, 1.0]),
            receives=rng.choice([1, 2, 4]),
            rejects=traits.rejects,
        )

    def heal(self) -> None:
        self.badness, self.impatient = 0.0, False
        self.healed.set()

    def sicken(self) -> None:
        self.badness = self.rng.choice([0.05, 0.3])
        self.healed.clear()

    # --- what goes wrong

    def _strikes(self) -> bool:
        return self.rng.random() < self.badness

    async def _pass(self) -> None:
        await asyncio.sleep(self.rng.choice([0, 0, self.rng.uniform(0, 0.5)]))

    async def _strike(self) -> None:
        if self.rng.random() < 0.2:
            try:
                async with asyncio.timeout(self.rng.uniform(1, 40)):
                    await self.healed.wait()
            except TimeoutError:
                pass
        error = self.rng.choice(ERRORS)
        raise type(error)(*error.args)  # one that is raised again keeps every world that it was raised in

    async def _call(self, work: Callable[[], Awaitable[Any]], harm: Callable[[], None]) -> Any:
        """``harm`` is called as soon as it is certain that the answer will not come."""
        await self._pass()
        strikes, late = self._strikes(), self.rng.random() < 0.5
        if strikes and not late:
            harm()
            await self._strike()
        answer = await work()
        if strikes and late:
            harm()
            await self._strike()
        await self._pass()
        return answer

    def _must_live(self) -> None:
        if self.life.killed:
            raise Unavailable("from a dead process nothing comes")

    # --- receiving

    async def receive(self, limit: int) -> Sequence[Message]:
        self._must_live()
        receive = Receive(self.history.note(self.life.who, "receive", limit), limit)
        self.life.receives.append(receive)
        taken: list[Delivery] = []
        how = "aborted"

        def harm() -> None:
            nonlocal how
            how = "answer lost"

        receive.failed = True
        try:
            messages: Sequence[Message] = await self._call(lambda: self._take(limit, taken), harm)
            if self._strikes():  # an answer that comes late, perhaps later than its leases end
                how = "answer late"
                for delivery in taken:
                    delivery.harm = how
                await asyncio.sleep(self.rng.uniform(0, 1.5 * (self.traits.lease or 0.0)))
            receive.failed = False
        finally:
            for delivery in taken if receive.failed else ():
                delivery.harm = "cancelled" if self.life.strayed_at == self.history.now else how
            receive.count = 0 if receive.failed else len(taken)
            receive.ended = self.history.note(self.life.who, "failed" if receive.failed else "received", taken)
        for delivery in taken:
            delivery.arrived = receive.ended
        return messages

    async def _take(self, limit: int, taken: list[Delivery]) -> Sequence[Message]:
        messages: Sequence[Message] = []
        try:
            async with asyncio.timeout(0.001 if self.impatient else None):
                messages = await self.provider.receive(limit)
        except TimeoutError:
            pass
        for message in messages:
            number = int(message.body)
            when = self.history.note(self.life.who, "taken", number)
            assert message.lease_until is not None
            delivery = Delivery(number, message.group, self.life.who, when, message.lease_until - 1000)
            self.history.deliveries[message] = delivery
            taken.append(delivery)
        return messages

    # --- settling

    async def _settle(
        self, verb: str, messages: Sequence[Message], work: Callable[[], Awaitable[Mapping[Message, Settled]]]
    ) -> Mapping[Message, Settled]:
        self._must_live()
        asked = self.history.note(self.life.who, verb, [int(message.body) for message in messages])
        deliveries = self.history.deliveries
        requests = {message: Request(verb, asked) for message in messages}
        for message, request in requests.items():
            deliveries[message].requests.append(request)

        def harm() -> None:
            for request in requests.values():
                request.faulty = True

        async def apply() -> Mapping[Message, Settled]:
            answers = await work()
            applied = self.history.note(self.life.who, f"({verb})", list(answers.values()))
            for message, answer in answers.items():
                if answer is Settled.DONE:
                    requests[message].applied = applied
                    if verb == "extend":
                        deliveries[message].lease_until = applied.at + (self.traits.lease or 0.0)
            return answers

        finished = False
        try:
            answers = self._bend(dict(await self._call(apply, harm)), requests)
            finished = True
        finally:
            answered = self.history.note(self.life.who, f"{verb} ends", finished)
            for request in requests.values():
                request.answered, request.cut = answered, not finished and not request.faulty
        for message, answer in answers.items():
            requests[message].answer = answer
        return answers

    def _bend(self, answers: dict[Message, Settled], requests: Mapping[Message, Request]) -> dict[Message, Settled]:
        for message, request in requests.items():
            if self._strikes():
                answers[message], request.faulty = self.rng.choice([Settled.RETRY, Settled.LOST]), True
            elif self._strikes():
                request.faulty = True
                del answers[message]
        return answers

    async def ack(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        return await self._settle("ack", messages, lambda: self.provider.ack(messages))

    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]:
        return await self._settle("nack", list(delays), lambda: self.provider.nack(delays))

    async def release(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        return await self._settle("release", messages, lambda: self.provider.release(messages))

    async def reject(self, messages: Sequence[Message], reason: str) -> Mapping[Message, Settled]:
        return await self._settle("reject", messages, lambda: self.provider.reject(messages, reason))

    async def extend(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        return await self._settle("extend", messages, lambda: self.provider.extend(messages))

    # --- the rest

    async def open(self, context: Any) -> None:
        await self.provider.open(context)

    async def stop(self) -> None:
        await self.provider.stop()
        if self._strikes():
            await self._strike()

    async def close(self) -> None:
        await self.provider.close()
        if self._strikes():
            await self._strike()
