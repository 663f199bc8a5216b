"""Those who watch: what an observer may be told, and the observers of a run, compiled into plain callables.

An observer that raises harms nobody. An event that nobody listens to costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from loafer_core._tasks import is_async
from loafer_core.api.errors import ConfigError, Finding, ProviderError
from loafer_core.api.message import Message
from loafer_core.observability.account import Account, Disposition

logger = logging.getLogger("loafer.observers")


class Events(Protocol):
    """What an observer may be told. It has a method for each event that it wants to hear of, and for no other.

    The methods are plain functions that return at once. Arguments are given by position.
    """

    def startup(self) -> None:
        """Everything is built, and no route has opened yet."""

    def shutdown(self, reason: str, account: Mapping[str, Account]) -> None:
        """The last route closed. ``reason``: a signal's name, "done", "left" or "failure". ``account``: by route."""

    def route_state(self, route: str, state: str) -> None:
        """A route became opening, running, degraded (receiving fails for some time), draining, stopped or failed."""

    def batch_received(self, route: str, count: int, seconds: float) -> None:
        """A receive ended after ``seconds``, with ``count`` messages; it may be 0."""

    def message_done(
        self, route: str, message: Message, outcome: Disposition, seconds: float, error: BaseException | None
    ) -> None:
        """A message is accounted for. ``seconds``: what its handler took. ``error``: what was raised, if anything."""

    def provider_error(self, route: str, error: ProviderError, retry_in: float) -> None:
        """A source is in trouble, and is asked again in ``retry_in`` seconds."""

    def sample(self, snapshot: Mapping[str, object]) -> None:
        """How everything is, every ``sample_interval`` seconds: the event loop's lag, and the facts of each route."""


EVENTS = tuple(name for name in vars(Events) if not name.startswith("_"))
"""The names of the events, in the order above."""

OFF_AFTER = 10
"""An observer's method that raised so often in a row is not called any more."""

Emit = Callable[..., None]


class Observers:
    """All observers of a run. It has one callable for each event, which tells all who listen; None where nobody does.

    Whoever has something to tell asks first: ``if observers.sample is not None: observers.sample(...)``.
    """

    startup: Emit | None = None
    shutdown: Emit | None = None
    route_state: Emit | None = None
    batch_received: Emit | None = None
    message_done: Emit | None = None
    provider_error: Emit | None = None
    sample: Emit | None = None

    def __init__(self, observers: Sequence[tuple[str, object]] = ()) -> None:
        """Compile pairs of an observer's name and the observer.

        Raises:
            ConfigError: an observer listens to no event, or a method of it is async; with every finding.
        """
        findings = [finding for name, observer in observers for finding in _findings(name, observer)]
        if findings:
            raise ConfigError(findings)
        listening = [(name, _methods(observer)) for name, observer in observers]
        for event in EVENTS:
            emits = [_guarded(name, event, methods[event]) for name, methods in listening if event in methods]
            if emits:
                setattr(self, event, emits[0] if len(emits) == 1 else _all(emits))


def _methods(observer: object) -> dict[str, Callable[..., object]]:
    """Give the methods of an observer, by event."""
    found = {event: getattr(observer, event, None) for event in EVENTS}
    return {event: method for event, method in found.items() if callable(method)}


def _findings(name: str, observer: object) -> Iterator[Finding]:
    methods = _methods(observer)
    if not methods:
        yield Finding("loafer.observers", f"{name} has none of the events {', '.join(EVENTS)}; it would see nothing")
    for event, method in methods.items():
        if is_async(method):
            text = f"{name}.{event} is async; an observer's methods are plain functions that return at once"
            yield Finding("loafer.observers", text)


def _guarded(name: str, event: str, method: Callable[..., object]) -> Emit:
    """Call ``method``, log what it raises, and call it no more after ``OFF_AFTER`` failures in a row."""
    failures = 0

    def emit(*args: object) -> None:
        nonlocal failures
        if failures >= OFF_AFTER:
            return
        try:
            method(*args)
            failures = 0
        except BaseException as error:  # SystemExit, too: no observer may end the process.
            failures += 1
            end = "; it is switched off" if failures == OFF_AFTER else ""
            # The traceback once is enough: what an observer raises, it often raises for each message.
            logger.error("observer %s.%s raised %s%s", name, event, type(error).__name__, end, exc_info=failures == 1)

    return emit


def _all(emits: Sequence[Emit]) -> Emit:
    """Make one callable of several."""

    def emit(*args: object) -> None:
        for one in emits:
            one(*args)

    return emit
