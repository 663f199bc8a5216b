"""How a delivery ends: the three outcomes, the exception that carries one, and what a handler's answer stands for."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Literal, TypeGuard

from loafer_core.api.errors import OutcomeError


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


def is_outcome(value: object) -> TypeGuard[Outcome]:
    return isinstance(value, (Ack, Nack, Reject))


class Settle(Exception):
    """Raise it anywhere in a translator, middleware or handler to end the delivery with ``outcome``.

    Raises:
        TypeError: ``outcome`` is none; ``Settle(Nack)`` forgets the parentheses.
    """

    def __init__(self, outcome: Outcome) -> None:
        if not is_outcome(outcome):
            raise TypeError(f"Settle takes an outcome such as Nack(), not {described(outcome)}")
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


_ACK = Ack()
RETURNS = "Documented are None, True, False, Ack(), Nack() and Reject()."


def read(result: object, returns: Literal["lenient", "strict", "truthy"], handler: str) -> Outcome | None:
    """Give the outcome that a handler's return value stands for, by identity. None: it is not a documented one.

    Raises:
        OutcomeError: it is not a documented one and ``returns`` is "strict", or no work is done by it in any mode.
    """
    if result is True or (result is None and returns != "truthy"):
        return _ACK
    if is_outcome(result):
        return result
    if _is_unfinished(result):
        raise OutcomeError(f"handler {handler} returned {described(result)}, and no work is done by that. {RETURNS}")
    if returns == "truthy":
        return Ack() if result else Nack()
    if result is False:
        return Nack()
    if returns == "strict":
        raise OutcomeError(f"handler {handler} returned {described(result)}. {RETURNS}")
    return None


def described(value: object) -> str:
    """Say what it is without saying what is in it."""
    if isinstance(value, type):
        return f"the class {value.__name__!r}"
    return "None" if value is None else f"a value of type {type(value).__name__!r}"


def _is_unfinished(result: object) -> bool:
    """A generator that nobody iterates, or ``return Nack`` without the parentheses."""
    generator = inspect.isgenerator(result) or inspect.isasyncgen(result)
    return generator or (isinstance(result, type) and issubclass(result, (Ack, Nack, Reject)))
