"""What a run says of its routes at the start."""

from __future__ import annotations

import asyncio

import pytest

from loafer_core import MemoryProvider, Retry, Route, Traits, __version__
from loafer_core.app.build import Resolver, build_route
from loafer_core.app.startup_log import environment, retries, route_summary
from loafer_core.discovery.loader import load


def route(**more) -> Route:
    return Route("orders", **{"provider": "memory", "handler": "builtins:print", **more})


def said(**more) -> str:
    return route_summary(build_route(Resolver(load(env={}).registry, {}).route(route(**more))))


async def test_what_is_running_is_said_with_versions_and_the_event_loop():
    text = environment(load(env={"LOAFER_PLUGINS_DISABLE": "sqs"}).plugins, asyncio.get_running_loop())

    assert f"loafer-core/builtin {__version__}" in text
    assert "loafer-json/json" in text
    assert "loafer-sqs" not in text
    assert text.endswith(type(asyncio.get_running_loop()).__qualname__)


def test_the_components_of_a_route_are_said_in_one_line():
    assert said() == "memory -> text -> builtins:print; 10 at once"


def test_middlewares_are_shown_around_the_handler_and_error_handlers_beside_it():
    async def tenancy(message, call_next): ...

    async def timing(message, call_next): ...

    name = "test_middlewares_are_shown_around_the_handler_and_error_handlers_beside_it.<locals>."

    assert said(middleware=[tenancy, timing], error_handler=["log", "builtins:print"], concurrency=3) == (
        f"memory -> {name}tenancy({name}timing(text -> builtins:print)), errors to log, builtins:print; 3 at once"
    )


def test_objects_are_called_by_what_they_are():
    assert said(provider=MemoryProvider(), handler=print) == "MemoryProvider -> text -> print; 10 at once"


@pytest.mark.parametrize(
    ("retry", "traits", "text"),
    [
        (Retry(), Traits(), "after 15 s to 30 s at first; 5 tries span 3.75 min to 7.5 min"),
        (Retry(), Traits(lease=60.0), "after 30 s to 60 s at first; 5 tries span 7.5 min to 15 min"),
        (Retry(), Traits(lease=60.0, ordered=True), "after 30 s to 60 s at first; 5 tries span 2 min to 4 min"),
        (Retry(base=1, cap=2), Traits(), "after 0.5 s to 1 s at first; 5 tries span 3.5 s to 7 s"),
        (Retry(base=40_000, cap=80_000), Traits(), "after 5.56 h to 11.1 h at first; 5 tries span 38.9 h to 77.8 h"),
    ],
)
def test_how_long_the_retries_span_is_said_with_their_jitter(retry, traits, text):
    assert retries(route(retry=retry), traits) == f"what fails comes again {text}"


def test_without_a_nack_the_lease_is_what_delays():
    assert retries(route(retry="leave"), Traits(lease=30.0)) == "what fails comes again when its lease of 30 s ends"
    assert retries(route(retry="leave"), Traits()) == "what fails comes again when its lease ends"
