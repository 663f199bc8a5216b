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
    """Tell whether it is an outcome itself; what a handler may return besides, ``read`` knows."""
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
    """``Settle(Ack())``, by the name that it has in georgeyk/loafer and olist-loafer."""

    def __init__(self) -> None:
        super().__init__(Ack())


def settled_by(error: BaseException) -> Outcome | None:
    """Give the outcome that ``error`` carries; None where it carries none.

    A Settle carries one, and so does an exception group of nothing but Settles that agree.
    """
    if isinstance(error, Settle):
        return error.outcome
    if isinstance(error, BaseExceptionGroup):
        outcomes = {settled_by(inner) for inner in error.exceptions}
        if len(outcomes) == 1:
            return outcomes.pop()
    return None


RETURNS = "Documented are None, True, False, Ack(), Nack() and Reject()."
"""What an error about a handler's answer ends with."""

# The one that almost every delivery ends with, so that none has to be made for it.
_ACK = Ack()


def read(result: object, returns: Literal["lenient", "strict", "truthy"], handler: str) -> Outcome | None:
    """Give the outcome that a handler's return value stands for; None where it stands for none.

    Values are compared by identity, so that 1 is not True. With ``returns="truthy"`` every value stands for one.

    Raises:
        OutcomeError: it stands for none, and ``returns`` is "strict". Or it shows that the work was never done,
            whatever ``returns`` is: a generator that nobody iterates, or a class such as Nack without parentheses.
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
    """Name the type of a value. The value itself is not shown: it may be what somebody sent."""
    if isinstance(value, type):
        return f"the class {value.__name__!r}"
    return "None" if value is None else f"a value of type {type(value).__name__!r}"


def _is_unfinished(result: object) -> bool:
    """Tell whether it is a generator that nobody iterates, or the class of an outcome: ``return Nack``."""
    generator = inspect.isgenerator(result) or inspect.isasyncgen(result)
    return generator or (isinstance(result, type) and issubclass(result, (Ack, Nack, Reject)))
