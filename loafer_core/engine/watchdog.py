"""Silence is said: a late event loop, receives that do not come back, handlers that do not end; and the samples."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from loafer_core.delivery.deliveries import Deliveries
from loafer_core.engine.consumer import Consumer
from loafer_core.engine.receiver import Receiver
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.watchdog")

TICK = 1.0
"""Seconds between two looks at how late the loop is."""
LAG, LAG_SHARE = 1.0, 1 / 6
"""How late is worth a warning: a second, or this share of the shortest lease. A blocked loop extends none, and two more
stalls of that length would cost the first of them."""
LOOK_EVERY = 5.0
"""Seconds between two looks at the routes."""
WAITS, LEAST_SILENCE = 3.0, 30.0
"""Receives are silent when none succeeded, though slots were free, for three of the longest waits that one may take,
and for half a minute at least: one wait may go down with a dead connection, and so may the next."""
SLOWEST, LEAST_WORK = 3.0, 300.0
"""A handler is late when it takes three times as long as the slowest of the last 200 did, and five minutes at least:
longer than most leases, visibility timeouts and load balancers allow for one piece of work."""


class Watchdog:
    """Looks at every consumer of a dispatcher. What it has to say it says once, and once more when it is over."""

    def __init__(self, consumers: Sequence[Consumer], observers: Observers, sample_interval: float) -> None:
        self._consumers, self._observers, self._sample_interval = consumers, observers, sample_interval
        self._lag = 0.0

    def snapshot(self) -> Mapping[str, object]:
        """What observers' ``sample`` gets; all from counters that are kept anyway. Lag and ages in seconds."""
        now = asyncio.get_running_loop().time()
        return {
            "loop_lag": self._lag,
            "routes": {consumer.name: _sample(consumer, now) for consumer in self._consumers},
        }

    @property
    def most_lag(self) -> float:
        """Seconds that the loop may be late before that is worth a warning."""
        leases = [consumer.provider.traits.lease for consumer in self._consumers if consumer.state == "running"]
        return min([LAG, *(lease * LAG_SHARE for lease in leases if lease is not None)])

    async def watch(self) -> None:
        """Look, for ever. How late it wakes in between is the loop's lag, of which the worst is kept for a sample."""
        loop = asyncio.get_running_loop()
        watched = [_Watched(consumer, loop.time()) for consumer in self._consumers]
        look_at, sample_at = loop.time() + LOOK_EVERY, loop.time() + self._sample_interval
        while True:
            most = self.most_lag
            due = min(loop.time() + min(TICK, most), sample_at)
            await asyncio.sleep(due - loop.time())
            now = loop.time()
            self._lag = max(self._lag, now - due)
            if now - due > most:
                text = "the event loop was blocked for %.1f s: does an async handler call blocking code?"
                logger.warning(text, now - due)
            if now >= look_at:
                look_at = now + LOOK_EVERY
                for one in watched:
                    one.look(now)
            if now >= sample_at:
                sample_at = now + self._sample_interval
                if self._observers.sample is not None:
                    self._observers.sample(self.snapshot())
                self._lag = 0.0


class _Watched:
    """One consumer, and what was said of it."""

    def __init__(self, consumer: Consumer, now: float) -> None:
        self._consumer, self._heard = consumer, now
        self._is_silent = self._is_late = False

    def look(self, now: float) -> None:
        consumer = self._consumer
        if consumer.receiver is None or consumer.deliveries is None or consumer.state not in ("running", "degraded"):
            self._heard = now
            return
        self._look_at_receives(consumer.receiver, now)
        self._look_at_handlers(consumer.deliveries, now)

    def _look_at_receives(self, receiver: Receiver, now: float) -> None:
        consumer, wait = self._consumer, self._consumer.context.max_wait
        self._heard = now if consumer.room() <= 0 else max(self._heard, receiver.last_success or self._heard)
        is_silent = now - self._heard > max(WAITS * wait, LEAST_SILENCE)
        if is_silent and not self._is_silent:
            logger.warning(
                "%s: no receive has succeeded for %.0f s, though slots are free; the newest was sent %.0f s ago and "
                "may wait for %g s",
                consumer.name,
                now - self._heard,
                now - receiver.began,
                wait,
                extra={"route": consumer.name},
            )
        elif self._is_silent and not is_silent:
            logger.info("%s: receives are silent no longer", consumer.name, extra={"route": consumer.name})
        self._is_silent = is_silent

    def _look_at_handlers(self, deliveries: Deliveries, now: float) -> None:
        consumer, oldest, before = self._consumer, deliveries.oldest_running, deliveries.last_progress
        slowest, timeout = deliveries.durations.slowest, consumer.delivery.route.handler_timeout
        is_late = oldest is not None and now - oldest.started > max(SLOWEST * slowest, LEAST_WORK, timeout or 0.0)
        if oldest is not None and is_late and not self._is_late:
            logger.warning(
                "%s: message %s has been in its handler for %.0f s; %d in work, last outcome %s",
                consumer.name,
                oldest.message.id,
                now - oldest.started,
                consumer.in_work,
                "still to come" if before is None else f"{now - before:.0f} s ago",
                extra={"route": consumer.name, "message_id": oldest.message.id},
            )
        elif self._is_late and not is_late:
            logger.info("%s: no handler is late any more", consumer.name, extra={"route": consumer.name})
        self._is_late = is_late


def _sample(consumer: Consumer, now: float) -> Mapping[str, object]:
    def age(moment: float | None) -> float | None:
        return None if moment is None else now - moment

    receiver, deliveries = consumer.receiver, consumer.deliveries
    oldest = None if deliveries is None else deliveries.oldest_running
    return {
        "state": consumer.state,
        "in_work": consumer.in_work,
        "last_receive_age": age(None if receiver is None else receiver.last_success),
        "last_progress_age": age(None if deliveries is None else deliveries.last_progress),
        "oldest_handler_age": age(None if oldest is None else oldest.started),
        "account": asdict(consumer.account),
    }
