"""One queue and the processes that live and die on it, all by chance: a seed makes one world, and always the same."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

from simulation.chaos import Chaos
from simulation.history import Delivery, History, Life, Sent, Trouble
from simulation.order import Queue, Task

from loafer_core import (
    Ack,
    Breaker,
    DeleteMessage,
    MemoryProvider,
    MemoryQueue,
    Message,
    Nack,
    Reject,
    Retry,
    Settle,
    current,
)

EVENTS = [
    "send",
    "send",
    "send",
    "heal",
    "sicken",
    "lost",
    "revoke",
    "cancel",
    "expire",
    "stop",
    "stop",
    "kill",
    "kill",
]
RECOVERY = 65.0
"""Seconds after which every process must be at work again once nothing fails any more: the longest step and more."""
OVER = 1000.0
"""Seconds after which no lease and no delay is left."""


class World:
    """``rig`` puts the routes together, as in the other stories; the Audit of that rig is not used."""

    def __init__(self, rig: Any, seed: int) -> None:
        self.rig, self.rng = rig, random.Random(seed)
        rng = self.rng
        rig.seed = seed
        self.ordered = rng.random() < 0.5
        self.lease = rng.choice([3.0, 10.0, 30.0])
        self.dead = MemoryQueue() if rng.random() < 0.5 else None
        limits: Any = {"max_receives": rng.choice([3, 6]), "dead_letter": self.dead} if self.dead else {}
        self.queue = Queue(lease=self.lease, ordered=self.ordered, **limits)
        self.options = {
            "concurrency": rng.choice([1, 2, 3, 10, 30]),
            "retry": rng.choice([Retry(base=1, cap=10), "leave"]),
            "handler_timeout": rng.choice([None, 5.0, 60.0]),
            "ledger": rng.random() < 0.8,
            "breaker": rng.choice([None, None, Breaker(failures=3, window=30)]),
            "max_wait": rng.choice([1.0, 20.0]),
        }
        breaks, leaves = self.options["breaker"] is not None, self.options["retry"] == "leave"
        self.history = History(ordered=self.ordered, leaves=leaves, breaks=breaks)
        self.processes: list[Process] = []
        self.endings: set[asyncio.Task[None]] = set()
        self.peace = False

    async def live(self) -> None:
        """From the first message to the last, and to the end of everything."""
        rng = self.rng
        await self.begin()
        until = self.now + rng.uniform(0, 30)
        while (gap := rng.uniform(0.2, 8)) and self.now + gap < until:
            await asyncio.sleep(gap)
            await self.befall(rng.choice(EVENTS))
        if rng.random() < 0.15:
            await self.recover()
        await self.finish()

    async def begin(self) -> None:
        numbers = itertools.count()
        asyncio.get_running_loop().set_task_factory(lambda loop, work, **more: Task(next(numbers), work, loop, **more))
        self.send(self.rng.randint(1, 20))
        for _ in range(self.rng.choice([1, 1, 2])):
            await self.start()

    async def finish(self) -> None:
        """Stop everybody; when no lease is left, a last process empties the queue in peace."""
        for process in list(self.processes):
            self.end(process, kill=False)
        await asyncio.wait(self.endings)
        self.history.note("world", "peace")
        self.peace = True
        await asyncio.sleep(OVER)
        last = await self.start(healthy=True)
        await last.dispatcher.wait_until_empty()
        self.end(last, kill=False)
        await asyncio.wait(self.endings)
        await self.look_back()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def look_back(self) -> None:
        await asyncio.sleep(0)
        for ending in self.endings:
            ending.result()
        tasks = asyncio.all_tasks() - {asyncio.current_task()} - self.endings
        self.history.leaks += [f"task {task.get_name()} was left behind" for task in tasks]
        self.history.left = [int(message.body) for message in self.queue.messages()]
        self.history.dead = [int(message.body) for message in self.dead.messages()] if self.dead else []

    def send(self, count: int) -> None:
        """Some sends are lost, and of some the sender does not hear."""
        rng = self.rng
        for _ in range(count):
            number, group = len(self.history.sent), rng.choice("abc") if rng.random() < 0.9 else None
            taken, heard = rng.random() < 0.98, rng.random() < 0.98
            self.history.sent[number] = Sent((group or "default") if self.ordered else group, taken and heard)
            if taken:
                self.queue.send(str(number), group=group, delay=rng.choice([0, 0, 3]))

    async def start(self, *, healthy: bool = False) -> Process:
        process = Process(self, f"p{len(self.history.lives) + 1}")
        if healthy:
            process.chaos.heal()
        self.processes.append(process)
        await process.dispatcher.start()
        return process

    async def recover(self) -> None:
        for process in self.processes:
            process.chaos.heal()
        self.peace = True
        self.history.healed = self.history.note("world", "healed")
        await asyncio.sleep(RECOVERY)
        self.peace = False

    # --- what may happen at any time

    async def befall(self, event: str) -> None:
        rng = self.rng
        if event == "send":
            self.send(rng.randint(1, 15))
            return
        process = rng.choice(self.processes)
        messages = list(process.consumer.context.outstanding())
        some = rng.sample(messages, rng.randint(0, len(messages)))
        if event in ("stop", "kill"):
            self.end(process, kill=event == "kill")
            if rng.random() < 0.3:
                await asyncio.sleep(rng.uniform(0, 5))
            await self.start()
        elif event == "heal":
            process.chaos.heal()
        elif event == "sicken":
            process.chaos.sicken()
        elif event == "lost":
            self.harm(some, "lost")
            process.consumer.context.lost(some, "by chance")
        elif event == "revoke":
            self.harm(some, "revoked")
            await process.consumer.context.revoke(some, rng.uniform(0, 5))
        elif event == "cancel":
            self.harm(messages, "cancelled")
            self.cancel_tasks(process)
        elif event == "expire" and not self.ordered:
            self.harm(some, "expired")
            for message in some:  # delivered twice: the source lets go of it without a word
                self.queue.extend(message.receipt, 0.001)

    def harm(self, messages: list[Message], how: str) -> None:
        deliveries = [self.history.deliveries[message] for message in messages]
        self.history.note("world", how, [delivery.number for delivery in deliveries])
        for delivery in deliveries:
            delivery.harm = how

    def cancel_tasks(self, process: Process) -> None:
        process.life.strayed_at = self.history.now
        mine = (f"{process.life.who}/", "loafer/watch")
        for task in sorted(asyncio.all_tasks() - {asyncio.current_task()}, key=hash):
            if task.get_name().startswith(mine) and self.rng.random() < 0.3:
                task.cancel()

    def end(self, process: Process, *, kill: bool) -> None:
        """Stop it in one way or the other, or kill it; the world goes on meanwhile."""
        self.processes.remove(process)
        ending = asyncio.ensure_future(process.die() if kill else process.stop())
        self.endings.add(ending)


class Process:
    """One life of the service: its own slots, leases and troubles, on the queue that it shares with the others."""

    def __init__(self, world: World, who: str) -> None:
        self.world, self.rng = world, world.rng
        self.life = Life(who, world.options["concurrency"])
        world.history.lives[who] = self.life
        self.chaos = Chaos(MemoryProvider(queue=world.queue), self.rng, world.history, self.life)
        world.rig.seen = self
        self.consumer = world.rig.consumer(self.chaos, self.handle, name=who, audited=False, **world.options)
        self.dispatcher = world.rig.dispatcher(self.consumer)

    # --- its handler

    async def handle(self, _: str) -> object:
        history, message, peace = self.world.history, current().message, self.world.peace
        delivery = history.deliveries[message]
        delivery.begin = history.note(self.life.who, "begins", delivery.number)
        delivery.lease_left = delivery.lease_until - delivery.begin.at
        outcome: object = asyncio.CancelledError()
        try:
            longest = self.world.lease * 1.5
            await asyncio.sleep(0 if peace else self.rng.choice([0, self.rng.random(), self.rng.uniform(0, longest)]))
            outcome = True if peace else self.outcome(delivery)
        finally:
            if delivery.end is None:
                delivery.outcome = _word(outcome)
                delivery.end = history.note(self.life.who, "ends", delivery.number, delivery.outcome)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def outcome(self, delivery: Delivery) -> object:
        if self.rng.random() < 0.6:
            return self.rng.choice([True, None, Ack(), DeleteMessage(), Settle(Ack())])
        bad = [ValueError(delivery.number), ConnectionError("gone"), False, Nack(self.rng.uniform(0, 20))]
        bad += [Reject("bad")] if self.world.dead else []
        return self.rng.choice(bad)

    # --- what it says of itself (an observer)

    def message_done(self, route: str, message: Message, word: str, seconds: float, error: object) -> None:
        delivery = self.world.history.deliveries[message]
        delivery.words.append(word)
        self.world.history.note(route, word, delivery.number)

    def provider_error(self, route: str, error: BaseException, retry_in: float) -> None:
        when = self.world.history.note(route, "trouble", type(error).__name__, f"{retry_in:.3f}")
        self.life.troubles.append(Trouble(when, type(error).__name__, retry_in))

    # --- its ends

    async def stop(self) -> None:
        rng, history, hurry = self.rng, self.world.history, asyncio.Event()
        timeout = 25.0 if self.world.peace else rng.choice([1.0, 5.0, 25.0, 25.0])
        hurried = not self.world.peace and rng.random() < 0.3
        if hurried:
            asyncio.get_running_loop().call_later(rng.uniform(0, 10), hurry.set)
        self.life.patient = timeout >= 25.0 and not hurried
        self.life.stopping = history.note(
            self.life.who, "stop", f"within {timeout:g} s", "in a hurry" if hurried else ""
        )
        took = await self.world.rig.drain(self.dispatcher, timeout, hurry)
        self.life.stopped = history.note(self.life.who, "stopped", f"after {took:.3f} s")
        self.life.account = self.consumer.account
        if took > timeout + 1.5:
            history.leaks.append(f"{self.life.who} took {took:.1f} s to stop within {timeout:g} s")
        if self.consumer.room() != self.life.concurrency and self.world.options["breaker"] is None:
            history.leaks.append(f"{self.life.who} has {self.consumer.room()} free slots after its stop")

    async def die(self) -> None:
        """From this moment on nothing comes from it; what it sent may still arrive. Then clear its remains away."""
        moment = self.life.killed = self.world.history.note(self.life.who, "killed")
        for delivery in self.world.history.of(self.life.who):
            if delivery.begin is not None and delivery.end is None:
                delivery.end, delivery.outcome = moment, "killed"
        hurry = asyncio.Event()
        hurry.set()
        await self.world.rig.drain(self.dispatcher, 5.0, hurry)


def _word(outcome: object) -> str:
    if isinstance(outcome, asyncio.CancelledError):
        return "cancelled"
    if isinstance(outcome, (Settle, Ack)) or outcome is True or outcome is None:
        return "ok"
    if isinstance(outcome, (Nack, Reject)):
        return type(outcome).__name__.lower()
    return "nack" if outcome is False else "failed"
