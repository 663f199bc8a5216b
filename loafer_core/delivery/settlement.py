"""From an outcome to what the source is told, and from the source's answer to what the account calls it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import assert_never

from loafer_core.api.message import Message
from loafer_core.api.outcomes import Ack, Nack, Outcome, Reject
from loafer_core.api.provider import Settled, Traits
from loafer_core.api.route import Retry, Route
from loafer_core.delivery.emptiness import Emptiness
from loafer_core.delivery.in_flight import CLOSED, SETTLING, Delivery, InFlightTable, Verb
from loafer_core.delivery.leases import LeaseKeeper
from loafer_core.delivery.settler import Settler
from loafer_core.observability.account import Disposition
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.route")


class Settlement:
    """Decides for one route what the source is told, and accounts for what was received."""

    def __init__(
        self,
        route: Route,
        traits: Traits,
        in_flight: InFlightTable,
        settler: Settler,
        leases: LeaseKeeper,
        emptiness: Emptiness,
        observers: Observers,
        rng: random.Random,
        now: Callable[[], float],
        on_closed: Callable[[Delivery], None],
    ) -> None:
        """``on_closed`` is called with each delivery that was accounted for."""
        self._route, self._traits = route, traits
        self._in_flight, self._settler, self._leases, self._emptiness = in_flight, settler, leases, emptiness
        self._observers, self._rng, self._now, self._on_closed = observers, rng, now, on_closed

    # --- what the source is told

    def carry_out(self, delivery: Delivery, outcome: Outcome) -> None:
        """Do what the outcome says, as far as the source can."""
        match outcome:
            case Ack():
                self.tell(delivery, "ack")
            case Nack(delay=delay):
                self._nack(delivery, delay)
            case Reject(reason=reason) if self._traits.rejects:
                delivery.reason = reason
                self.tell(delivery, "reject")
            case Reject():
                self._reject_without_target(delivery)
            case _:
                assert_never(outcome)

    def tell(self, delivery: Delivery, verb: Verb) -> None:
        """Tell the source, and account for it once the source has answered or the lease has ended."""
        lost = delivery.current.lease_lost.is_set()
        if delivery.gone or (lost and verb != "ack"):
            # Nobody asks us any more. A late ack alone is worth sending: some sources still take it.
            self.close(delivery, _unconfirmed(verb))
            return
        self._in_flight.advance(delivery, SETTLING)
        self._settler.settle(delivery, verb)

    def _nack(self, delivery: Delivery, delay: float | None) -> None:
        """Without a delay of its own the route's retry policy says how long the nack hides the message."""
        retry, traits = self._route.retry, self._traits
        if delay is None:
            if not isinstance(retry, Retry):  # retry = "leave": the end of the lease brings it back
                self._emptiness.may_come_until(delivery.lease_until)
                self.close(delivery, "nacked")
                return
            count = delivery.message.receive_count or 1
            delay = retry.delay(count, lease=traits.lease, ordered=traits.ordered, rng=self._rng)
        delivery.delay = delay
        self.tell(delivery, "nack")

    def _reject_without_target(self, delivery: Delivery) -> None:
        retry = self._route.retry if isinstance(self._route.retry, Retry) else Retry()
        delivery.delay = retry.span(64, lease=self._traits.lease, ordered=self._traits.ordered)
        logger.error(
            "%s: message %s is to be rejected, but its source has no dead-letter target; it is nacked for %.0f s",
            self._route.name,
            delivery.message.id,
            delivery.delay,
            extra={"route": self._route.name, "message_id": delivery.message.id},
        )
        self.tell(delivery, "nack")

    # --- what it is called in the end

    def answered(self, delivery: Delivery, verb: Verb, answer: Settled) -> None:
        """The source answered: DONE, LOST, or RETRY for what the settler has given up."""
        match answer:
            case Settled.RETRY:
                self._emptiness.may_come_until(delivery.lease_until)
            case Settled.DONE | Settled.LOST:
                if verb == "nack":
                    self._emptiness.may_come_until(self._now() + delivery.delay)
            case _:
                assert_never(answer)
        delivery.confirmed = answer is Settled.DONE and verb in ("ack", "reject")
        late = delivery.gone or delivery.current.lease_lost.is_set()
        self.close(delivery, _confirmed(verb) if answer is Settled.DONE and not late else _unconfirmed(verb))

    def close(self, delivery: Delivery, disposition: Disposition) -> None:
        """Account for it. A second call does nothing."""
        if delivery.phase is CLOSED:
            return
        self._in_flight.close(delivery, disposition)
        self._leases.untrack(delivery)
        message = delivery.message
        self._emptiness.closed(message.id, disposition)
        self._emptiness.may_come_until(self._now())
        self._log(message, disposition)
        if self._observers.message_done is not None:
            self._observers.message_done(self._route.name, message, disposition, delivery.seconds, delivery.error)
        delivery.error = None  # its traceback leads back to the delivery: the circle would keep the body
        self._on_closed(delivery)

    def _log(self, message: Message, disposition: Disposition) -> None:
        route = self._route.name
        if logger.isEnabledFor(logging.DEBUG):
            facts = {"route": route, "outcome": disposition}
            logger.debug("%s: message %s %s", route, message.id, disposition, extra=facts)
        if disposition == "rejected":
            # The source forgets it now. Why is in the dead letter: a reason may quote what is in the message.
            logger.info(
                "%s: message %s is rejected: dead-lettered, not to come again",
                route,
                message.id,
                extra={"route": route, "message_id": message.id},
            )


def _confirmed(verb: Verb) -> Disposition:
    """What it is called when the source has recorded what it was told."""
    match verb:
        case "ack":
            return "acked"
        case "nack":
            return "nacked"
        case "reject":
            return "rejected"
        case "release":
            return "released"
        case _:
            assert_never(verb)


def _unconfirmed(verb: Verb) -> Disposition:
    """What it is called when the source has not: what is not acked comes back when its lease ends."""
    match verb:
        case "ack":
            return "ack_lost"
        case "nack" | "reject":
            return "nacked"
        case "release":
            return "released"
        case _:
            assert_never(verb)
