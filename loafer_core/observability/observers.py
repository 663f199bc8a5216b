"""Those who watch: objects, compiled at start into plain callables.

One that raises harms nobody; absent costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from loafer_core._tasks import is_async
from loafer_core.api.errors import ConfigError, Finding

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
            ConfigError: an observer's method is async, or it has none that is ever called; with every finding.
        """
        findings = [finding for name, observer in observers for finding in _findings(name, observer)]
        if findings:
            raise ConfigError(findings)
        for event in EVENTS:
            emits = [_guarded(name, event, hook) for name, one in observers if (hook := _hook(one, event)) is not None]
            if emits:
                setattr(self, event, emits[0] if len(emits) == 1 else _all(emits))


def _hook(observer: object, event: str) -> Callable[..., object] | None:
    hook = getattr(observer, event, None)
    return hook if callable(hook) else None


def _findings(name: str, observer: object) -> Iterator[Finding]:
    hooks = {event: hook for event in EVENTS if (hook := _hook(observer, event)) is not None}
    if not hooks:
        yield Finding("loafer.observers", f"{name} has none of the events {', '.join(EVENTS)}; it would see nothing")
    for event, hook in hooks.items():
        if is_async(hook):
            text = f"{name}.{event} is async; an observer's methods are plain functions that return at once"
            yield Finding("loafer.observers", text)


def _guarded(name: str, event: str, hook: Callable[..., object]) -> Emit:
    failures = 0

    def emit(*args: object) -> None:
        nonlocal failures
        if failures >= OFF_AFTER:
            return
        try:
            hook(*args)
            failures = 0
        except BaseException as error:  # SystemExit too: who watches does not decide
            failures += 1
            off = "; it is switched off" if failures == OFF_AFTER else ""
            logger.error("observer %s.%s raised %s%s", name, event, type(error).__name__, off, exc_info=failures == 1)

    return emit


def _all(emits: Sequence[Emit]) -> Emit:
    def emit(*args: object) -> None:
        for one in emits:
            one(*args)

    return emit
