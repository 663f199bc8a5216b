"""What can go wrong between a server and its client: before a request is applied, or after."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

When = Literal["before", "after_apply"]


@dataclass(frozen=True, slots=True)
class Status:
    """An error answer with this code and HTTP status."""

    code: str
    http: int = 400
    text: str = "injected"


@dataclass(frozen=True, slots=True)
class Garbage:
    """An answer that is not SQS's. Without ``length`` its Content-Length is that of ``body``."""

    body: bytes
    http: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/html"})
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset after so many bytes of the answer. Applied first, this is a lost answer."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer, ever."""


@dataclass(frozen=True, slots=True)
class Slow:
    """The body trickles in over so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Late:
    """The answer comes so many seconds late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Partial:
    """Entries of a batch, by position, that fail with a code; None = in neither list."""

    entries: Mapping[int, str | None]


@dataclass(frozen=True, slots=True)
class Twice:
    """What was received stays visible, so that somebody receives it once more."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The answer has these keys instead; on a receive, ``messages`` change the messages by position."""

    keys: Mapping[str, object] = field(default_factory=dict)
    messages: Mapping[int, Mapping[str, object]] = field(default_factory=dict)


Kind = Status | Garbage | Reset | Hang | Slow | Late | Partial | Twice | Edit


@dataclass(slots=True)
class Fault:
    """Befalls requests of one operation (``*`` = all) on one queue by one client (None = any)."""

    operation: str
    kind: Kind
    when: When = "before"
    queue: str | None = None
    who: str | None = None
    nth: int = 1
    """The first one that it befalls, of those that no fault before it took."""
    count: float = 1
    """How many it befalls."""
    probability: float = 1.0
    rng: random.Random = field(default_factory=random.Random)
    seen: int = 0
    used: int = 0

    def befalls(self, operation: str, queue: str, who: str) -> bool:
        fits = self.operation in ("*", operation) and self.queue in (None, queue) and self.who in (None, who)
        if not fits or self.used >= self.count:
            return False
        self.seen += 1
        if self.seen < self.nth or (self.probability < 1.0 and self.rng.random() >= self.probability):
            return False
        self.used += 1
        return True

    def heal(self) -> None:
        self.count = 0
