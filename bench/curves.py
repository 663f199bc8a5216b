"""How cost grows: the same consumer with more routes, more in flight, larger bodies, longer queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.lineup import PIPELINE, RAW
from bench.scenarios import Route, Scenario


@dataclass(frozen=True)
class Curve:
    """``x``: what grows; ``at``: the scenario there. ``beside``: a loop written by hand to show with it, or nobody."""

    name: str
    label: str
    x: Sequence[int]
    at: Callable[[int], Scenario]
    beside: str = ""

    def scenarios(self) -> dict[int, Scenario]:
        return {x: self.at(x) for x in self.x}


def _routes(count: int) -> Scenario:
    routes = tuple(Route(f"r{number}", 20_000 // count) for number in range(count))
    return Scenario(f"routes-{count}", f"{count} routes", routes, concurrency=None, late=True, watched=count)


def _in_flight(count: int) -> Scenario:
    route = Route("jobs", min(12_000, max(60, count * 80)), 0.05)
    return Scenario(f"in-flight-{count}", f"{count} at once", (route,), latency=0.005, concurrency=count)


def _bodies(size: int) -> Scenario:
    route = Route("jobs", max(400, min(10_000, 64_000_000 // size)), size=size)
    return Scenario(f"bodies-{size}", f"bodies of {size} bytes", (route,))


def _queued(count: int) -> Scenario:
    return Scenario(f"queued-{count}", f"{count} queued", (Route("jobs", count),), late=True, limit=900.0)


CURVES = {
    "routes": Curve("routes", "routes", (1, 2, 5, 10, 20, 50, 100, 200, 500), _routes),
    "in-flight": Curve(
        "in-flight", "messages in flight", (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000), _in_flight, PIPELINE
    ),
    "bodies": Curve("bodies", "bytes of a body", (100, 1_024, 4_096, 16_384, 65_536, 262_144), _bodies, RAW),
    "queued": Curve("queued", "messages queued", (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000), _queued, RAW),
}
