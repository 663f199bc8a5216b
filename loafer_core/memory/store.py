"""The messages of a memory queue, by the clock: which there are, which of them are hidden, and until when."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

from loafer_core.api.message import Message

ALWAYS = -inf
"""A time before all others: visible since then is visible now, also where sender and receiver have different clocks."""


def later(now: float, delay: float) -> float:
    """Give the time ``delay`` seconds from now; ``ALWAYS`` without a delay.

    Raises:
        ValueError: ``delay`` is less than 0, or not finite.
    """
    if not 0 <= delay < inf:
        raise ValueError(f"delay={delay!r}: seconds, from 0 up")
    return now + delay if delay else ALWAYS


@dataclass(slots=True, eq=False, repr=False)
class Entry:
    """One message in one queue."""

    id: str
    body: str | bytes
    attributes: Mapping[str, str | bytes]
    group: str | None
    sent_at: float
    """Epoch seconds."""
    sent: float
    """The same moment on the queue's clock."""
    visible_at: float
    """On the queue's clock."""
    reason: str = ""
    """Why it was dead-lettered."""
    receive_count: int = 0
    receipt: Receipt | None = None
    """The receipt of its newest delivery; None: it was never handed out."""

    def in_flight(self, now: float) -> bool:
        """Tell whether somebody has it: handed out, under a lease, and not given back."""
        return self.visible_at > now and self.receipt is not None and not self.receipt.returned

    def message(self, queue: str, group: str | None) -> Message:
        """Make the Message of its newest delivery."""
        facts = {"queue": queue} | ({"reason": self.reason} if self.reason else {})
        return Message(
            id=self.id,
            body=self.body,
            receipt=self.receipt,
            attributes=self.attributes,
            metadata=MappingProxyType(facts),
            receive_count=self.receive_count,
            group=group,
            sent_at=self.sent_at,
            lease_until=self.visible_at,
        )


@dataclass(slots=True, eq=False, repr=False)
class Receipt:
    """The token of one delivery. Only the newest receipt of a message can settle it."""

    entry: Entry
    received: float
    """When it was handed out, on the queue's clock."""
    returned: bool = False
    """It was nacked or released."""
    removed: bool = False
    """It was deleted or rejected."""


class Store:
    """The entries in the order of their sending, on a clock: the running loop's unless another one is given."""

    def __init__(self, clock: Callable[[], float] | None, retention: float | None) -> None:
        self._clock = clock
        self._retention = retention
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._hidden: set[Entry] = set()
        self._next_end = inf
        """The time before which no hidden entry becomes visible."""

    @property
    def entries(self) -> Collection[Entry]:
        """All, oldest first."""
        return self._entries.values()

    @property
    def hidden(self) -> Collection[Entry]:
        """Those that were not visible yet at the last ``tick``."""
        return self._hidden

    def tick(self) -> float:
        """Tell the time, and note what it brought: entries that are visible again, and those that were kept too
        long."""
        now = self._now()
        if self._retention is not None:
            for entry in [entry for entry in self.entries if entry.sent + self._retention <= now]:
                self.drop(entry)
        if now >= self._next_end:
            self._hidden = {entry for entry in self._hidden if entry.visible_at > now}
            self._next_end = min((entry.visible_at for entry in self._hidden), default=inf)
        return now

    def _now(self) -> float:
        if self._clock is not None:
            return self._clock()
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return time.monotonic()  # The clock of asyncio's own loops.

    def put(self, entry: Entry) -> None:
        """Take one more."""
        self._entries[entry.id] = entry
        self.hide(entry, entry.visible_at)

    def hide(self, entry: Entry, until: float) -> None:
        """Make it visible from then on, and not before."""
        entry.visible_at = until
        if until == ALWAYS:
            self._hidden.discard(entry)
        else:
            self._hidden.add(entry)
            self._next_end = min(self._next_end, until)

    def drop(self, entry: Entry) -> None:
        """Forget it."""
        del self._entries[entry.id]
        self._hidden.discard(entry)

    def newest(self, receipt: object) -> Receipt | None:
        """Give the receipt back if it is the newest one of a message that is still here."""
        if not isinstance(receipt, Receipt) or receipt.entry.receipt is not receipt:
            return None
        return receipt if self._entries.get(receipt.entry.id) is receipt.entry else None
