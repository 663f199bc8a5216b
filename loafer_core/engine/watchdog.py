"""Warns of silence: a late event loop, receives that do not come back, handlers that do not end. Takes the samples."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from loafer_core.observability.health import RouteHealth
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.watchdog")

TICK = 1.0
"""Seconds between two looks at how late the loop is."""

LAG = 1.0
"""Seconds that the loop may be late before that is worth a warning."""

LAG_SHARE = 1 / 6
"""The same as a share of the shortest lease, where that is less. A blocked loop extends no lease, and if it is blocked
twice more for as long, the first lease is lost."""

LOOK_EVERY = 5.0
"""Seconds between two looks at the routes."""

WAITS = 3.0
"""Receives are silent when none succeeded, though slots were free, for this many of the longest waits that one may
take: one wait may go down with a dead connection, and so may the next."""

LEAST_SILENCE = 30.0
"""Seconds below which nothing counts as silence."""

SLOWEST = 3.0
"""A handler is late when it takes this many times as long as the slowest of the last ones did."""

LEAST_WORK = 300.0
"""Seconds below which no handler counts as late: longer than most leases, visibility timeouts and load balancers allow
for one piece of work."""


class Watchdog:
    """Looks at the routes' health. Warns once when trouble begins, and says once when it is over."""

    def __init__(
        self, health: Callable[[], Sequence[RouteHealth]], observers: Observers, sample_interval: float
    ) -> None:
        """``health`` tells how every route is now."""
        self._health, self._observers, self._sample_interval = health, observers, sample_interval
        self._lag = 0.0
        """The worst since the last sample."""

    def snapshot(self) -> Mapping[str, object]:
        """What observers' ``sample`` gets; all from counters that are kept anyway. Lag and ages in seconds."""
        return {"loop_lag": self._lag, "routes": {route.route: route.sample() for route in self._health()}}

    def most_lag(self) -> float:
        """Seconds that the loop may be late before that is worth a warning."""
        leases = [route.lease for route in self._health() if route.state == "running" and route.lease is not None]
        return min([LAG, *(lease * LAG_SHARE for lease in leases)])

    async def watch(self) -> None:
        """Look, for ever. How late it wakes in between is the loop's lag."""
        loop = asyncio.get_running_loop()
        watched = [_Watched(route, loop.time()) for route in self._health()]
        most = self.most_lag()
        look_at = loop.time() + LOOK_EVERY
        sample_at = loop.time() + self._sample_interval
        while True:
            due = min(loop.time() + min(TICK, most), sample_at)
            await asyncio.sleep(due - loop.time())
            now = loop.time()
            self._lag = max(self._lag, now - due)
            if now - due > most:
                text = "the event loop was blocked for %.1f s: does an async handler call blocking code?"
                logger.warning(text, now - due)
            if now >= look_at:
                look_at = now + LOOK_EVERY
                most = self.most_lag()
                for one, route in zip(watched, self._health(), strict=True):
                    one.look(route, now)
            if now >= sample_at:
                sample_at = now + self._sample_interval
                if self._observers.sample is not None:
                    self._observers.sample(self.snapshot())
                self._lag = 0.0


class _Watched:
    """What was said of one route."""

    def __init__(self, route: RouteHealth, now: float) -> None:
        self._name, self._facts = route.route, {"route": route.route}
        self._heard_at = now
        """When a receive last succeeded, or when there was last no free slot to receive for."""
        self._is_silent = self._is_late = False

    def look(self, route: RouteHealth, now: float) -> None:
        if not route.receives:
            self._heard_at = now
            return
        self._look_at_receives(route, now)
        self._look_at_handlers(route)

    def _look_at_receives(self, route: RouteHealth, now: float) -> None:
        if route.free <= 0:
            self._heard_at = now
        elif route.last_receive_age is not None:
            self._heard_at = max(self._heard_at, now - route.last_receive_age)
        silence = now - self._heard_at
        is_silent = silence > max(WAITS * route.longest_receive, LEAST_SILENCE)
        if is_silent and not self._is_silent:
            newest = "none was sent yet"
            if route.newest_receive_age is not None:
                newest = f"the newest was sent {route.newest_receive_age:.0f} s ago"
            logger.warning(
                "%s: no receive has succeeded for %.0f s, though slots are free; %s and may wait for %g s",
                self._name,
                silence,
                newest,
                route.longest_receive,
                extra=self._facts,
            )
        elif self._is_silent and not is_silent:
            logger.info("%s: receives are silent no longer", self._name, extra=self._facts)
        self._is_silent = is_silent

    def _look_at_handlers(self, route: RouteHealth) -> None:
        oldest, before = route.oldest_handler, route.last_progress_age
        most = max(SLOWEST * route.slowest_handler, LEAST_WORK, route.handler_timeout or 0.0)
        is_late = oldest is not None and oldest.age > most
        if oldest is not None and is_late and not self._is_late:
            logger.warning(
                "%s: message %s has been in its handler for %.0f s; %d in work, last outcome %s",
                self._name,
                oldest.message_id,
                oldest.age,
                route.in_work,
                "still to come" if before is None else f"{before:.0f} s ago",
                extra={**self._facts, "message_id": oldest.message_id},
            )
        elif self._is_late and not is_late:
            logger.info("%s: no handler is late any more", self._name, extra=self._facts)
        self._is_late = is_late
