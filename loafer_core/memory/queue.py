"""The rules of a queue: leases, receive counts, groups, delays, dead letters. Nothing here waits.

The rules are those of Amazon SQS, standard and FIFO, with two differences. ``release`` takes the receive count back. A
message that was given back (``nack``, ``release``) is not in flight any more, also while a delay hides it.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar, TypedDict, Unpack

from loafer_core.api.errors import ConfigError, Finding
from loafer_core.api.message import Message
from loafer_core.api.provider import Settled
from loafer_core.memory.store import ALWAYS, Entry, Receipt, Store, later

MOST_LEASE = 43_200.0
"""Seconds for which one delivery can be held, however often it is extended (SQS: 12 hours from the receive)."""
_MOST_OF_A_GROUP = 10
"""Messages of one group that one receive hands out, at most."""
_DEDUP_WINDOW = 300.0
"""Seconds for which a ``dedup`` is remembered."""
_DEFAULT_GROUP = "default"
"""On an ordered queue, the group of what was sent without one."""

_numbers = itertools.count(1)
"""For ids: no two queues of this process have a message of one id."""


class QueueSettings(TypedDict, total=False):
    """The settings of a named queue. They mean what they mean for ``MemoryQueue``."""

    lease: float
    ordered: bool
    max_receives: int | None
    dead_letter: MemoryQueue | None


@dataclass(eq=False, repr=False)
class MemoryQueue:
    """A queue in this process. Not thread-safe: use it on the event loop, or before one runs.

    Raises:
        ValueError: a lease or retention that is not positive, or ``max_receives`` without ``dead_letter``.
    """

    name: str = ""
    """Shown in ids, errors and ``metadata["queue"]``."""
    _: KW_ONLY
    lease: float = 30.0
    """Seconds for which a received message is hidden from the others."""
    ordered: bool = False
    """Messages of a group come in the order of their sending. None comes while another one of the group is in flight,
    except later in the same answer (at most 10). A message that is sent without a group is in the group "default"."""
    max_receives: int | None = None
    """A message that would be received once more than this goes to ``dead_letter`` instead."""
    dead_letter: MemoryQueue | None = None
    """Takes the messages that were received too often, and those that are rejected."""
    clock: Callable[[], float] | None = None
    """Tells the time in seconds. None: the running loop's ``time()``; the queue of a provider needs that."""
    retention: float | None = None
    """Seconds after sending at which a message is dropped, whatever its state; None = never."""

    _named: ClassVar[dict[str, MemoryQueue]] = {}
    _given: QueueSettings = field(init=False, default_factory=QueueSettings)
    """Settings that somebody gave to ``named``; nobody may give others."""
    _dedup: dict[str, tuple[float, str]] = field(init=False, default_factory=dict)
    """When the first message of each ``dedup`` was sent, and its id."""
    _watchers: set[Callable[[], None]] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        if not self.lease > 0 or (self.retention is not None and not self.retention > 0):
            raise ValueError(f"{self!r}: lease={self.lease!r}, retention={self.retention!r}: seconds, more than 0")
        if self.max_receives is not None and (self.max_receives < 1 or self.dead_letter is None):
            raise ValueError(f"{self!r}: max_receives={self.max_receives!r}: at least 1, and it needs a dead_letter")
        self._store = Store(self.clock, self.retention)

    @classmethod
    def named(cls, name: str, **settings: Unpack[QueueSettings]) -> MemoryQueue:
        """Give this process's queue of that name, so that a forwarding route and a consuming one can meet.

        Whoever asks first makes it. Several may give settings; what nobody gives has the constructor's default.

        Raises:
            ConfigError: somebody gave the same setting another value.
            ValueError: as the constructor.
        """
        queue = cls._named.get(name) or cls(name)
        for key, value in settings.items():
            known = queue._given.get(key, value)
            if known != value:
                problem = f"{key} is {known!r} already and cannot be {value!r}; give it once, or everywhere the same"
                raise ConfigError(Finding(f"memory queue {name!r}", problem))
        given: QueueSettings = {**queue._given, **settings}
        cls(name, **given)  # Made and dropped: the constructor refuses settings that do not go together.
        queue._given = given
        for key, value in settings.items():
            setattr(queue, key, value)
        return cls._named.setdefault(name, queue)

    @classmethod
    def forget_named(cls) -> None:
        """Forget every named queue, so that the next test begins with none."""
        cls._named.clear()

    def __repr__(self) -> str:
        return f"MemoryQueue({self.name!r})"

    # Sending

    def send(
        self,
        body: str | bytes,
        attributes: Mapping[str, str | bytes] | None = None,
        group: str | None = None,
        delay: float = 0.0,
        dedup: str | None = None,
    ) -> str:
        """Put a message in, visible after ``delay`` seconds, and give its id.

        The same ``dedup`` within 300 seconds puts nothing in and gives the first one's id.
        """
        if not isinstance(body, str | bytes):
            raise TypeError(f"{self!r}.send() takes str or bytes, not {type(body).__name__}; encode it first")
        now = self._store.tick()
        first = None if dedup is None else self._dedup.get(dedup)
        if first is not None and first[0] + _DEDUP_WINDOW > now:
            return first[1]
        id_ = f"{self.name or 'memory'}-{next(_numbers)}"
        frozen = MappingProxyType(dict(attributes or {}))
        self._put(Entry(id_, body, frozen, group, time.time(), now, later(now, delay)))
        if dedup is not None:
            self._dedup[dedup] = (now, id_)
        return id_

    # Receiving

    def receive(self, limit: int = 10) -> list[Message]:
        """Hand out up to ``limit`` visible messages, oldest first, and hide them for the lease."""
        now = self._store.tick()
        locked = {self._sequence(entry) for entry in self._store.hidden if self.ordered and entry.in_flight(now)}
        taken: Counter[str | None] = Counter()
        chosen: list[Entry] = []
        spent: list[Entry] = []
        for entry in self._store.entries:
            if len(chosen) >= limit:
                break
            sequence = self._sequence(entry)
            if sequence in locked:
                continue
            if entry.visible_at > now:
                locked.add(sequence)
            elif self.max_receives is not None and self.dead_letter and entry.receive_count >= self.max_receives:
                spent.append(entry)
            else:
                chosen.append(entry)
                taken[sequence] += 1
                if taken[sequence] == _MOST_OF_A_GROUP:
                    locked.add(sequence)
        for entry in spent:
            self._bury(entry, f"received {entry.receive_count} times")
        return [self._hand_out(entry, now) for entry in chosen]

    def _sequence(self, entry: Entry) -> str | None:
        """Name the messages that come one after the other: a group. Without order each message is alone with its id, so
        that one rule serves both kinds of queue."""
        return self._group(entry) if self.ordered else entry.id

    def _group(self, entry: Entry) -> str | None:
        return entry.group or _DEFAULT_GROUP if self.ordered else entry.group

    def _hand_out(self, entry: Entry, now: float) -> Message:
        entry.receive_count += 1
        entry.receipt = Receipt(entry, now)
        self._store.hide(entry, now + self.lease)
        return entry.message(self.name, self._group(entry))

    # Settling

    def delete(self, receipt: object) -> Settled:
        """End the message; LOST if it was received again since. A lease that ran out does not matter."""
        return self._remove(receipt, None)

    def reject(self, receipt: object, reason: str = "") -> Settled:
        """Move the message to the dead-letter queue; LOST as with ``delete``."""
        if self.dead_letter is None:
            raise ValueError(f"{self!r} has no dead_letter queue to reject to")
        return self._remove(receipt, reason)

    def nack(self, receipt: object, delay: float = 0.0) -> Settled:
        """Give the message back after an attempt, visible in ``delay`` seconds; LOST once the lease ran out."""
        return self._give_back(receipt, delay, attempts=1)

    def release(self, receipt: object) -> Settled:
        """Give the message back as if it had not been received; LOST once the lease ran out."""
        return self._give_back(receipt, 0.0, attempts=0)

    def extend(self, receipt: object, seconds: float | None = None) -> Settled:
        """Hide the message for ``seconds`` (default: the lease) from now; LOST once the lease ran out.

        No delivery is hidden for more than 12 hours in all.
        """
        now = self._store.tick()
        held = self._store.newest(receipt)
        if held is None or not held.entry.in_flight(now):
            return Settled.LOST
        until = later(now, self.lease if seconds is None else seconds)
        self._store.hide(held.entry, min(until, held.received + MOST_LEASE))
        self._changed()
        return Settled.DONE

    def _remove(self, receipt: object, reason: str | None) -> Settled:
        self._store.tick()
        if isinstance(receipt, Receipt) and receipt.removed:
            return Settled.DONE  # The answer was lost, and the provider asks again.
        held = self._store.newest(receipt)
        if held is None:
            return Settled.LOST
        held.removed = True
        if reason is None:
            self._store.drop(held.entry)
        else:
            self._bury(held.entry, reason)
        self._changed()
        return Settled.DONE

    def _give_back(self, receipt: object, delay: float, *, attempts: int) -> Settled:
        now = self._store.tick()
        held = self._store.newest(receipt)
        if held is None or not (held.returned or held.entry.in_flight(now)):
            return Settled.LOST
        if not held.returned:
            until = later(now, delay)
            held.returned = True
            held.entry.receive_count += attempts - 1
            self._store.hide(held.entry, until)
            self._changed()
        return Settled.DONE

    # Looking

    def messages(self) -> list[Message]:
        """Give what is in the queue, in flight and delayed included, oldest first; without receipts."""
        self._store.tick()
        views = (entry.message(self.name, self._group(entry)) for entry in self._store.entries)
        return [replace(view, receipt=None, lease_until=None) for view in views]

    @property
    def dead(self) -> list[Message]:
        """The messages in the dead-letter queue; why one came there is in its ``metadata["reason"]``."""
        return [] if self.dead_letter is None else self.dead_letter.messages()

    @property
    def depth(self) -> int:
        """Messages that wait to be received."""
        self._store.tick()
        return len(self._store.entries) - len(self._store.hidden)

    @property
    def in_flight(self) -> int:
        """Messages that are handed out, not settled, and whose lease has not ended."""
        now = self._store.tick()
        return sum(entry.in_flight(now) for entry in self._store.hidden)

    @property
    def delayed(self) -> int:
        """Messages that nobody has and a delay hides."""
        now = self._store.tick()
        return sum(not entry.in_flight(now) for entry in self._store.hidden)

    @property
    def oldest_age(self) -> float:
        """Seconds since the oldest message was sent; 0.0 in an empty queue."""
        now = self._store.tick()
        return max((now - entry.sent for entry in self._store.entries if entry.sent < now), default=0.0)

    def next_change(self) -> float | None:
        """Seconds until a lease or a delay ends; None = nothing is hidden."""
        now = self._store.tick()
        return min((entry.visible_at - now for entry in self._store.hidden), default=None)

    def watch(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called when something was sent or settled.

        Whoever waits for messages looks again then, and also when ``next_change`` said.
        """
        self._watchers.add(changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        """Undo ``watch``. Idempotent."""
        self._watchers.discard(changed)

    def _put(self, entry: Entry) -> None:
        self._store.put(entry)
        self._changed()

    def _bury(self, entry: Entry, reason: str) -> None:
        assert self.dead_letter is not None
        self._store.drop(entry)
        self.dead_letter._put(replace(entry, visible_at=ALWAYS, reason=reason, receive_count=0, receipt=None))

    def _changed(self) -> None:
        for changed in tuple(self._watchers):
            changed()
