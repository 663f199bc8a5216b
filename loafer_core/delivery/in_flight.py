"""Every message of one route that is in our hands: one record for each, from its receive until it is accounted for.

This is the one list of what is at work. The lease keeper and the settler only index these records, groups queue them,
and whoever asks where a message is (``Manager.messages()``, a provider's ``context.outstanding()``, samples) is
answered from here.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from loafer_core.api.current import Current
from loafer_core.api.message import Message
from loafer_core.api.outcomes import Outcome
from loafer_core.observability.account import Account, Disposition
from loafer_core.observability.health import InFlight

Verb = Literal["ack", "nack", "reject", "release"]
"""What a source can be told about a message: the provider's four methods."""


class Phase(enum.StrEnum):
    """Where a delivery is on its way."""

    WAITING = "waiting"
    """It has a slot. Its task has not begun yet, or it stands behind a sibling of its group."""
    STARTING = "starting"
    """Its task has begun: it makes sure that the lease is long enough for a handler."""
    RUNNING = "running"
    """It is in the pipeline: middlewares, translator, handler, error handlers."""
    DECIDED = "decided"
    """What becomes of it is known. Its slot is free."""
    SETTLING = "settling"
    """The source is told, until it has confirmed or the lease has ended."""
    CLOSED = "closed"
    """It is accounted for, and not ours any more."""


# Constants of the module, read for every message: up to Python 3.11 reading `Phase.X` is a function call.
WAITING, STARTING, RUNNING, DECIDED, SETTLING, CLOSED = Phase

TRANSITIONS: Mapping[Phase, frozenset[Phase]] = MappingProxyType(
    {
        WAITING: frozenset({STARTING, DECIDED, CLOSED}),
        STARTING: frozenset({RUNNING, DECIDED, CLOSED}),
        RUNNING: frozenset({DECIDED, CLOSED}),
        DECIDED: frozenset({SETTLING, CLOSED}),
        SETTLING: frozenset({CLOSED}),
        CLOSED: frozenset(),
    }
)
"""What may follow each phase. To be closed without a decision is what a stop does with work that it cannot wait for."""

HOLD_A_SLOT = frozenset({WAITING, STARTING, RUNNING})
"""A slot is held from the receive until the outcome is known; settling holds none."""


class WrongTransition(Exception):
    """A bug in Loafer: a delivery was to go where it cannot go from where it is."""


@dataclass(slots=True, eq=False)
class Delivery:
    """One message in our hands. Moments are the loop's."""

    message: Message
    current: Current
    """What user code sees of it: the flags ``lease_lost`` and ``stopping``."""
    received_at: float
    phase: Phase = WAITING
    """Changed by ``InFlightTable.advance`` alone."""

    # Its way through the pipeline.
    task: asyncio.Task[None] | None = None
    started_at: float = 0.0
    """When the pipeline got it."""
    seconds: float = 0.0
    """How long it was there."""
    outcome: Outcome | None = None
    error: BaseException | None = None
    """What was raised on the way to the outcome. It is kept only here, and let go of when the delivery is closed: its
    traceback refers to our frames, so that another reference would be a circle, which keeps the body until the garbage
    collector comes."""
    cancelled: bool = False
    """It shall not be handled, or not any further: a CancelledError that comes out of it is no failure."""
    revoked: bool = False
    """The source is about to take it away, so it is settled without waiting for company."""
    gone: bool = False
    """The source took it away: nothing is settled any more."""

    # Its lease (the lease keeper's).
    lease_until: float = math.inf
    """Infinity where the source has no leases; minus infinity once the lease was lost or given up."""
    extend_at: float = math.inf
    """When the lease is due to be extended; infinity while it is not to be."""
    lease_is_final: bool = False
    """No further extend is possible; ``extend_at`` is the end of the lease, where the heartbeat declares it lost."""
    extending: asyncio.Event | None = None
    """Set once the extend that is under way has been answered; None while none is."""

    # Its settlement (the settler's).
    verb: Verb | None = None
    """What the source is told; None before the decision."""
    delay: float = 0.0
    """Seconds that a nack hides it at the source."""
    reason: str = ""
    """Why it is rejected."""
    tries: int = 0
    """How often the source was told and did not confirm."""
    confirmed: bool = False
    """The source recorded an ack or a reject: the next of its group may start."""
    closed: asyncio.Event | None = None
    """Made by the first who waits for the end of this delivery (``revoke``); set when it is closed."""

    @property
    def has_started(self) -> bool:
        """The pipeline has, or had, it in hand."""
        return self.phase not in (WAITING, STARTING)

    @property
    def waits_its_turn(self) -> bool:
        """It stands behind a sibling of its group."""
        return self.phase is WAITING and self.task is None


