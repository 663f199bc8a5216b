"""From outcome to account: which settlement an outcome asks for, and what became of it in the end."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from loafer_core.api.current import Current
from loafer_core.api.message import Message
from loafer_core.api.outcomes import Ack, Outcome, Reject
from loafer_core.api.provider import Settled, Traits
from loafer_core.api.route import Retry, Route
from loafer_core.delivery.leases import Leases
from loafer_core.delivery.settler import PendingSettlement, Settler, Verb
from loafer_core.observability.account import Account, Disposition
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.route")

QUIET = 2.0
"""Seconds after the last settlement, and after a delay or a lease that we left to run, before an empty receive means
that the source is empty: its clock and its rounding are not ours."""
MOST_UNFINISHED = 100_000
"""Unfinished ids that are kept; more are not worth their memory."""


@dataclass(slots=True, eq=False)
class Delivery:
    """One message in our hands, from receive until it is accounted for."""

    message: Message
    current: Current
    task: asyncio.Task[None] | None = None
    phase: Literal["waiting", "starting", "running", "decided"] = "waiting"
    started: float = 0.0
    """When its handler did; the loop's time."""
    seconds: float = 0.0
    """How long its handler took."""
    error: BaseException | None = None
    cancelled: bool = False
    """We cancelled it: its CancelledError is no failure."""
    gone: bool = False
    """The source took it away: nothing is settled any more."""
    confirmed: bool = False
    """The source recorded the ack or the reject: the next of its group may go."""
    closed: asyncio.Event | None = None
    """Who waits for its end makes one; it is set then."""

    @property
    def has_started(self) -> bool:
        return self.phase in ("running", "decided")

    @property
    def waits_its_turn(self) -> bool:
        """It stands behind a sibling of its group."""
        return self.phase == "waiting" and self.task is None


class Settling:
    """Settles and accounts for what one route received."""

    def __init__(
        self,
        route: Route,
        traits: Traits,
        acks: Settler,
        leases: Leases,
        account: Account,
        observers: Observers,
        rng: random.Random,
        on_closed: Callable[[Delivery], None],
    ) -> None:
        self._route, self._traits, self._acks, self._leases = route, traits, acks, leases
        self._observers, self._rng, self._on_closed = observers, rng, on_closed
        self._now = asyncio.get_running_loop().time
        self.account = account
        self.open: dict[Message, Delivery] = {}
        """Handed out by the provider and not accounted for."""
        self.unfinished: set[str] = set()
        """Ids whose last outcome was neither ack nor reject."""
        self.quiet_at = -math.inf
        """From when on an empty receive means that the source is empty. The loop's time."""

    def outcome(self, work: Delivery, outcome: Outcome) -> None:
        """Do what the outcome says, as far as the source can."""
        if isinstance(outcome, Ack):
            self.settle(work, "ack")
        elif isinstance(outcome, Reject) and self._traits.rejects:
            self.settle(work, "reject", reason=outcome.reason)
        elif isinstance(outcome, Reject):
            self._reject_without_target(work)
        elif outcome.delay is not None:
            self.settle(work, "nack", delay=outcome.delay)
        elif isinstance(self._route.retry, Retry):
            self.settle(work, "nack", delay=self._delay(self._route.retry, work.message))
        else:
            self.quiet(self._leases.until(work.message))
            self.close(work, "nacked")

    def settle(self, work: Delivery, verb: Verb, *, delay: float = 0.0, reason: str = "") -> None:
        """Tell the source, and account for it once the source answered or the lease ended."""
        lost = work.current.lease_lost.is_set()
        if work.gone or (lost and verb != "ack"):
            # Nobody asks us any more. A late ack alone is worth sending: some sources still take it.
            self.close(work, "ack_lost" if verb == "ack" else _UNSETTLED[verb])
            return

        # No closure over the settlement: the circle would keep each body until the garbage collector comes.
        done = functools.partial(self._settled, work)
        self._acks.put(PendingSettlement(work.message, verb, done, delay, reason))

    def _settled(self, work: Delivery, settlement: PendingSettlement, answer: Settled) -> None:
        verb = settlement.verb
        if answer is Settled.RETRY:
            self.quiet(settlement.until)
        elif verb == "nack":
            self.quiet(self._now() + settlement.delay)
        work.confirmed = answer is Settled.DONE and verb in ("ack", "reject")
        late = work.gone or work.current.lease_lost.is_set()
        self.close(work, _CONFIRMED[verb] if answer is Settled.DONE and not late else _UNSETTLED[verb])

    def close(self, work: Delivery, word: Disposition) -> None:
        """Account for it: once, whatever comes later."""
        message = work.message
        if self.open.pop(message, None) is None:
            return
        self._leases.forget(message)
        self.account.add(word)
        if word in ("acked", "rejected"):
            self.unfinished.discard(message.id)
        elif len(self.unfinished) < MOST_UNFINISHED:
            self.unfinished.add(message.id)
        self.quiet(self._now())
        if logger.isEnabledFor(logging.DEBUG):
            route = self._route.name
            logger.debug("%s: message %s %s", route, message.id, word, extra={"route": route, "outcome": word})
        if word == "rejected":
            # The source forgets it now. Why is in the dead letter: a reason may quote what is in the message.
            text, route = "%s: message %s is rejected: dead-lettered, not to come again", self._route.name
            logger.info(text, route, message.id, extra={"route": route, "message_id": message.id})
        if self._observers.message_done is not None:
            self._observers.message_done(self._route.name, message, word, work.seconds, work.error)
        work.error = None  # its traceback leads back to the work: the circle would keep the body
        if work.closed is not None:
            work.closed.set()
        self._on_closed(work)

    def quiet(self, until: float) -> None:
        """Something may still come until then: no empty receive before means anything."""
        if until < math.inf:
            self.quiet_at = max(self.quiet_at, until + QUIET)

    def _delay(self, retry: Retry, message: Message) -> float:
        count = message.receive_count or 1
        return retry.delay(count, lease=self._traits.lease, ordered=self._traits.ordered, rng=self._rng)

    def _reject_without_target(self, work: Delivery) -> None:
        retry = self._route.retry if isinstance(self._route.retry, Retry) else Retry()
        delay = retry.span(64, lease=self._traits.lease, ordered=self._traits.ordered)
        logger.error(
            "%s: message %s is to be rejected, but its source has no dead-letter target; it is nacked for %.0f s",
            self._route.name,
            work.message.id,
            delay,
            extra={"route": self._route.name, "message_id": work.message.id},
        )
        self.settle(work, "nack", delay=delay)


_CONFIRMED: dict[Verb, Disposition] = {"ack": "acked", "nack": "nacked", "reject": "rejected", "release": "released"}
_UNSETTLED: dict[Verb, Disposition] = {"ack": "ack_lost", "nack": "nacked", "reject": "nacked", "release": "released"}
"""What it is called when the source did not record it: what is not acked comes back when its lease ends."""
