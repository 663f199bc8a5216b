"""What a run logs at its start: what is running, each route with its components, and how long its retries span."""

from __future__ import annotations

from collections.abc import Iterable

from loafer_core.api.provider import Traits
from loafer_core.api.route import Retry, Route
from loafer_core.app.build import BuiltRoute
from loafer_core.discovery.loader import Plugin

TRIES = 5
"""How many deliveries of a message that keeps failing the log reckons with."""


def environment(plugins: Iterable[Plugin], loop: object) -> str:
    """Say what is running: the core and its plugins with their versions, and the kind of event loop."""
    used = [f"{plugin.owner} {plugin.version}" for plugin in plugins if plugin.state == "ok"]
    kind = type(loop)
    return f"plugins {', '.join(used)}; event loop {kind.__module__}.{kind.__qualname__}"


def route_summary(built: BuiltRoute) -> str:
    """Say in one line which components a route has: ``sqs -> json -> shop:handle, errors to log; 10 at once``."""
    route = built.resolved
    way = f"{route.translator.label} -> {route.handler.label}"
    for middleware in reversed(route.middlewares):
        way = f"{middleware.label}({way})"
    if route.error_handlers:
        way += f", errors to {', '.join(handler.label for handler in route.error_handlers)}"
    return f"{route.provider.label} -> {way}; {route.route.concurrency} at once"


def retries(route: Route, traits: Traits) -> str:
    """Say how long a message that keeps failing is tried again."""
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
