"""The deliveries of one route: each received message gets a slot and a task; a group goes one after the other."""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from loafer_core.acks import Acks
from loafer_core.breaker import CircuitBreaker
from loafer_core.context import Current, Flag, enter
from loafer_core.delivery import Decision, Delivery
from loafer_core.leases import Leases
from loafer_core.ledger import Ledger
from loafer_core.message import Message
from loafer_core.observers import Observers
from loafer_core.outcomes import Ack
from loafer_core.protocols import Provider, Traits
from loafer_core.settling import Settling, Work

logger = logging.getLogger("loafer.route")

ACK_BOUND = 100
"""Settlements that may be pending beside the slots, or as many as there are slots if that is more."""


class Deliveries:
    """A slot is held from receive until the outcome is known.

    Settlements that are pending hold none, up to a bound; beyond it each keeps a slot busy. Siblings of a group that
    wait behind one another hold slots too.
    """

    def __init__(
        self,
        delivery: Delivery,
        provider: Provider,
        traits: Traits,
        *,
        stopping: Flag,
        observers: Observers,
        rng: random.Random,
        on_change: Callable[[], None],
        on_bug: Callable[[BaseException], None],
    ) -> None:
        self._route, self._name, self._traits = delivery.route, delivery.route.name, traits
        self._delivery, self._stopping = delivery, stopping
        self._on_change, self._on_bug = on_change, on_bug
        self.leases = Leases(self._name, provider, traits, rng, self._lease_ended)
        self.acks = Acks(self._name, provider, traits, self.leases, rng)
        self.settling = Settling(
            self._route, traits, self.acks, self.leases, delivery.account, observers, rng, on_change
        )
        self._ledger = Ledger() if self._route.ledger and traits.stable_ids else None
        breaker = self._route.breaker
        self.breaker = None if breaker is None else CircuitBreaker(breaker.failures, breaker.window)
        self._busy = 0
        self._groups: dict[str, deque[Work]] = {}
        self._durations: deque[float] = deque(maxlen=200)
        self.tasks: set[asyncio.Task[None]] = set()
        self.takes_until: float | None = None
        """While stopping: what does not end before then is given back instead of started. The loop's time."""
        self.last_progress: float | None = None

    def room(self) -> int:
        """Free slots; with an open breaker none, or one for a probe."""
        overdue = max(0, self.acks.pending - max(ACK_BOUND, self._route.concurrency))
        free = self._route.concurrency - self._busy - overdue
        if self.breaker is not None and self.breaker.is_open:
            probe = not self.settling.open and _now() >= self.breaker.retry_at
            return min(free, int(probe))
        return free

    # --- from receive to outcome

    def accept(self, messages: Sequence[Message]) -> None:
        """Start a delivery for each; what is known to be finished is acked again instead."""
        for message in messages:
            self._delivery.account.received += 1
            self.leases.hold(message)
            work = self.settling.open[message] = Work(message, Current(message, self._name, self._stopping))
            if self._ledger is not None and self._ledger.knows(message, _now()):
                self._delivery.account.known += 1
                self.settling.settle(work, "ack")
            elif self._too_late():
                self.settling.settle(work, "release")
            else:
                self._busy += 1
                self._schedule(work)

    def _too_late(self) -> bool:
        if self.takes_until is None:
            return False
        expected = self._route.handler_timeout
        if expected is None and self._durations:
            expected = sorted(self._durations)[int(len(self._durations) * 0.99)]
        return expected is None or _now() + expected > self.takes_until

    def _schedule(self, work: Work) -> None:
        group = work.message.group if self._traits.ordered else None
        if group is None:
            self._spawn(self._deliver(work), work)
        elif group in self._groups:
            self._groups[group].append(work)
        else:
            self._groups[group] = deque([work])
            self._spawn(self._deliver_group(group), work)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], work: Work) -> None:
        name = f"{self._name}/{work.message.id}"
        work.task = task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(functools.partial(self._ended, work))

    def _ended(self, work: Work, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            if (bug := task.exception()) is not None:
                self._on_bug(bug)
        elif work.phase == "waiting":
            # Cancelled by somebody else before its first step: nothing of it has run.
            for unstarted in self._groups.pop(work.message.group or "", [work]):
                self._give_back(unstarted)
        self._on_change()

    async def _deliver_group(self, group: str) -> None:
        """Each is settled before the next starts; the first that is not acked or rejected ends the chain."""
        chain = self._groups[group]
        try:
            while chain:
                work = chain[0]
                work.task = asyncio.current_task()
                await self._deliver(work)
                await work.closed.wait()
                chain.popleft()
                if not work.confirmed:
                    break
        finally:
            del self._groups[group]
            for work in chain:
                self._give_back(work)

    async def _deliver(self, work: Work) -> None:
        message, decision = work.message, None
        work.phase = "starting"
        try:
            if await self.leases.secure(message) and not (work.gone or work.cancelled):
                enter(work.current)
                work.phase, work.started = "running", _now()
                decision = await self._delivery.decide(message, lambda: work.cancelled)
        except asyncio.CancelledError:
            work.cancelled = True
        if work.phase == "running":
            work.seconds = _now() - work.started
            self._durations.append(work.seconds)
        work.phase = "decided"
        self._free_slot()
        if decision is not None:
            self._decided(work, decision)
        elif work.cancelled and not work.gone:
            self.settling.settle(work, "release")
        else:
            self.settling.close(work, "dropped")

    def _decided(self, work: Work, decision: Decision) -> None:
        self.last_progress = now = _now()
        work.error = decision.error
        if self.breaker is not None and self.breaker.record(decision.error, now):
            self._log_breaker(self.breaker)
        if self._ledger is not None and isinstance(decision.outcome, Ack):
            self._ledger.remember(work.message, now)
        self.settling.outcome(work, decision.outcome)

    def _free_slot(self) -> None:
        self._busy -= 1
        if not self._busy:
            # Nothing runs that could add to a batch: lingering would only delay.
            asyncio.get_running_loop().call_soon(self.acks.flush)
        self._on_change()

    # --- what takes a message away

    def release_unstarted(self) -> None:
        """A stop begins: give back what waits behind a sibling or has not reached its handler."""
        for chain in self._groups.values():
            while len(chain) > 1:
                self._give_back(chain.pop())
        for work in self.settling.open.values():
            if work.phase in ("waiting", "starting"):
                work.cancelled = True

    def cancel_running(self) -> None:
        """The drain is over: cancel what still runs. Threads go on."""
        for work in list(self.settling.open.values()):
            self._cancel(work)

    def abandon_running(self) -> None:
        """It could be waited for no longer."""
        for work in list(self.settling.open.values()):
            if work.phase != "decided":
                self.settling.abandon(work)

    def lost(self, messages: Collection[Message], reason: str) -> None:
        """They are not ours any more: unstarted ones are dropped, running ones told, on ordered sources cancelled."""
        for work in self._works(messages):
            work.gone = True
            self.acks.discard(work.message)
            self._tell_lost(work, reason)

    async def revoke(self, messages: Collection[Message], within: float) -> None:
        """They will be taken away: running ones get ``within`` seconds, the rest is lost."""
        self.lost([w.message for w in self._works(messages) if not _has_started(w)], "revoked")
        running = [asyncio.create_task(work.closed.wait()) for work in self._works(messages)]
        if running:
            self.acks.flush()
            _, late = await asyncio.wait(running, timeout=within)
            for waiter in late:
                waiter.cancel()
        self.lost(messages, "revoked")

    def _lease_ended(self, message: Message) -> None:
        for work in self._works([message]):
            work.gone = self._traits.ordered or not _has_started(work)
            self._tell_lost(work, "its lease could not be kept")

    def _tell_lost(self, work: Work, reason: str) -> None:
        logger.warning(
            "%s: message %s is not ours any more: %s",
            self._name,
            work.message.id,
            reason,
            extra={"route": self._name, "message_id": work.message.id},
        )
        work.current.lease_lost.set()
        if self._traits.ordered or not _has_started(work):
            self._cancel(work)

    def _cancel(self, work: Work) -> None:
        work.cancelled = True
        if work.task is not None and work.phase in ("starting", "running"):
            work.task.cancel()

    def _give_back(self, work: Work) -> None:
        self._free_slot()
        if work.gone:
            self.settling.close(work, "dropped")
        else:
            self.settling.settle(work, "release")

    def _works(self, messages: Collection[Message]) -> list[Work]:
        return [work for message in messages if (work := self.settling.open.get(message)) is not None]

    def _log_breaker(self, breaker: CircuitBreaker) -> None:
        what = "open: receiving pauses, what its handler needs seems down" if breaker.is_open else "closed again"
        logger.warning("%s: breaker %s", self._name, what, extra={"route": self._name})


def _has_started(work: Work) -> bool:
    return work.phase in ("running", "decided")


def _now() -> float:
    return asyncio.get_running_loop().time()
