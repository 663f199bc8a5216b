"""The contract between the core and what plugs into it. One page; the comments are the contract, the kit checks each.

Durations are float seconds. Nothing here is inherited from by force: any object of the right shape will do.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from loafer_core.api.errors import Finding
    from loafer_core.api.message import Message

R = TypeVar("R")


class Settled(enum.Enum):
    """What the source said to a settlement."""

    DONE = "done"  # the source recorded it (traits.confirmed=False: written to a live connection, more cannot be known)
    RETRY = "retry"  # not applied, or unknown; still ours. Asked again until the lease ends; never becomes a nack
    LOST = "lost"  # not ours any more: stale receipt, channel gone. Final; counted, never a handler's failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Traits:
    """What a source can do. Read once, after ``open()``: a queue's kind may only be known then."""

    lease: float | None = None  # seconds a delivery is ours; needs Leases
    lease_total: float | None = None  # most seconds one delivery can be held (SQS: 43,200)
    ordered: bool = False  # messages of one group are handed out one after the other
    stable_ids: bool = False  # id is the source's own, same on redelivery: only then may the ledger act on it
    max_delay: float = 0.0  # longest nack delay the source keeps; the core parks the message for the rest
    batch: int = 1  # settlements worth collecting into one call,
    linger: float = 0.0  # and for how long. The core lingers; the provider cuts to wire size
    receives: int = 1  # receive() calls that may run at once
    rejects: bool = False  # needs Rejects; a dead-letter target is known. False: Reject becomes a nack at the cap
    confirmed: bool = True  # False: a settlement is written, but the source never says that it was recorded


class Context(Protocol):
    """The core's side, given to ``open()``. The attributes are read-only."""

    @property
    def route(self) -> str: ...
    @property
    def concurrency(self) -> int: ...  # most messages in work at once; also the prefetch worth asking for
    @property
    def client_id(self) -> str: ...  # host, pid, route and chance: unique wherever it runs, and kept when reopened
    @property
    def payload_type(self) -> object: ...  # the annotation of the handler's first parameter; None = there is none
    @property
    def max_wait(self) -> float: ...  # most seconds one receive may wait

    def outstanding(self) -> Collection[Message]: ...  # handed out, not settled
    def lost(self, messages: Collection[Message], reason: str) -> None: ...
    # gone already: those not started are dropped, running ones told (ordered: cancelled), none is settled
    async def revoke(self, messages: Collection[Message], within: float) -> None: ...
    # about to go: running ones get `within` seconds and are settled before this returns; the rest is lost
    async def shared(self, key: Hashable, open: Callable[[], AbstractAsyncContextManager[R]]) -> R: ...

    # one per manager and key; entered once, left after its last user closed


class Provider(Protocol):
    """Where messages come from. Constructor: no I/O, no loop.

    Raises Throttled, Unavailable, CredentialError or SourceConfigError (all ProviderError); anything else counts as
    Unavailable and is logged with its traceback.
    """

    traits: Traits

    async def open(self, context: Context) -> None: ...  # connect, prove the source is there; again after close()
    async def receive(self, limit: int) -> Sequence[Message]: ...  # wait as suits the source, at most context.max_wait
    # 0..limit messages; empty at most 5 times a second. The core owns the call and never cancels it before the drain
    # deadline. ordered: while a group has an unsettled message none of it is handed out, except later in the same
    # answer, in order
    async def ack(self, messages: Sequence[Message]) -> Mapping[Message, Settled]: ...  # missing = RETRY
    # raising = RETRY for all; repeating is harmless
    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]: ...  # the attempt failed
    # deliver again not before the delay (rounded up); counts where the source counts
    async def release(self, messages: Sequence[Message]) -> Mapping[Message, Settled]: ...  # never started
    # to anyone, now; not a failed attempt where the source can tell the two apart
    async def stop(self) -> None: ...  # take no more; prefetch goes back; a pending receive ends by itself
    # settling still works. Idempotent
    async def close(self) -> None: ...  # after the last settlement, or after a failed open. Idempotent


@runtime_checkable
class Leases(Protocol):
    """A provider whose leases can be made longer (``traits.lease``)."""

    async def extend(self, messages: Sequence[Message]) -> Mapping[Message, Settled]: ...  # ours for traits.lease

    # from now; fenced: LOST, never stolen back


@runtime_checkable
class Rejects(Protocol):
    """A provider that knows where to put what shall never come again (``traits.rejects``)."""

    async def reject(self, messages: Sequence[Message], reason: str) -> Mapping[Message, Settled]: ...

    # dead-lettered unchanged: send, then delete


@runtime_checkable
class Publishes(Protocol):
    """A provider that can also send to its own source; returns the id of what it sent."""

    async def publish(
        self, body: str | bytes, attributes: Mapping[str, str | bytes] | None = None, group: str | None = None
    ) -> str: ...


@runtime_checkable
class Audits(Protocol):
    """A provider that can hold the live source against the route. Read-only."""

    async def audit(self) -> Sequence[Finding]: ...


@runtime_checkable
class Measures(Protocol):
    """A provider that can tell how deep its source is; keys such as ``depth`` and ``oldest_age`` (seconds)."""

    async def measure(self) -> Mapping[str, float]: ...


class BaseProvider(abc.ABC):
    """For an afternoon: write ``open``, ``receive``, ``ack`` and ``nack``."""

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
        """Give back what was never started: a nack without delay."""
        return await self.nack(dict.fromkeys(messages, 0.0))

    async def stop(self) -> None:  # noqa: B027 - nothing to do is a fine way to do it
        """Do nothing."""

    async def close(self) -> None:  # noqa: B027
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Translation:
    """What a translator made of a message: the handler's payload, and facts that go under its name in metadata."""

    payload: object
    metadata: Mapping[str, object] = field(default_factory=dict)


class Translator(Protocol):
    """Message -> what the handler wants. Sync and pure; raises TranslationError.

    It may have ``async open(context)`` and ``async close()``; neither does I/O (``loafer check`` runs them offline).
    """

    def translate(self, message: Message) -> Translation: ...


Stage = Literal["translate", "handle", "timeout", "result", "middleware"]


@dataclass(frozen=True, slots=True)
class Failure:
    """What an error handler is asked about."""

    error: BaseException
    message: Message
    route: str
    stage: Stage


@dataclass(frozen=True, slots=True)
class SandboxComponent:
    """A provider or handler that a sandbox shall stand in for: its place in the configuration, and its options."""

    where: str  # routes.orders.provider
    name: str  # the component's name
    options: object  # the validated options


class Sandbox(Protocol):
    """A local stand-in for the sources of one plugin (``loafer run --sandbox``)."""

    def start(self, components: Sequence[SandboxComponent]) -> Mapping[str, Mapping[str, object]]: ...
    # starts on loopback, creates what the components name; returns, by `where`, the options to override
    def stop(self) -> None: ...  # Idempotent
