"""What happened in one simulated world: every request to the source, every run of a handler, everything done to a
process, in one order. The invariants are held against it, and a failing seed shows its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from loafer_core import Message, Settled
from loafer_core.observability.account import Account


class Moment(NamedTuple):
    """``order`` tells before and after where the virtual clock does not move."""

    order: int
    at: float


@dataclass(slots=True, eq=False)
class Request:
    """One settlement or extension of one delivery. ``answer`` is what the core was told; None: nothing certain."""

    verb: str
    asked: Moment
    applied: Moment | None = None
    answered: Moment | None = None
    answer: Settled | None = None
    faulty: bool = False
    """Something was done to it: it failed, or its answer was lost or bent."""
    cut: bool = False
    """The core itself cancelled it."""


@dataclass(slots=True, eq=False)
class Delivery:
    """One message handed out once. ``lease_until`` is the source's truth."""

    number: int
    group: str | None
    who: str
    taken: Moment
    lease_until: float
    arrived: Moment | None = None
    begin: Moment | None = None
    end: Moment | None = None
    outcome: str = ""
    """ok, failed, nack, reject, cancelled (by the core) or killed."""
    lease_left: float = 0.0
    """When its handler began."""
    requests: list[Request] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    """What the account says of it."""
    harm: str = ""
    """What was done to it on purpose: expired, lost, revoked, cancelled, answer lost, answer late. By the core itself:
    aborted, which is to hang up on the receive that brings it."""

    def __str__(self) -> str:
        return f"message {self.number} (taken by {self.who} at {self.taken.at:.3f})"

    @property
    def succeeded(self) -> bool:
        return self.outcome == "ok"

    @property
    def faulty(self) -> bool:
        return any(request.faulty for request in self.requests)


@dataclass(slots=True, eq=False)
class Receive:
    asked: Moment
    limit: int
    ended: Moment | None = None
    count: int = 0
    failed: bool = False


class Trouble(NamedTuple):
    """The core said that a receive failed, and when it would ask again."""

    when: Moment
    kind: str
    retry_in: float


@dataclass(slots=True, eq=False)
class Life:
    """One process, from its start to its stop or its death."""

    who: str
    concurrency: int
    receives: list[Receive] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    patient: bool = True
    """Stopped without hurry and with all the time that a stop is meant to have."""
    strayed_at: float | None = None
    """When somebody last cancelled tasks of it at random."""
    killed: Moment | None = None
    stopping: Moment | None = None
    stopped: Moment | None = None
    account: Account | None = None


class Sent(NamedTuple):
    group: str | None
    acknowledged: bool
    """The sender heard that it was taken."""


class History:
    """``deliveries`` are in the order in which the source handed them out, ``sent`` in that of sending."""

    def __init__(self, *, ordered: bool, leaves: bool = False, breaks: bool = False) -> None:
        self.ordered = ordered
        self.leaves, self.breaks = leaves, breaks
        """Failures are left to their leases (``retry = "leave"``); there is a breaker."""
        self.events: list[tuple[Moment, str, str, tuple[Any, ...]]] = []
        self.sent: dict[int, Sent] = {}
        self.deliveries: dict[Message, Delivery] = {}
        self.lives: dict[str, Life] = {}
        self.healed: Moment | None = None
        """From here on nothing goes wrong any more, and nobody is stopped for a while."""
        self.dead: list[int] = []
        self.left: list[int] = []
        self.leaks: list[str] = []

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() - 1000

    def note(self, who: str, what: str, *details: Any) -> Moment:
        moment = Moment(len(self.events), self.now)
        self.events.append((moment, who, what, details))
        return moment

    def of(self, who: str) -> Iterator[Delivery]:
        return (delivery for delivery in self.deliveries.values() if delivery.who == who)

    def tail(self, count: int = 60) -> str:
        """The last lines of the log, or those that lead up to the last thing that was done on purpose."""
        return "\n".join(
            f"{moment.order:6} {moment.at:10.3f} {who:6} {what:10} {' '.join(map(_short, details))}"
            for moment, who, what, details in self.events[-count:]
        )


def _short(detail: Any) -> str:
    if isinstance(detail, (list, tuple)):
        return ",".join(map(_short, detail))
    return detail.name if isinstance(detail, Settled) else str(detail)
