"""Whole lives of a route, by chance: whatever goes wrong, nothing is lost and every promise is kept.

The seed is the test's number: a failure is repeated by running that test alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import defaultdict

import pytest

from loafer_core.account import WORDS
from loafer_core.context import current
from loafer_core.errors import CredentialError, Throttled, Unavailable
from loafer_core.memory import MemoryProvider
from loafer_core.memory_queue import MemoryQueue
from loafer_core.outcomes import Nack, Reject
from loafer_core.protocols import Settled, Traits
from loafer_core.route import Breaker, Retry

SEEDS = int(os.environ.get("LOAFER_SEEDS", "200"))


class Chaos:
    """A provider whose calls take time, fail before or after they did their work, hang, and lose their answers."""

    def __init__(self, provider, rng):
        self.provider, self.rng = provider, rng
        self.badness = rng.choice([0.0, 0.05, 0.3])
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
        self.messages = []

    def strikes(self):
        return self.rng.random() < self.badness

    async def _call(self, work, *args):
        rng = self.rng
        await asyncio.sleep(rng.choice([0, 0, rng.uniform(0, 0.5)]))
        strikes, late = self.strikes(), rng.random() < 0.5
        if strikes and not late:
            await self._strike()
        answer = await work(*args)
        if strikes and late:
            await self._strike()
        await asyncio.sleep(rng.choice([0, 0, rng.uniform(0, 0.5)]))
        return answer

    async def _strike(self):
        if self.rng.random() < 0.2:
            await asyncio.sleep(self.rng.uniform(1, 40))
        raise self.rng.choice(
            [
                Unavailable("down"),
                Throttled("slower"),
                CredentialError("expired"),
                KeyError("odd"),
                OSError("broken"),
                asyncio.CancelledError(),
            ]
        )

    async def _settle(self, work, messages, *args):
        answers = dict(await self._call(work, messages, *args))
        for message in messages:
            if self.strikes():
                answers[message] = self.rng.choice([Settled.RETRY, Settled.LOST])
            elif self.strikes():
                answers.pop(message, None)
        return answers

    async def open(self, context):
        await self.provider.open(context)

    async def receive(self, limit):
        messages = await self._call(self.provider.receive, limit)
        self.messages += messages
        return messages

    async def ack(self, messages):
        return await self._settle(self.provider.ack, messages)

    async def nack(self, delays):
        return await self._settle(self.provider.nack, delays)

    async def release(self, messages):
        return await self._settle(self.provider.release, messages)

    async def reject(self, messages, reason):
        return await self._settle(self.provider.reject, messages, reason)

    async def extend(self, messages):
        return await self._settle(self.provider.extend, messages)

    async def stop(self):
        await self.provider.stop()
        if self.strikes():
            await self._strike()

    async def close(self):
        await self.provider.close()
        if self.strikes():
            await self._strike()


class Life:
    """One route, from its start over everything that happens to it to an end in peace."""

    def __init__(self, rig, seed):
        self.rig, self.rng = rig, random.Random(seed)
        rng = self.rng
        self.ordered = rng.random() < 0.5
        self.lease = rng.choice([3.0, 10.0, 30.0])
        self.dead = MemoryQueue() if rng.random() < 0.5 else None
        limits = {"max_receives": rng.choice([3, 6]), "dead_letter": self.dead} if self.dead else {}
        self.queue = MemoryQueue(lease=self.lease, ordered=self.ordered, **limits)
        self.concurrency = rng.choice([1, 2, 3, 10, 30])
        self.options = {
            "concurrency": self.concurrency,
            "retry": rng.choice([Retry(base=1, cap=10), "leave"]),
            "handler_timeout": rng.choice([None, 5.0, 60.0]),
            "ledger": rng.random() < 0.8,
            "breaker": rng.choice([None, None, Breaker(failures=3, window=30)]),
            "max_wait": rng.choice([1.0, 20.0]),
        }
        self.sent = {}
        self.succeeded = defaultdict(list)
        """By group, in order: what was handled well for the first time."""
        self.rejected = set()
        self.running = defaultdict(int)
        self.peace = False

    def send(self, count):
        for _ in range(count):
            group = self.rng.choice("abc") if self.rng.random() < 0.9 else None
            body = len(self.sent)
            self.sent[self.queue.send(str(body), group=group, delay=self.rng.choice([0, 0, 3]))] = body

    async def handle(self, id):
        message, rng = current().message, self.rng
        group = message.group if self.ordered and message.group else id
        self.running[group] += 1
        assert self.running[group] == 1 or not self.ordered, f"two of group {group} at once"
        try:
            await asyncio.sleep(0 if self.peace else rng.choice([0, rng.random(), rng.uniform(0, self.lease * 1.5)]))
            outcome = True if self.peace else self.outcome(id)
        finally:
            self.running[group] -= 1
        if outcome is True and not any(id in ids for ids in self.succeeded.values()):
            self.succeeded[group].append(id)
        if isinstance(outcome, Reject):
            self.rejected.add(id)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def outcome(self, id):
        bad = [ValueError(id), ConnectionError(id), False, Nack(self.rng.uniform(0, 20))]
        bad += [Reject("bad")] if self.dead else []
        return True if self.rng.random() < 0.6 else self.rng.choice(bad)

    async def trouble(self, lane, chaos):
        """What may happen to a route at any time."""
        rng = self.rng
        while True:
            await asyncio.sleep(rng.uniform(1, 15))
            event = rng.choice(["send", "send", "lost", "revoke", "cancel", "expire", "heal", "sicken"])
            outstanding = list(lane.context.outstanding())
            some = rng.sample(outstanding, rng.randint(0, len(outstanding)))
            if event == "send":
                self.send(rng.randint(1, 20))
            elif event == "lost":
                lane.context.lost(some, "by chance")
            elif event == "revoke":
                await lane.context.revoke(some, rng.uniform(0, 5))
            elif event == "expire" and not self.ordered:
                for message in some:  # delivered twice: the source lets go of it without a word
                    self.queue.extend(message.receipt, 0.001)
            elif event == "cancel":
                tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
                for task in tasks:
                    if task.get_name().startswith(("orders/", "loafer/")) and rng.random() < 0.3:
                        task.cancel()
            elif event == "heal":
                chaos.badness = 0.0
            elif event == "sicken":
                chaos.badness = rng.choice([0.05, 0.3])

    async def live(self):
        rng, rig = self.rng, self.rig
        chaos = Chaos(MemoryProvider(queue=self.queue), rng)
        lane = rig.lane(chaos, self.handle, **self.options)
        rig.audits[-1].prompt = False
        self.send(rng.randint(1, 40))
        dispatcher = rig.dispatcher(lane)
        await dispatcher.start()
        trouble = asyncio.ensure_future(self.trouble(lane, chaos))
        await asyncio.sleep(rng.uniform(0, 200))
        trouble.cancel()
        await asyncio.wait([trouble])
        hurry = asyncio.Event()
        if rng.random() < 0.3:
            asyncio.get_running_loop().call_later(rng.uniform(0, 10), hurry.set)
        timeout = rng.choice([1.0, 5.0, 25.0])
        assert await rig.drain(dispatcher, timeout, hurry) <= timeout + 1.5
        assert self.options["breaker"] or lane.room() == self.concurrency

    async def end_in_peace(self):
        self.peace = True
        await asyncio.sleep(1000)  # what the first life left to its leases is nobody's by now
        lane = self.rig.lane(MemoryProvider(queue=self.queue), self.handle, **{**self.options, "max_wait": 1.0})
        async with self.rig.running(lane) as dispatcher:
            await dispatcher.wait_until_empty()
        assert lane.unfinished == set()
        assert lane.room() == self.concurrency

    def check(self):
        assert self.queue.messages() == []
        gone = {message.id for message in self.dead.messages()} if self.dead else set()
        done = {id for ids in self.succeeded.values() for id in ids}
        assert done | gone == set(self.sent), f"lost: {set(self.sent) - done - gone}"
        if self.ordered:
            for group, ids in self.succeeded.items():
                numbers = [self.sent[id] for id in ids if id not in self.rejected]
                assert numbers == sorted(numbers), f"order of group {group}: {numbers}"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_goes_wrong_nothing_is_lost_and_every_promise_is_kept(rig, caplog, seed):
    caplog.set_level(logging.CRITICAL, "loafer")
    life = Life(rig, seed)
    rig.seed = seed

    async def story():
        await life.live()
        for lane in rig.lanes:
            assert lane.account.received == sum(getattr(lane.account, word) for word in WORDS), lane.account
        await life.end_in_peace()

    rig.run(story)
    life.check()
    assert not caplog.records, "a bug in Loafer was logged"
