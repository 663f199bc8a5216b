"""Receiving for one route: as many messages as there are free slots, pollers by demand, back-off after trouble."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Protocol

from loafer_core.errors import CredentialError, ProviderError, SourceConfigError, Throttled
from loafer_core.message import Message
from loafer_core.observers import Observers
from loafer_core.protocols import Provider, Traits

logger = logging.getLogger("loafer.receiver")

GATHER = 0.05
"""Seconds that a receive waits for more slots to come free, once there is any."""
EMPTY_PACE = 0.2
"""Least seconds from the begin of a receive that brought nothing to the next one."""
REOPEN_AFTER = 3
"""CredentialErrors in a row after which the provider is closed and opened again."""


def back_off(error: BaseException, failures: int, rng: random.Random) -> float:
    """Seconds to wait after the ``failures``-th error in a row: exponential, full jitter over the upper nine tenths."""
    if isinstance(error, Throttled):
        base, cap = 1.0, 30.0
    elif isinstance(error, (CredentialError, SourceConfigError)):
        base, cap = 1.0, 60.0
    else:
        base, cap = 0.25, 20.0
    span = min(cap, base * 2 ** min(failures - 1, 20))
    return rng.uniform(span / 10, span)


class Lane(Protocol):
    """What the receiver needs to know of the lane that it receives for."""

    def room(self) -> int: ...  # slots that are free now; a breaker may make it less
    def accept(self, messages: Sequence[Message]) -> None: ...
    def was_empty(self, began: float) -> None: ...  # a receive that began then brought nothing
    def poller_ended(self, error: BaseException | None) -> None: ...  # an error is a bug of ours


class Receiver:
    """One poller always, more while receives come back full and slots are free, none without a slot."""

    def __init__(
        self,
        route: str,
        provider: Provider,
        traits: Traits,
        concurrency: int,
        lane: Lane,
        observers: Observers,
        rng: random.Random,
        reopen: Callable[[], Awaitable[None]],
    ) -> None:
        self._route, self._provider, self._traits, self._lane = route, provider, traits, lane
        self._observers, self._rng, self._reopen = observers, rng, reopen
        self._enough = min(traits.batch, max(1, concurrency // 2))
        self._share = max(traits.batch, -(-concurrency // traits.receives))
        self._reserved = 0
        self._failures = 0
        self._credential_failures = 0
        self._changed = asyncio.Event()
        self.receiving = True
        self.open: set[asyncio.Task[None]] = set()
        """Pollers; while stopping, each has a receive of its own open."""
        self.began = 0.0
        """When the newest receive was sent, and when one last succeeded; the loop's time."""
        self.last_success: float | None = None

    def start(self) -> None:
        self._spawn(self._poll(permanent=True))

    def changed(self) -> None:
        """A slot came free, or it is time to look again."""
        self._changed.set()

    def stop(self) -> None:
        """Send no new receive. Those that are open end by themselves."""
        self.receiving = False
        self._changed.set()

    def _spawn(self, poll: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(poll, name=f"{self._route}/receive")
        self.open.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.open.discard(task)
        if not task.cancelled():
            self._lane.poller_ended(task.exception())
        elif self.receiving and not self.open:
            # Somebody's handler cancelled every task it could find: a route does not fall silent for that.
            self.start()

    async def _poll(self, *, permanent: bool) -> None:
        loop = asyncio.get_running_loop()
        while await self._has_room(permanent):
            limit = min(self._free(), self._share)
            began = self.began = loop.time()
            self._reserved += limit
            try:
                messages = await self._provider.receive(limit)
            except Exception as error:
                await self._trouble(error)
                messages = None
            finally:
                self._reserved -= limit
            if messages is not None:
                self._arrived(messages, began)
            if messages and len(messages) >= min(limit, self._traits.batch):
                self._more()
            elif not permanent:
                return
            elif messages is not None and not messages:
                await self._wait(began + EMPTY_PACE - loop.time())

    def _arrived(self, messages: Sequence[Message], began: float) -> None:
        now = self.last_success = asyncio.get_running_loop().time()
        if self._failures:
            logger.info("%s: receiving again", self._route, extra={"route": self._route})
        self._failures = self._credential_failures = 0
        if self._observers.batch_received is not None:
            self._observers.batch_received(self._route, len(messages), now - began)
        if messages:
            self._lane.accept(messages)
        else:
            self._lane.was_empty(began)

    def _more(self) -> None:
        """A full answer: there is more where this came from."""
        if self.receiving and len(self.open) < self._traits.receives and self._free() >= self._enough:
            self._spawn(self._poll(permanent=False))

    def _free(self) -> int:
        return self._lane.room() - self._reserved

    async def _has_room(self, permanent: bool) -> bool:
        """Wait for slots that are worth a receive; False = no receive any more."""
        loop = asyncio.get_running_loop()
        since: float | None = None
        while self.receiving:
            free = self._free()
            if free >= self._enough:
                return True
            if free <= 0:
                since = None
                if not permanent:
                    return False
                await self._wait(None)
                continue
            since = loop.time() if since is None else since
            if loop.time() - since >= GATHER:
                return True
            await self._wait(since + GATHER - loop.time())
        return False

    async def _wait(self, seconds: float | None) -> None:
        """Until something changed, at most ``seconds``."""
        self._changed.clear()
        if seconds is not None and seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _pause(self, seconds: float) -> None:
        """For ``seconds``, whatever changes; a stop ends it."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self.receiving and loop.time() < end:
            await self._wait(end - loop.time())

    async def _trouble(self, error: Exception) -> None:
        self._failures += 1
        self._credential_failures = self._credential_failures + 1 if isinstance(error, CredentialError) else 0
        delay = back_off(error, self._failures, self._rng)
        level = logging.INFO if isinstance(error, Throttled) and self._failures < 5 else logging.ERROR
        logger.log(
            level,
            "%s: receive failed (%s: %s); next try in %.1f s",
            self._route,
            type(error).__name__,
            error,
            delay,
            exc_info=not isinstance(error, ProviderError),
            extra={"route": self._route},
        )
        if self._observers.provider_error is not None:
            self._observers.provider_error(self._route, error, delay)
        await self._pause(delay)
        if self._credential_failures >= REOPEN_AFTER and self.receiving:
            self._credential_failures = 0
            await self._reopen()