class InFlightTable:
    """The deliveries of one route, and the slots that they hold."""

    def __init__(
        self, route: str, account: Account, now: Callable[[], float], on_free_slot: Callable[[], None]
    ) -> None:
        """Start empty.

        Args:
            route: its name.
            account: counts what is received, and what became of it.
            now: the loop's clock; called from any thread.
            on_free_slot: called each time a slot has come free.
        """
        self._route, self._account = route, account
        self._now, self._on_free_slot = now, on_free_slot
        self._deliveries: dict[Message, Delivery] = {}
        self.busy = 0
        """Slots that are held."""

    def __len__(self) -> int:
        return len(self._deliveries)

    def __iter__(self) -> Iterator[Delivery]:
        """Those that are there now, in the order of their receive. Some may be closed before their turn comes."""
        return iter(list(self._deliveries.values()))

    def find(self, messages: Iterable[Message]) -> list[Delivery]:
        """Find the records of those messages that are in flight."""
        return [found for message in messages if (found := self._deliveries.get(message)) is not None]

    def outstanding(self) -> list[Message]:
        """Give the messages that were handed out and are not settled."""
        return list(self._deliveries)

    def take(self, message: Message, current: Current, now: float) -> Delivery | None:
        """Open a record for a message that was received at ``now``. It holds a slot.

        Gives None if this very object is in flight: a provider makes a new one for each delivery.
        """
        if message in self._deliveries:
            return None
        delivery = self._deliveries[message] = Delivery(message, current, now)
        self._account.received += 1
        self.busy += 1
        return delivery

    def advance(self, delivery: Delivery, phase: Phase) -> None:
        """Move a delivery on.

        Raises:
            WrongTransition: it cannot get there from where it is.
        """
        before = delivery.phase
        if phase not in TRANSITIONS[before]:
            raise WrongTransition(f"{self._route}: message {delivery.message.id} cannot go from {before} to {phase}")
        delivery.phase = phase
        if before in HOLD_A_SLOT and phase not in HOLD_A_SLOT:
            self.busy -= 1
            self._on_free_slot()

    def close(self, delivery: Delivery, disposition: Disposition) -> None:
        """Account for a delivery, and keep it no longer."""
        self.advance(delivery, CLOSED)
        del self._deliveries[delivery.message]
        self._account.add(disposition)
        if delivery.closed is not None:
            delivery.closed.set()

    # --- what others ask

    @property
    def oldest_running(self) -> Delivery | None:
        """What has been in the pipeline for longest."""
        running = (delivery for delivery in self if delivery.phase is RUNNING)
        return min(running, key=lambda delivery: delivery.started_at, default=None)

    def snapshot(self) -> list[InFlight]:
        """Tell where each message is. May be called from any thread."""
        told = []
        for delivery in self._copy():
            # Each is read once: the loop goes on while another thread asks.
            phase, lease_until, now = delivery.phase, delivery.lease_until, self._now()
            if phase is CLOSED:
                continue
            told.append(
                InFlight(
                    id=delivery.message.id,
                    route=self._route,
                    phase=phase.value,
                    age=now - delivery.received_at,
                    receive_count=delivery.message.receive_count,
                    lease_left=None if lease_until == math.inf else max(0.0, lease_until - now),
                )
            )
        return told

    def _copy(self) -> list[Delivery]:
        while True:
            try:
                return list(self._deliveries.values())
            except RuntimeError:
                # The loop took or closed one while another thread copied.
                continue
