"""Receiving for one route: as many messages as there are free slots, receives by demand, back-off after trouble."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from loafer_core._tasks import is_cancel
from loafer_core.api.errors import CredentialError, ProviderError, SourceConfigError, Throttled
from loafer_core.api.message import Message
from loafer_core.api.provider import Provider, Traits
from loafer_core.delivery.deliveries import Deliveries
from loafer_core.delivery.emptiness import Emptiness
from loafer_core.engine.backoff import back_off
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


class Receiver:
    """One receive open always, more while they come back full and slots are free, none without a slot."""

    def __init__(
        self,
        route: str,
        concurrency: int,
        provider: Provider,
        traits: Traits,
        deliveries: Deliveries,
        emptiness: Emptiness,
        *,
        observers: Observers,
        rng: random.Random,
        reopen: Callable[[], Awaitable[None]],
        on_state: Callable[[Literal["running", "degraded"]], None],
        on_end: Callable[[], None],
        on_bug: Callable[[BaseException], None],
    ) -> None:
        """Send no receive yet: ``look`` does.

        Args:
            route: its name.
            concurrency: its slots.
            provider: is asked for messages.
            traits: the provider's, as they are now that it is open.
            deliveries: says how many slots are free, and gets what comes.
            emptiness: is told of receives that brought nothing, and of messages.
            observers: are told of batches and errors.
            rng: for jitter.
            reopen: closes the provider and opens it again.
            on_state: receiving works again, or has failed for some time.
            on_end: a receive has ended, however.
            on_bug: called with what must not have been raised; nothing is received any more then.
        """
        self._route, self._provider, self._traits = route, provider, traits
        self._deliveries, self._emptiness = deliveries, emptiness
        self._observers, self._rng, self._reopen = observers, rng, reopen
        self._on_state, self._on_end, self._on_bug = on_state, on_end, on_bug
        self._enough = min(traits.batch, max(1, concurrency // 2))
        """Free slots that are worth a receive at once."""
        self._share = max(traits.batch, -(-concurrency // traits.receives))
        """Most messages that one receive may bring, so that others find slots, too."""
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._reserved = 0
        """Slots that open receives may fill."""
        self._gathering_since: float | None = None
        """When a slot came free that no receive was sent for yet."""
        self._timer: asyncio.TimerHandle | None = None
        self._looks_soon = False
        self._failures = 0
        self._credential_failures = 0
        self._not_before = 0.0
        """The loop's time before which no receive is sent: back-off, and a pace for empty ones."""
        self._reopening: asyncio.Task[None] | None = None
        self._has_more = False
        """The newest answer was full: there is more where it came from."""
        self.receiving = True
        self.open: set[asyncio.Task[None]] = set()
        """The receives that are under way."""
        self.began: float | None = None
        """When the newest receive was sent. The loop's time."""
        self.last_success: float | None = None
        """When a receive last succeeded. The loop's time."""

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
        return self._deliveries.room() - self._reserved

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
        # A callback, not the task itself, takes note of the end: it runs however the task ends, cancelled by a stranger
        # before it began, too.
        task.add_done_callback(functools.partial(self._ended, limit))

    def _ended(self, limit: int, task: asyncio.Task[None]) -> None:
        self._reserved -= limit
        self.open.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.receiving = False
            self._on_bug(error)
        self._on_end()
        self.look()

    async def _poll(self, limit: int) -> None:
        messages: Sequence[Message] = ()
        began = self._loop.time()
        if not self.receiving or began < self._not_before:
            return  # a stop or a back-off came between the scheduling and this step
        self.began = began
        try:
            messages = await self._receive(limit)
        except (Exception, asyncio.CancelledError) as error:
            if is_cancel(error):
                raise
            self._failed(error)
        else:
            self._succeeded(len(messages), began)
        self._has_more = len(messages) >= min(limit, self._traits.batch)
        if messages:
            self._emptiness.something_comes()
            self._deliveries.accept(messages)

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
        now = self._loop.time()
        self.last_success = now
        if self._failures:
            logger.info("%s: receiving again", self._route, extra={"route": self._route})
            self._on_state("running")
        self._failures = 0
        self._credential_failures = 0
        if self._observers.batch_received is not None:
            self._observers.batch_received(self._route, count, now - began)
        if not count:
            self._not_before = max(self._not_before, began + EMPTY_PACE)
            self._emptiness.received_nothing(began, len(self._deliveries))

    def _failed(self, error: BaseException) -> None:
        self._failures += 1
        if isinstance(error, CredentialError):
            self._credential_failures += 1
        elif self._credential_failures < REOPEN_AFTER:
            self._credential_failures = 0
        if isinstance(error, (CredentialError, SourceConfigError)) or self._failures >= DEGRADED_AFTER:
            self._on_state("degraded")
        delay = back_off(error, self._failures, self._rng)
        self._not_before = max(self._not_before, self._loop.time() + delay)
        is_no_error_yet = isinstance(error, Throttled) and self._failures < QUIET_THROTTLES
        logger.log(
            logging.INFO if is_no_error_yet else logging.ERROR,
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
