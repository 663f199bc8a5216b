"""What a consumer is put to. Durations are seconds, sizes bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

WAIT = 20.0
"""The long poll of every consumer that has one."""


@dataclass(frozen=True)
class Route:
    """A queue with ``count`` messages, and a handler that waits for ``seconds``, as for I/O."""

    queue: str
    count: int
    seconds: float = 0.0
    size: int = 200


@dataclass(frozen=True)
class Scenario:
    """The first route is the one that is measured, or the first ``watched``.

    ``late``: messages come once every route waits for them, and all is measured from then to the last delete; else they
    are there from the start, and neither the first connections nor the last stragglers count.
    ``concurrency``: handlers at once on each route; None is the consumer's own default. ``limit``: the run ends then,
    done or not. ``kind``: work until the queue is empty; look at the idleness after that; or SIGTERM in mid-work.
    """

    name: str
    title: str
    routes: tuple[Route, ...]
    latency: float = 0.0
    concurrency: int | None = 100
    kind: Literal["work", "idle", "stop"] = "work"
    limit: float = 60.0
    late: bool = False
    watched: int = 1

    @property
    def count(self) -> int:
        """Messages of the routes that are measured."""
        return sum(route.count for route in self.routes[: self.watched])

    @property
    def possible(self) -> float:
        """Messages a second that the handlers allow; 0 where they do not wait."""
        seconds = self.routes[0].seconds
        return (self.concurrency or 0) / seconds if seconds else 0.0

    def sized(self, share: float) -> Scenario:
        """With so much of the messages, for consumers that would take too long."""
        first, *others = self.routes
        count = max(min(40, first.count), int(first.count * share))
        return replace(self, routes=(replace(first, count=count), *others))


NO_OP = Scenario("no-op", "A handler that does nothing, a server without latency", (Route("jobs", 20_000),))
NO_OP_10 = replace(
    NO_OP, name="no-op-10", title="The same with the default concurrency of Loafer, 10", concurrency=None
)
WAITING = Scenario(
    "waiting", "Handlers that wait 50 ms, 100 at once, 5 ms of latency", (Route("jobs", 10_000, 0.05),), latency=0.005
)
WAITING_120 = replace(
    WAITING,
    name="waiting-120",
    title="The same with 120 slots, so that some can wait for their next message",
    concurrency=120,
)
BESIDE = Scenario(
    "beside",
    "A fast route beside one whose handlers take 1 s",
    (Route("jobs", 10_000), Route("slow", 5_000, 1.0)),
    latency=0.005,
    limit=15.0,
)
ALONE = replace(
    BESIDE,
    name="alone",
    title="The fast route, the slow one has nothing to do",
    routes=(Route("jobs", 10_000), Route("slow", 0, 1.0)),
)
IDLE = Scenario("idle", "An empty queue, after 1,000 messages", (Route("jobs", 1_000),), kind="idle", limit=2 * WAIT)
STOP = Scenario(
    "stop",
    "SIGTERM in mid-work: handlers that wait 50 ms, 5 ms of latency",
    (Route("jobs", 20_000, 0.05),),
    latency=0.005,
    kind="stop",
    limit=1.5,
)
SCENARIOS = {each.name: each for each in (NO_OP, NO_OP_10, WAITING, WAITING_120, BESIDE, ALONE, IDLE, STOP)}
