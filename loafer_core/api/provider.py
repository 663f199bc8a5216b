"""The contract between the core and a provider, on one page: the docstrings are the contract, and the kit checks them.

A provider is an adapter to one source. Read ``Provider`` (what it does), ``Traits`` (what it says of itself),
``Context`` (what it can ask of the core) and the capabilities below it (what it may do besides). ``message.py`` has
``Message``, and ``errors.py`` what a provider raises.

Durations are seconds, as floats. Any object of the right shape will do: nobody has to inherit from a protocol.
"""

from __future__ import annotations

import abc
import enum
import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from loafer_core.api.errors import Finding
    from loafer_core.api.message import Message

R = TypeVar("R")


class Settled(enum.Enum):
    """What became of one settlement: of an ack, nack, release, reject or extend of one delivery."""

    DONE = "done"
    """The source recorded it. With ``traits.confirmed=False``: it was written to a live connection, and more cannot be
    known."""
    RETRY = "retry"
    """It was not applied, or that is unknown; the delivery is still ours. The core asks again until the lease ends. An
    ack never becomes a nack. A reject that the source keeps refusing may become one."""
    LOST = "lost"
    """The delivery is not ours any more: its receipt is stale, or its channel is gone. This is final. The core counts
    it, and it is never a failure of the handler."""


