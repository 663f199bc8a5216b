"""How a run is, as frozen facts: each message in flight, and each route at work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from loafer_core.observability.account import Account

State = Literal["new", "opening", "running", "degraded", "draining", "stopped", "failed"]
"""Where a route is between its start and its end."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """Where one message is, at the moment of asking (``Manager.messages()``)."""

    id: str
    route: str
    phase: str
    """``waiting`` for its turn, ``starting``, ``running`` in its handler, ``decided``, ``settling`` with the source."""
    age: float
    """Seconds since it was received."""
    receive_count: int | None
    """1 = the first time; None = the source cannot tell."""
    lease_left: float | None
    """Seconds until it is not ours any more if nothing is done; 0.0 = it is not ours any more; None = no lease."""


@dataclass(frozen=True, slots=True)
class Oldest:
    """The message that has been in its handler for longest."""

    message_id: str
    age: float
    """Seconds since its handler started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteHealth:
    """One route at work. Ages are seconds; None = it has not happened yet."""

    route: str
    state: State
    in_work: int
    """Messages received and not accounted for."""
    free: int
    """Slots that a receive may fill."""
    account: Account
    lease: float | None
    """Seconds of a lease of its source."""
    longest_receive: float
    """Seconds that one receive may wait."""
    handler_timeout: float | None
    newest_receive_age: float | None
    """Since the newest receive was sent."""
    last_receive_age: float | None
    """Since a receive last succeeded."""
    last_progress_age: float | None
    """Since an outcome was last decided."""
    oldest_handler: Oldest | None
    slowest_handler: float
    """Seconds that the slowest of the last handlers took."""

    @property
    def receives(self) -> bool:
        """It is past its start and not stopping."""
        return self.state in ("running", "degraded")

    def sample(self) -> Mapping[str, object]:
        """What observers' ``sample`` gets of a route."""
        return {
            "state": self.state,
            "in_work": self.in_work,
            "last_receive_age": self.last_receive_age,
            "last_progress_age": self.last_progress_age,
            "oldest_handler_age": None if self.oldest_handler is None else self.oldest_handler.age,
            "account": asdict(self.account),
        }
