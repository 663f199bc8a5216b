"""Queues as SQS has them, in memory: visibility, receive counts, groups, deduplication, dead letters, long polls.

Read from AWS's documentation; where that is vague, the answer is the one that is worst for a consumer. Times are the
running loop's, seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

DEDUPLICATION = 300.0
"""Seconds that a FIFO queue remembers a deduplication id or an attempt id."""
LONGEST_HOLD = 43_200
ENTRIES = 10
HANDLE = "fake-handle-"


class Refusal(Exception):
    """An error answer: its code, what it says, and the HTTP status."""

    QUERY_CODES = {
        "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
        "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
        "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
        "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    }

    def __init__(self, code: str, text: str = "", status: int = 400) -> None:
        super().__init__(text or code)
        self.code, self.status = code, status

    @property
    def query_code(self) -> str:
        return self.QUERY_CODES.get(self.code, self.code)


@dataclass(eq=False, slots=True)
class Stored:
    """One message, wherever it is."""

    id: str
    body: str
    attributes: Mapping[str, Any]
    group: str | None = None
    dedup: str | None = None
    sequence: int = 0
    sent_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    first_ms: int = 0
    hidden_until: float = 0.0
    received_at: float = 0.0
    count: int = 0
    handle: str = ""
    deleted: bool = False

    def as_answer(self) -> Json:
        system = {
            "SenderId": "AIDAFAKE",
            "SentTimestamp": str(self.sent_ms),
            "ApproximateReceiveCount": str(self.count),
            "ApproximateFirstReceiveTimestamp": str(self.first_ms),
        }
        if self.group is not None:
            system["MessageGroupId"] = self.group
        if self.dedup is not None:
            system |= {"MessageDeduplicationId": self.dedup, "SequenceNumber": f"{self.sequence:020d}"}
        answer = {"MessageId": self.id, "ReceiptHandle": self.handle, "Body": self.body, "Attributes": system}
        if self.attributes:
            answer["MessageAttributes"] = dict(self.attributes)
        return answer | {"MD5OfBody": md5(self.body)}


class Queue:
    """One queue. What it holds is in the order of sending."""

    _handles = itertools.count(1)

    def __init__(self, name: str, attributes: Mapping[str, str]) -> None:
        self.name, self.fifo = name, name.endswith(".fifo")
        self.attributes = {"VisibilityTimeout": "30", "ReceiveMessageWaitTimeSeconds": "0", **attributes}
        self.messages: dict[str, Stored] = {}
        self.news = asyncio.Event()
        """Set, and replaced, when something may have become visible."""
        self.dismissed = 0
        """How often those who wait were sent away."""
        self._by_handle: dict[str, Stored] = {}
        self._sent: dict[str, tuple[float, Stored]] = {}
        self._attempts: dict[str, tuple[float, list[tuple[Stored, str, float]]]] = {}
        self._sequence = itertools.count(1)

    def wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def dismiss(self) -> None:
        """Those who wait for messages get none: a long poll may end before its time."""
        self.dismissed += 1
        self.wake()

    def put(self, stored: Stored) -> Stored:
        """Take a message in; a FIFO queue answers a repetition with the first one."""
        if self.fifo:
            known = self._sent.get(stored.dedup or "")
            if known is not None and now() - known[0] < DEDUPLICATION:
                return known[1]
            self._sent[stored.dedup or ""] = (now(), stored)
            stored.sequence = next(self._sequence)
        self.messages[stored.id] = stored
        self.wake()
        return stored

    def hidden(self) -> list[Stored]:
        return [one for one in self.messages.values() if one.hidden_until > now()]

    def visible_at(self) -> float:
        """When the next hidden message comes back."""
        return min((one.hidden_until for one in self.hidden()), default=math.inf)

    def take(self, limit: int, visibility: float, bury: Callable[[Stored], bool]) -> list[Stored]:
        """Hand out up to ``limit``. ``bury`` is asked first: what was received too often is gone then."""
        locked = {one.group for one in self.hidden() if one.count} if self.fifo else set()
        taken: list[Stored] = []
        for one in list(self.messages.values()):
            if len(taken) == limit:
                break
            if one.hidden_until > now() or (self.fifo and one.group in locked) or bury(one):
                continue
            one.count += 1
            one.first_ms = one.first_ms or int(time.time() * 1000)
            one.received_at, one.hidden_until = now(), now() + visibility
            one.handle = f"{HANDLE}{next(self._handles):08d}"
            self._by_handle[one.handle] = one
            taken.append(one)
        return taken

    def remember(self, attempt: str, taken: list[Stored]) -> None:
        self._attempts[attempt] = (now(), [(one, one.handle, one.hidden_until) for one in taken])

    def again(self, attempt: str, visibility: float) -> list[Stored] | None:
        """What this attempt was given already, its visibility begun anew; None where something of it has changed."""
        at, taken = self._attempts.get(attempt, (-math.inf, []))
        if not taken or now() - at > DEDUPLICATION:
            return None
        if any(one.deleted or (one.handle, one.hidden_until) != (handle, until) for one, handle, until in taken):
            return None
        for one, _, _ in taken:
            one.hidden_until = now() + visibility
        self.remember(attempt, [one for one, _, _ in taken])
        return [one for one, _, _ in taken]

    def delete(self, handle: str) -> None:
        """An outdated receipt is accepted without effect; on a FIFO queue it is refused once its time is over."""
        one = self._find(handle)
        if one.deleted or one.handle != handle:
            return
        if self.fifo and one.hidden_until <= now():
            raise Refusal("InvalidParameterValue", "Reason: The receipt handle has expired.")
        one.deleted = True
        del self.messages[one.id]
        self.wake()

    def change(self, handle: str, seconds: int) -> None:
        one = self._find(handle)
        if one.deleted or one.handle != handle:
            text = "Reason: Message does not exist or is not available for visibility timeout change."
            raise Refusal("InvalidParameterValue", text)
        if one.hidden_until <= now():
            raise Refusal("MessageNotInflight", "The message referred to isn't in flight.")
        if now() + seconds > one.received_at + LONGEST_HOLD:
            text = "Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
            raise Refusal("InvalidParameterValue", text)
        one.hidden_until = now() + seconds
        self.wake()

    def show(self, id: str) -> None:
        """Let it be seen once more although somebody has it: what a standard queue may do any time."""
        self.messages[id].hidden_until = 0.0
        self.wake()

    def revive(self, ids: Sequence[str]) -> None:
        """Hand out what was deleted once more, the last first: a replica that was down did not hear of it."""
        gone = {one.id: one for one in self._by_handle.values() if one.deleted}
        for id in reversed(ids):
            self.messages[id] = gone[id]
            gone[id].deleted, gone[id].hidden_until = False, 0.0
        self.wake()

    def _find(self, handle: str) -> Stored:
        if handle not in self._by_handle:
            raise Refusal("ReceiptHandleIsInvalid", "The input receipt handle is invalid.", 404)
        return self._by_handle[handle]


def md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


def now() -> float:
    return asyncio.get_running_loop().time()