class InvalidTraits(ValueError):
    """Traits that no source can have. What was wrong is in the code that made them, so that no second try can help."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What a source can do. The core reads it once, after ``open()``: the kind of a queue may only be known then.

    Raises:
        ValueError: a value that no source can mean (``InvalidTraits``); names the field, the value and what is allowed.
    """

    lease: float | None = None
    """Seconds for which a delivery is ours; more than 0. None: it is ours until it is settled or lost. A lease needs
    the methods of ``Leases``."""
    lease_total: float | None = None
    """Most seconds for which one delivery can be held, however often it is extended (SQS: 43,200); at least ``lease``.
    None: there is no such limit."""
    ordered: bool = False
    """The messages of one group are handed out one after the other; ``Provider.receive`` says how."""
    stable_ids: bool = False
    """``Message.id`` is the source's own: one for each message, and the same when it is delivered again. Only then may
    the ledger act on it."""
    max_delay: float = 0.0
    """The longest delay of a nack that the source keeps, in seconds; ``math.inf``: any. The core keeps the message for
    the rest of a longer delay before it nacks it."""
    batch: int = 1
    """How many settlements are worth collecting into one call; at least 1. One call may bring more of them: the
    provider cuts them to the size that its wire allows."""
    linger: float = 0.0
    """Seconds for which it is worth waiting for a batch to fill. The core waits; the provider does not."""
    receives: int = 1
    """How many calls of ``receive()`` may run at once; at least 1."""
    rejects: bool = False
    """A dead-letter target is known; needs the methods of ``Rejects``. False: the core makes of a Reject a nack with
    the longest retry delay, and logs an error."""
    confirmed: bool = True
    """The source says that it recorded a settlement. False: the provider writes it, and hears nothing more."""

    def __post_init__(self) -> None:
        if self.lease is not None:
            fine = _is_number(self.lease) and 0 < self.lease < math.inf
            self._demand("lease", fine, "finite seconds, more than 0, or None")
        if self.lease_total is not None and self.lease is None:
            self._demand("lease_total", False, "None, as lease is None")
        elif self.lease_total is not None and self.lease is not None:
            fine = _is_number(self.lease_total) and self.lease_total >= self.lease
            self._demand("lease_total", fine, f"seconds, at least lease = {self.lease}, or None")
        self._demand("max_delay", _is_number(self.max_delay) and self.max_delay >= 0, "seconds, from 0 up")
        fine = _is_number(self.linger) and 0 <= self.linger < math.inf
        self._demand("linger", fine, "finite seconds, from 0 up")
        for name in ("batch", "receives"):
            count = getattr(self, name)
            self._demand(name, _is_number(count) and isinstance(count, int) and count >= 1, "a whole number, from 1 up")
        for name in ("ordered", "stable_ids", "rejects", "confirmed"):
            self._demand(name, isinstance(getattr(self, name), bool), "True or False")

    def _demand(self, name: str, fine: bool, allowed: str) -> None:
        if not fine:
            raise InvalidTraits(f"Traits({name}={getattr(self, name)!r}): {allowed}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Context(Protocol):
    """The core's side of one provider, given to ``open()``. Its attributes are read-only."""

    @property
    def route(self) -> str:
        """The name of the route that the provider belongs to."""

    @property
    def concurrency(self) -> int:
        """Most messages that the route has in work at once. It is also the prefetch worth asking for."""

    @property
    def client_id(self) -> str:
        """A name for this client of the source: host, process id, route and random digits.

        It is unique wherever the process runs, containers too. It stays the same when the provider is opened again.
        """

    @property
    def payload_type(self) -> object:
        """The annotation of the handler's first parameter; None where it has none."""

    @property
    def max_wait(self) -> float:
        """Most seconds that one receive may wait.

        That is 20, less where ``shutdown_timeout`` is short, and 1 under ``--until-empty`` and ``--sandbox``.
        """

    def outstanding(self) -> Collection[Message]:
        """Give the messages that were handed out and are not settled."""

    def lost(self, messages: Collection[Message], reason: str) -> None:
        """Tell the core that these are gone already, and why; for instance ``outstanding()``, when a channel closed.

        Those that have not started are dropped. Running ones are told, and on ordered sources cancelled. None of them
        is settled.
        """

    async def revoke(self, messages: Collection[Message], within: float) -> None:
        """Tell the core that these are about to go, and wait until it let go of them.

        Those that have not started are dropped. Running ones get ``within`` seconds to end, and are settled before this
        returns. The rest is lost.
        """

    async def shared(self, key: Hashable, open: Callable[[], AbstractAsyncContextManager[R]]) -> R:
        """Give what ``open`` yields, such as a client: one for each manager and key.

        It is entered once, for the first who asks, and left after its last user was closed. Raises what entering
        raises.
        """


class Provider(Protocol):
    """Where messages come from.

    Constructor: no I/O, no running loop. Two providers of one component know nothing of each other.

    Errors: a method raises Throttled, Unavailable, CredentialError or SourceConfigError, all of them ProviderError.
    Anything else counts as Unavailable, and is logged with its traceback. ``errors.py`` says what the core does about
    each.

    Settlements (``ack``, ``nack``, ``release``, ``Leases.extend`` and ``Rejects.reject``) answer with a mapping from
    the very messages that were given to what became of each. A message that is missing from it counts as RETRY. Raising
    counts as RETRY for all. One bad entry of a batch spoils no other. A settlement is of a delivery, not of whatever
    has its id now. Settlements may run beside each other and beside a receive.

    Logs show ids, never bodies, attributes or secrets.
    """

    traits: Traits

    async def open(self, context: Context) -> None:
        """Connect, and prove that the source is there. It may be called again after ``close()`` or after a failure."""

    async def receive(self, limit: int) -> Sequence[Message]:
        """Give up to ``limit`` messages, or none; ``limit`` is at least 1.

        It waits for the first one as suits the source, but at most ``context.max_wait`` seconds. It returns empty at
        most five times a second.

        The core owns the call and never cancels it before the deadline of a drain. No message is lost when it is
        cancelled even then: one that it had taken is handed out again.

        On an ordered source, none of a group is handed out while a message of that group is unsettled, except later in
        the same answer, in order.
        """

    async def ack(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        """Done: the source may forget these messages, and no others. Repeating it is harmless."""

    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]:
        """The attempt failed: deliver each message again, not before its delay, in seconds (rounded up).

        No delay is longer than ``traits.max_delay``. It counts as an attempt where the source counts.
        """

    async def release(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        """These were never started: deliver them again, to anyone, now.

        It is not a failed attempt where the source can tell the two apart.
        """

    async def stop(self) -> None:
        """Take no more messages. What was fetched ahead goes back, and a pending receive ends by itself.

        Settling still works afterwards. Idempotent.
        """

    async def close(self) -> None:
        """Leave nothing open: no connection, task or thread. Idempotent.

        It is called after the last settlement, or after a failed ``open``.
        """


@runtime_checkable
class Leases(Protocol):
    """A provider whose leases can be made longer (``traits.lease``)."""

    async def extend(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        """These are ours for ``traits.lease`` seconds from now.

        It is fenced: what is not ours any more answers LOST, and is never stolen back from whoever has it.
        """


@runtime_checkable
class Rejects(Protocol):
    """A provider that knows where to put what shall never come again (``traits.rejects``)."""

    async def reject(self, messages: Sequence[Message], reason: str) -> Mapping[Message, Settled]:
        """Put these into the dead-letter target, unchanged, for ``reason``.

        Send first, then delete: a message that cannot be sent there is not deleted.
        """


@runtime_checkable
class Publishes(Protocol):
    """A provider that can also send to its own source."""

    async def publish(
        self, body: str | bytes, attributes: Mapping[str, str | bytes] | None = None, group: str | None = None
    ) -> str:
        """Send one message, and give its id: the one that it is received with, where ``traits.stable_ids``.

        Args:
            body: sent untouched. What the source cannot carry is a ProviderError.
            attributes: what is sent beside the body.
            group: the ordering key.
        """


@runtime_checkable
class Audits(Protocol):
    """A provider that can hold the live source against the route."""

    async def audit(self) -> Sequence[Finding]:
        """Say what is wrong or odd at the source. Read-only: nothing is received.

        It is meant for ``loafer check --connect``; nothing asks for it yet.
        """


@runtime_checkable
class Measures(Protocol):
    """A provider that can tell how deep its source is."""

    async def measure(self) -> Mapping[str, float]:
        """Give finite numbers from 0 up, by names such as ``depth`` (messages) and ``oldest_age`` (seconds)."""


class BaseProvider(abc.ABC):
    """A provider that is written in an afternoon: ``open``, ``receive``, ``ack`` and ``nack``, as ``Provider`` says."""

    traits: Traits = Traits()

    @abc.abstractmethod
    async def open(self, context: Context) -> None: ...

    @abc.abstractmethod
    async def receive(self, limit: int) -> Sequence[Message]: ...

    @abc.abstractmethod
    async def ack(self, messages: Sequence[Message]) -> Mapping[Message, Settled]: ...

    @abc.abstractmethod
    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]: ...

    async def release(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        """Nack them without delay: right for a source that cannot tell a release from a failed attempt."""
        return await self.nack(dict.fromkeys(messages, 0.0))

    async def stop(self) -> None:  # noqa: B027 - nothing to do is a fine way to do it
        """Do nothing: right for a provider that fetches nothing ahead."""

    async def close(self) -> None:  # noqa: B027
        """Do nothing: right for a provider that keeps nothing open."""
