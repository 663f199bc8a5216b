"""How a delivery ends: the three outcomes, and the exception that carries one from anywhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ack:
    """Done: the source may forget the message."""


@dataclass(frozen=True, slots=True)
class Nack:
    """Not done: deliver it again, not before ``delay`` seconds; None = the route's retry policy decides."""

    delay: float | None = None

    def __post_init__(self) -> None:
        if self.delay is not None and not 0 <= self.delay < float("inf"):
            raise ValueError(f"Nack(delay={self.delay!r}): seconds, from 0 up")


@dataclass(frozen=True, slots=True)
class Reject:
    """Never again: to the source's dead-letter target, with the reason. Without such a target it becomes a nack."""

    reason: str = ""


Outcome = Ack | Nack | Reject


class Settle(Exception):
    """Raise it anywhere in a translator, middleware or handler to end the delivery with ``outcome``."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class DeleteMessage(Settle):
    """``Settle(Ack())`` by the name that Loafer's ancestors gave it."""

    def __init__(self) -> None:
        super().__init__(Ack())


def settled_by(error: BaseException) -> Outcome | None:
    """Give the outcome that ``error`` carries: a Settle, or an exception group of nothing but equal Settles."""
    if isinstance(error, Settle):
        return error.outcome
    if isinstance(error, BaseExceptionGroup):
        outcomes = {settled_by(inner) for inner in error.exceptions}
        if len(outcomes) == 1:
            return outcomes.pop()
    return None
