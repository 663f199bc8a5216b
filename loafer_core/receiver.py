"""Receiving for one route: as many messages as there are free slots, pollers by demand, back-off after trouble."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

from loafer_core.chores import is_cancel
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
DEGRADED_AFTER = 3
"""Errors in a row after which the route counts as degraded; refused credentials or a missing source do at once."""
QUIET_THROTTLES = 5
"""Throttled in a row that are no error yet."""


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
    def turned(
        self, state: Literal["running", "degraded"]
    ) -> None: ...  # receiving works again, or fails for some time
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
        self._not_before = 0.0
        self._reopening: asyncio.Task[None] | None = None
        self._has_more = False
        """The newest answer was full: there is more where it came from."""
        self._waits, self._wanted = False, math.inf
        """A poller waits for slots, and from how many on it is to be woken."""
        self._changed = asyncio.Event()
        self.receiving = True
        self.open: set[asyncio.Task[None]] = set()
        """Pollers; while stopping, each has a receive of its own open."""
        self.began = 0.0
        """When the newest receive was sent, and when one last succeeded; the loop's time."""
        self.last_success: float | None = None

    def start(self) -> None:
        """Begin to receive; also one poller more."""
        task = asyncio.get_running_loop().create_task(self._poll(), name=f"{self._route}/receive")
        self.open.add(task)
        task.add_done_callback(self._ended)

    def changed(self) -> None:
        """A slot came free, or it is time to look again."""
        if self._waits and self._free() >= self._wanted:
            self._changed.set()

    def stop(self) -> None:
        """Send no new receive. Those that are open end by themselves."""
        self.receiving = False
        self._changed.set()
        if self._reopening is not None:
            self._reopening.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.open.discard(task)
        error = None if task.cancelled() else task.exception()
        self._lane.poller_ended(error)
        if error is None and self.receiving and not self.open:
            # Two ended at the same moment, or somebody's handler cancelled every task that it could find.
            self.start()

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        while await self._has_room():
            limit = min(self._free(), self._share)
            messages: Sequence[Message] = ()
            began = self.began = loop.time()
            self._reserved += limit
            self._more()
            try:
                messages = await self._receive(limit)
            except (Exception, asyncio.CancelledError) as error:
                if is_cancel(error):
                    raise
                self._trouble(error)
            else:
                self._succeeded(len(messages), began)
            finally:
                self._reserved -= limit
            if messages:
                self._lane.accept(messages)
            self._has_more = len(messages) >= min(limit, self._traits.batch)

    async def _receive(self, limit: int) -> Sequence[Message]:
        if self._credential_failures >= REOPEN_AFTER:
            self._reopening = asyncio.current_task()
            try:
                await self._reopen()
            finally:
                self._reopening = None
            self._credential_failures = 0
        messages: object = await self._provider.receive(limit)
        if isinstance(messages, Sequence) and all(isinstance(message, Message) for message in messages):
            return messages
        raise TypeError(f"receive() returned {type(messages).__name__}, not a sequence of Message")

    def _succeeded(self, count: int, began: float) -> None:
        now = self.last_success = asyncio.get_running_loop().time()
        if self._failures:
            logger.info("%s: receiving again", self._route, extra={"route": self._route})
            self._lane.turned("running")
        self._failures = self._credential_failures = 0
        if self._observers.batch_received is not None:
            self._observers.batch_received(self._route, count, now - began)
        if not count:
            self._not_before = max(self._not_before, began + EMPTY_PACE)
            self._lane.was_empty(began)

    def _trouble(self, error: BaseException) -> None:
        self._failures += 1
        if isinstance(error, CredentialError):
            self._credential_failures += 1
        elif self._credential_failures < REOPEN_AFTER:
            self._credential_failures = 0
        if isinstance(error, (CredentialError, SourceConfigError)) or self._failures >= DEGRADED_AFTER:
            self._lane.turned("degraded")
        delay = back_off(error, self._failures, self._rng)
        self._not_before = max(self._not_before, asyncio.get_running_loop().time() + delay)
        level = logging.INFO if isinstance(error, Throttled) and self._failures < QUIET_THROTTLES else logging.ERROR
        logger.log(
            level,
            "%s: receive failed (%s: %s); next try in %.1f s",
            self._route,
            type(error).__name__,
            error,
            delay,
            exc_info=None if isinstance(error, ProviderError) else error,
            extra={"route": self._route},
        )
        if self._observers.provider_error is not None:
            self._observers.provider_error(self._route, error, delay)

    def _more(self) -> None:
        """While answers come back full, one poller waits for the next slots beside those that receive."""
        if self._has_more and self.receiving and not self._waits and len(self.open) < self._traits.receives:
            self.start()

    def _free(self) -> int:
        return self._lane.room() - self._reserved

    async def _has_room(self) -> bool:
        """Wait for slots that are worth a receive; False = this poller is one too many, or we stop."""
        if self._waits:
            return False
        loop = asyncio.get_running_loop()
        gathered: float | None = None
        while self.receiving and (self._has_more or len(self.open) == 1):
            now, free = loop.time(), self._free()
            if now < self._not_before:
                await self._wait(math.inf, self._not_before - now)
            elif free >= self._enough:
                return True
            elif free <= 0:
                await self._wait(1, None)
            elif gathered is None or now < gathered:
                gathered = now + GATHER if gathered is None else gathered
                await self._wait(self._enough, gathered - now)
            else:
                return True
        return False

    async def _wait(self, slots: float, seconds: float | None) -> None:
        """Until so many slots are free, at most ``seconds``."""
        self._waits, self._wanted = True, slots
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self._waits, self._wanted = False, math.inf
