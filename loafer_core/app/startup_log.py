"""What a run says at start: what is running, what each route binds, and how long its retries span."""

from __future__ import annotations

from collections.abc import Iterable

from loafer_core.api.provider import Traits
from loafer_core.api.route import Retry, Route
from loafer_core.app.build import ResolvedRoute
from loafer_core.discovery.loader import Plugin

TRIES = 5


def build_of(plugins: Iterable[Plugin], loop: object) -> str:
    """What is running: the core and its plugins with their versions, and the kind of event loop."""
    used = [f"{plugin.owner} {plugin.version}" for plugin in plugins if plugin.state == "ok"]
    kind = type(loop)
    return f"plugins {', '.join(used)}; event loop {kind.__module__}.{kind.__qualname__}"


def about(resolved: ResolvedRoute) -> str:
    """What a route binds, in one line: ``sqs -> tenancy(json -> shop:handle), errors to sentry; 10 at once``."""
    around = "".join(f"{middleware.label}(" for middleware in resolved.middlewares)
    way = f"{around}{resolved.translator.label} -> {resolved.handler.label}{')' * len(resolved.middlewares)}"
    asked = ", ".join(error_handler.label for error_handler in resolved.error_handlers)
    errors = f", errors to {asked}" if asked else ""
    return f"{resolved.provider.label} -> {way}{errors}; {resolved.route.concurrency} at once"


def retries(route: Route, traits: Traits) -> str:
    """How long a message that keeps failing is tried again."""
    if not isinstance(route.retry, Retry):
        lease = "" if traits.lease is None else f" of {_time(traits.lease)}"
        return f"what fails comes again when its lease{lease} ends"
    spans = [route.retry.span(count, lease=traits.lease, ordered=traits.ordered) for count in range(1, TRIES)]
    total = sum(spans)
    return (
        f"what fails comes again after {_time(spans[0] / 2)} to {_time(spans[0])} at first; "
        f"{TRIES} tries span {_time(total / 2)} to {_time(total)}"
    )


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
