"""The built-in provider ``memory``: a queue in this process, for tests, demos and forwarding between routes.

It behaves as a real source does, down to lost answers (``fail_next``), and is the reference for the contract.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, cast, get_args

from pydantic import Field, model_validator

from loafer_core.api.errors import SourceConfigError, Unavailable
from loafer_core.api.message import Message
from loafer_core.api.options import Options
from loafer_core.api.provider import Context, Settled, Traits
from loafer_core.memory.queue import MOST_LEASE, MemoryQueue, QueueSettings

__all__ = ["MemoryOptions", "MemoryProvider", "MemoryQueue"]

Operation = Literal["open", "receive", "ack", "nack", "release", "extend", "reject", "publish"]
_SETTLEMENTS = ("ack", "nack", "release", "extend", "reject")

_LEAST_WAIT = 0.2
"""Least seconds that an empty receive waits: the contract wants at most five of them a second."""


class MemoryOptions(Options):
    """Options of the provider ``memory``."""

    queue: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the queue; one name is one queue in this process. Without: a queue of its own",
    )
    lease: float = Field(default=30.0, gt=0, le=MOST_LEASE, description="Seconds for which a message is ours")
    ordered: bool = Field(default=False, description="Keep the order within a group")
    max_receives: int | None = Field(
        default=None, ge=1, description="Receives after which a message goes to dead_letter instead"
    )
    dead_letter: str | None = Field(
        default=None, min_length=1, description="Name of the queue for what is given up or rejected"
    )
    wait: float = Field(
        default=20.0,
        ge=_LEAST_WAIT,
        allow_inf_nan=False,
        description="Most seconds that a receive waits for a first message",
    )
    messages: list[str] = Field(default=[], description="Bodies to put into the queue at the start")

    @model_validator(mode="after")
    def _has_a_way_out(self) -> Self:
        if self.max_receives is not None and self.dead_letter is None:
            raise ValueError("max_receives needs dead_letter, the name of the queue that then takes the message")
        if self.dead_letter is not None and self.dead_letter == self.queue:
            raise ValueError(f"dead_letter {self.dead_letter!r} is the queue itself; name another one")
        return self


@dataclass(slots=True)
class _Fault:
    """What one call of ``fail_next`` asked for."""

    error: Exception | Settled | Mapping[str, Settled | None]
    after: bool
    """The work is done before the answer is lost."""
    times: int
    """Calls that are still to go wrong."""

    def concerns(self, messages: Sequence[Message]) -> bool:
        """Tell whether a call for these messages goes wrong: one by id concerns no call without any of its ids."""
        return not isinstance(self.error, Mapping) or any(message.id in self.error for message in messages)

    def strike(self, *, after: bool) -> None:
        """Raise the error that was asked for, if this is the moment: before or after the work."""
        if isinstance(self.error, Exception) and self.after is after:
            raise self.error

    def answer(self, message: Message, apply: Callable[[Message], Settled]) -> Settled | None:
        """Give the answer for one message; None: it is missing from the answers. ``apply`` does the real work."""
        if isinstance(self.error, Mapping) and message.id not in self.error:
            return apply(message)
        if self.after:
            apply(message)
        if isinstance(self.error, Mapping):
            return self.error[message.id]
        return self.error if isinstance(self.error, Settled) else None


class MemoryProvider:
    """Consumes one MemoryQueue. Several on one queue compete.

    Args:
        options: as in a configuration; a named queue is shared with everybody who names it.
        queue: the queue itself, in place of options. Neither: a new one, found as ``provider.queue``.

    Raises:
        TypeError: both options and a queue.
        ConfigError: the named queue has other settings already.
    """

    def __init__(self, options: MemoryOptions | None = None, *, queue: MemoryQueue | None = None) -> None:
        if options is not None and queue is not None:
            raise TypeError("MemoryProvider(options) or MemoryProvider(queue=...), not both")
        options = options or MemoryOptions()
        self.queue = queue or _queue(options)
        self.traits = self._traits()
        self._most_wait = options.wait
        self._wait = self._most_wait
        self._unsent = list(options.messages)
        self._faults: dict[str, list[_Fault]] = {operation: [] for operation in get_args(Operation)}
        self._wake: asyncio.Event | None = None
        """Set when a receive has to look again. ``open`` makes it anew, for the loop that runs then; ``close`` drops
        it, so that a receive of before can tell that it is over."""
        self._stopped = False

    def _traits(self) -> Traits:
        return Traits(
            lease=self.queue.lease,
            lease_total=MOST_LEASE,
            ordered=self.queue.ordered,
            stable_ids=True,
            max_delay=MOST_LEASE,
            batch=10,
            linger=0.01,
            receives=4,
            rejects=self.queue.dead_letter is not None,
        )

    async def open(self, context: Context) -> None:
        """Begin, or begin again. Only the first ``open`` sends ``MemoryOptions.messages``."""
        await self.close()
        fault = self._fault("open")
        self.traits = self._traits()
        self._wait = min(self._most_wait, context.max_wait)
        self._stopped = False
        self._wake = asyncio.Event()
        self.queue.watch(self._wake.set)
        while self._unsent:
            self.queue.send(self._unsent.pop(0))
        fault.strike(after=True)

    async def receive(self, limit: int) -> Sequence[Message]:
        """Give the messages that are there; wait for one, at most ``MemoryOptions.wait`` and ``context.max_wait``."""
        await asyncio.sleep(0)
        wake = self._wake
        if wake is None:
            raise Unavailable(f"{self.queue!r}: the provider is not open")
        fault = self._fault("receive")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._wait
        messages: Sequence[Message] = ()
        # Nothing is awaited between taking messages and handing them out: a receive that is cancelled loses none.
        while wake is self._wake and not self._stopped:
            wake.clear()
            messages = self.queue.receive(limit)
            left = deadline - loop.time()
            if messages or left <= 0:
                break
            change = self.queue.next_change()
            try:
                async with asyncio.timeout(left if change is None else min(left, change)):
                    await wake.wait()
            except TimeoutError:
                pass
        fault.strike(after=True)
        return messages

    async def ack(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        return await self._settle("ack", messages, lambda message: self.queue.delete(message.receipt))

    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]:
        return await self._settle(
            "nack", list(delays), lambda message: self.queue.nack(message.receipt, delays[message])
        )

    async def release(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        return await self._settle("release", messages, lambda message: self.queue.release(message.receipt))

    async def extend(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        return await self._settle("extend", messages, lambda message: self.queue.extend(message.receipt))

    async def reject(self, messages: Sequence[Message], reason: str) -> Mapping[Message, Settled]:
        if self.queue.dead_letter is None:
            raise SourceConfigError(f"{self.queue!r} has no dead_letter queue to reject to")
        return await self._settle("reject", messages, lambda message: self.queue.reject(message.receipt, reason))

    async def publish(
        self, body: str | bytes, attributes: Mapping[str, str | bytes] | None = None, group: str | None = None
    ) -> str:
        await asyncio.sleep(0)
        fault = self._fault("publish")
        id_ = self.queue.send(body, attributes, group)
        fault.strike(after=True)
        return id_

    async def measure(self) -> Mapping[str, float]:
        """Counts ``depth``, ``in_flight`` and ``delayed``; ``oldest_age`` in seconds."""
        queue = self.queue
        return {
            "depth": queue.depth,
            "in_flight": queue.in_flight,
            "delayed": queue.delayed,
            "oldest_age": queue.oldest_age,
        }

    async def stop(self) -> None:
        self._stopped = True
        if self._wake is not None:
            self._wake.set()

    async def close(self) -> None:
        wake = self._wake
        if wake is not None:
            self._wake = None
            self.queue.unwatch(wake.set)
            wake.set()

    def fail_next(
        self,
        operation: Operation,
        error: Exception | Settled | Mapping[str, Settled | None],
        *,
        times: int = 1,
        after: bool = False,
    ) -> None:
        """Let the next ``times`` calls of ``operation`` go wrong. Several faults strike one after the other.

        Args:
            operation: open, receive, ack, nack, release, extend, reject or publish.
            error: an exception, which is raised in place of the work; or, for what settles, the answer: one for all
                messages of the call, or one for each id (None: the id is missing from the answer), where other ids
                are settled as usual and a call without any of them does not count.
            after: do the work first, and then lose the answer.

        Raises:
            ValueError, TypeError: there is no such operation, or it cannot fail in that way.
        """
        if operation not in self._faults:
            raise ValueError(f"fail_next({operation!r}): one of {', '.join(self._faults)}")
        if operation not in _SETTLEMENTS and not isinstance(error, Exception):
            raise TypeError(f"fail_next({operation!r}, {error!r}): an exception, it has no other answer to give")
        if times < 1:
            raise ValueError(f"fail_next({operation!r}, times={times}): 1 or more")
        self._faults[operation].append(_Fault(error, after, times))

    def _fault(self, operation: Operation, messages: Sequence[Message] = ()) -> _Fault:
        """Give the fault that this call meets; one that changes nothing, where none was asked for."""
        faults = self._faults[operation]
        for fault in faults:
            if fault.concerns(messages):
                fault.times -= 1
                if not fault.times:
                    faults.remove(fault)
                fault.strike(after=False)
                return fault
        return _Fault({}, after=False, times=0)

    async def _settle(
        self, operation: Operation, messages: Sequence[Message], apply: Callable[[Message], Settled]
    ) -> Mapping[Message, Settled]:
        await asyncio.sleep(0)
        fault = self._fault(operation, messages)
        answers = {message: fault.answer(message, apply) for message in messages}
        fault.strike(after=True)
        return {message: answer for message, answer in answers.items() if answer is not None}


def _queue(options: MemoryOptions) -> MemoryQueue:
    """Give the queue that the options mean.

    An option that was left out is no setting of the queue: another route may name it without repeating all of them.
    """
    written = options.model_dump(include=options.model_fields_set & {"lease", "ordered", "max_receives"})
    settings = cast(QueueSettings, written)
    if options.dead_letter is not None:
        settings["dead_letter"] = MemoryQueue.named(options.dead_letter)
    return MemoryQueue(**settings) if options.queue is None else MemoryQueue.named(options.queue, **settings)
