"""Those who watch: objects, compiled at start into plain callables.

One that raises harms nobody; absent costs nothing.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

from loafer_core.errors import ConfigError, Finding

logger = logging.getLogger("loafer.observers")

EVENTS = (
    "startup",
    "shutdown",
    "route_state",
    "batch_received",
    "message_done",
    "provider_error",
    "sample",
)
"""``startup()``, ``shutdown(reason, account)``, ``route_state(route, state)``,
``batch_received(route, count, seconds)``, ``message_done(route, message, outcome, seconds, error)``,
``provider_error(route, error, retry_in)``, ``sample(snapshot)``.

``outcome`` is one of the account's seven words."""

OFF_AFTER = 10
"""Failures in a row after which an observer's event is switched off."""

Emit = Callable[..., None]


class Observers:
    """For each event one callable, or None when nobody listens: ``if observers.sample is not None: ...``."""

    startup: Emit | None = None
    shutdown: Emit | None = None
    route_state: Emit | None = None
    batch_received: Emit | None = None
    message_done: Emit | None = None
    provider_error: Emit | None = None
    sample: Emit | None = None

    def __init__(self, observers: Sequence[tuple[str, object]] = ()) -> None:
        """Compile ``(name, object)`` pairs.

        Raises:
            ConfigError: an event of an observer is a coroutine function, or an object listens to nothing.
        """
        for event in EVENTS:
            guarded = [
                _guarded(name, event, getattr(observer, event))
                for name, observer in observers
                if callable(getattr(observer, event, None))
            ]
            if guarded:
                setattr(self, event, guarded[0] if len(guarded) == 1 else _all(guarded))
        for name, observer in observers:
            if not any(callable(getattr(observer, event, None)) for event in EVENTS):
                raise ConfigError(
                    Finding(
                        "loafer.observers", f"{name} has none of the events {', '.join(EVENTS)}; it would see nothing"
                    )
                )


def _guarded(name: str, event: str, function: Callable[..., Any]) -> Emit:
    if inspect.iscoroutinefunction(function):
        raise ConfigError(
            Finding("loafer.observers", f"{name}.{event} is async; observers are plain functions that return at once")
        )
    failures = 0

    def emit(*args: Any) -> None:
        nonlocal failures
        if failures >= OFF_AFTER:
            return
        try:
            function(*args)
            failures = 0
        except Exception as error:
            failures += 1
            off = "; it is switched off" if failures == OFF_AFTER else ""
            logger.error("observer %s.%s raised %s%s", name, event, type(error).__name__, off, exc_info=failures == 1)

    return emit


def _all(emits: Sequence[Emit]) -> Emit:
    def emit(*args: Any) -> None:
        for one in emits:
            one(*args)

    return emit
