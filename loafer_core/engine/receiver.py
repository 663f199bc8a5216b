"""Receiving for one route: as many messages as there are free slots, pollers by demand, back-off after trouble."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

from loafer_core._tasks import is_cancel
from loafer_core.api.errors import CredentialError, ProviderError, SourceConfigError, Throttled
from loafer_core.api.message import Message
from loafer_core.api.provider import Provider, Traits
from loafer_core.observability.observers import Observers

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
    """What the receiver needs to know of the consumer that it receives for."""

    def room(self) -> int: ...  # slots that are free now; a breaker may make it less
    def accept(self, messages: Sequence[Message]) -> None: ...
    def was_empty(self, began: float) -> None: ...  # a receive that began then brought nothing
    def turned(
        self, state: Literal["running", "degraded"]
    ) -> None: ...  # receiving works again, or fails for some time
    def receive_ended(self, error: BaseException | None) -> None: ...  # an error is a bug of ours


class Receiver:
    """One receive open always, more while they come back full and slots are free, none without a slot."""

    def __init__(
        self,
        route: str,
        provider: Provider,
        traits: Traits,
        concurrency: int,
        consumer: Lane,
        observers: Observers,
        rng: random.Random,
        reopen: Callable[[], Awaitable[None]],
    ) -> None:
        self._route, self._provider, self._traits, self._consumer = route, provider, traits, consumer
        self._observers, self._rng, self._reopen = observers, rng, reopen
        self._enough = min(traits.batch, max(1, concurrency // 2))
        self._share = max(traits.batch, -(-concurrency // traits.receives))
        self._loop = asyncio.get_running_loop()
        self._reserved = 0
        """Slots that open receives may fill."""
        self._failures = 0
        self._credential_failures = 0
        self._not_before = 0.0
        self._gathering_since: float | None = None
        """When a slot came free that no receive was sent for yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._looks_soon = False
        self._context = contextvars.copy_context()
        self._reopening: asyncio.Task[None] | None = None
        self._has_more = False
        """The newest answer was full: there is more where it came from."""
        self.receiving = True
        self.open: set[asyncio.Task[None]] = set()
        """The receives that are under way."""
        self.began = 0.0
        """When the newest receive was sent, and when one last succeeded; the loop's time."""
        self.last_success: float | None = None

    def changed(self) -> None:
        """A slot came free, or it is time to look again; others may come free before we do."""
        if self._looks_soon or not self._may_send():
            return
        if self._free() >= (1 if self._timer is None else self._enough):
            self._looks_soon = True
            # Not in the context of the handler that happened to end just now: receives would inherit it.
            self._loop.call_soon(self._look_again, context=self._context)

    def stop(self) -> None:
        """Send no new receive. Those that are open end by themselves."""
        self.receiving = False
        self._set_timer(None)
        if self._reopening is not None:
            self._reopening.cancel()

    # --- when a receive is worth it

    def look(self) -> None:
        """Send what receives the free slots are worth, or see to it that they are looked at again."""
        due = None
        while self._may_send():
            due = self._due()
            if due is None or due > self._loop.time():
                break
            due = self._gathering_since = None
            self._start()
        self._set_timer(due)

    def _may_send(self) -> bool:
        return self.receiving and (not self.open or (self._has_more and len(self.open) < self._traits.receives))

    def _free(self) -> int:
        return self._consumer.room() - self._reserved

    def _due(self) -> float | None:
        """When to send the next receive; None: when there is a slot for it."""
        free = self._free()
        if free <= 0:
            self._gathering_since = None
            return None
        if free >= self._enough:
            return self._not_before
        if self._gathering_since is None:
            self._gathering_since = self._loop.time()
        return max(self._not_before, self._gathering_since + GATHER)

    def _set_timer(self, due: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_at(due, self._look_again)

    def _look_again(self) -> None:
        self._looks_soon = False
        self.look()

    # --- one receive

    def _start(self) -> None:
        limit = min(self._free(), self._share)
        self._reserved += limit
        task = self._loop.create_task(self._poll(limit), name=f"{self._route}/receive")
        self.open.add(task)
        task.add_done_callback(functools.partial(self._ended, limit))

    def _ended(self, limit: int, task: asyncio.Task[None]) -> None:
        # A callback, not the task itself: it runs however the task ends, cancelled by a stranger before it began, too.
        self._reserved -= limit
        self.open.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.receiving = False
        self._consumer.receive_ended(error)
        self.look()

    async def _poll(self, limit: int) -> None:
        messages: Sequence[Message] = ()
        began = self._loop.time()
        if not self.receiving or began < self._not_before:
            return  # something came between the look and this step
        self.began = began
        try:
            messages = await self._receive(limit)
        except (Exception, asyncio.CancelledError) as error:
            if is_cancel(error):
                raise
            self._trouble(error)
        else:
            self._succeeded(len(messages), began)
        self._has_more = len(messages) >= min(limit, self._traits.batch)
        if messages:
            self._consumer.accept(messages)

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
        now = self.last_success = self._loop.time()
        if self._failures:
            logger.info("%s: receiving again", self._route, extra={"route": self._route})
            self._consumer.turned("running")
        self._failures = self._credential_failures = 0
        if self._observers.batch_received is not None:
            self._observers.batch_received(self._route, count, now - began)
        if not count:
            self._not_before = max(self._not_before, began + EMPTY_PACE)
            self._consumer.was_empty(began)

    def _trouble(self, error: BaseException) -> None:
        self._failures += 1
        if isinstance(error, CredentialError):
            self._credential_failures += 1
        elif self._credential_failures < REOPEN_AFTER:
            self._credential_failures = 0
        if isinstance(error, (CredentialError, SourceConfigError)) or self._failures >= DEGRADED_AFTER:
            self._consumer.turned("degraded")
        delay = back_off(error, self._failures, self._rng)
        self._not_before = max(self._not_before, self._loop.time() + delay)
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
