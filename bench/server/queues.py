"""Standard queues: visibility, long polls, redelivery. All times are those of the event loop's clock."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

# Handles of the real service have between 180 and 400 characters.
RECEIPT_PREFIX = "AQEB" + hashlib.sha512(b"bench").hexdigest() + "+"
COUNTS = ("sent", "received", "deleted", "redelivered", "released", "receives", "empty_receives", "stale_deletes")


class Refused(Exception):
    """An error answer: the code of SQS, and words."""

    def __init__(self, code: str, words: str = "") -> None:
        super().__init__(words or code)
        self.code = code


class Message:
    __slots__ = (
        "body",
        "deleted",
        "first_received_ms",
        "hidden_until",
        "md5",
        "ordinal",
        "receipt",
        "receives",
        "sent_ms",
    )

    def __init__(self, ordinal: int, body: str) -> None:
        self.ordinal = ordinal
        self.body = body
        self.md5 = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
        self.sent_ms = self.first_received_ms = time.time_ns() // 1_000_000
        self.receives = 0
        self.receipt = ""
        self.hidden_until = 0.0
        self.deleted = False

    def answer(self, facts: frozenset[str]) -> dict[str, Any]:
        """The message as ReceiveMessage gives it."""
        answer: dict[str, Any] = {
            "MessageId": f"{self.ordinal:08x}-0000-4000-8000-000000000000",
            "ReceiptHandle": self.receipt,
            "MD5OfBody": self.md5,
            "Body": self.body,
        }
        if facts:
            known = {
                "SenderId": "AIDAEXAMPLE",
                "SentTimestamp": str(self.sent_ms),
                "ApproximateReceiveCount": str(self.receives),
                "ApproximateFirstReceiveTimestamp": str(self.first_received_ms),
            }
            answer["Attributes"] = known if "All" in facts else {n: v for n, v in known.items() if n in facts}
        return answer


class Waiter:
    """A long poll that has found nothing yet."""

    __slots__ = ("deliver", "lease", "limit", "timer")

    def __init__(self, limit: int, lease: float, deliver: Callable[[list[Message]], None]) -> None:
        self.limit, self.lease, self.deliver = limit, lease, deliver
        self.timer: asyncio.TimerHandle | None = None


class Queue:
    def __init__(self, name: str, attributes: dict[str, str], loop: asyncio.AbstractEventLoop) -> None:
        self.name, self.loop = name, loop
        self.attributes = {"VisibilityTimeout": "30", "ReceiveMessageWaitTimeSeconds": "0", **attributes}
        self.visible: deque[Message] = deque()
        self.in_flight: dict[int, Message] = {}
        self.by_receipt: dict[str, Message] = {}  # the latest receipts only
        self.waiters: dict[Waiter, None] = {}
        self.counts: Counter[str] = Counter()
        self.moments: dict[str, float] = {}
        self.made = 0
        self._unmade: deque[tuple[int, int]] = deque()  # how many, of what size
        self._hidden: list[tuple[float, int, Message]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._receipts = 0

    def state(self) -> dict[str, Any]:
        counts = {name: self.counts[name] for name in COUNTS}
        return {**counts, "in_flight": len(self.in_flight), "polls": len(self.waiters), **self.moments}

    def left(self) -> dict[str, Any]:
        """``made``: how many were ever shown to anyone; ``left``: those of them that are not deleted."""
        visible = [(one.ordinal, "visible", one.receives) for one in self.visible]
        hidden = [(one.ordinal, "in_flight", one.receives) for one in self.in_flight.values()]
        return {"made": self.made, "left": sorted(visible + hidden)}

    def note(self, moment: str) -> None:
        self.moments[moment] = time.monotonic()

    # --- what comes in

    def put(self, body: str) -> Message:
        message = Message(self.made, body)
        self.made += 1
        self.counts["sent"] += 1
        self.visible.append(message)
        self._serve()
        return message

    def preload(self, count: int, size: int) -> None:
        """As if ``count`` messages ``{"seq": n, "pad": "..."}`` of ``size`` bytes had been sent; made when taken."""
        self._unmade.append((count, size))
        self.counts["sent"] += count
        self._serve()

    def _next(self) -> Message | None:
        if self.visible:
            return self.visible.popleft()
        if not self._unmade:
            return None
        count, size = self._unmade.popleft()
        if count > 1:
            self._unmade.appendleft((count - 1, size))
        head = f'{{"seq":{self.made},"pad":"'
        message = Message(self.made, head + "x" * (size - len(head) - 2) + '"}')
        self.made += 1
        return message

    # --- what goes out

    def take(self, limit: int, lease: float) -> list[Message]:
        taken: list[Message] = []
        while len(taken) < limit and (message := self._next()) is not None:
            if message.receives:
                self.by_receipt.pop(message.receipt, None)
                self.counts["redelivered"] += 1
            self._receipts += 1
            message.receipt = f"{RECEIPT_PREFIX}{self._receipts:012x}"
            message.receives += 1
            self.by_receipt[message.receipt] = message
            self.in_flight[message.ordinal] = message
            self._hide(message, lease)
            taken.append(message)
        self.counts["received"] += len(taken)
        return taken

    def wait(self, waiter: Waiter, seconds: float) -> None:
        def give_up() -> None:
            self.forget(waiter)
            waiter.deliver([])

        waiter.timer = self.loop.call_later(seconds, give_up)
        self.waiters[waiter] = None

    def forget(self, waiter: Waiter) -> None:
        """The poll is over, or its connection is: it must swallow no message."""
        self.waiters.pop(waiter, None)
        if waiter.timer is not None:
            waiter.timer.cancel()

    def _serve(self) -> None:
        while self.waiters and (self.visible or self._unmade):
            waiter = next(iter(self.waiters))
            self.forget(waiter)
            waiter.deliver(self.take(waiter.limit, waiter.lease))

    # --- what is settled

    def _of(self, receipt: str) -> Message | None:
        """The message that the receipt stands for; None when it was received again since, or is deleted."""
        if not receipt.startswith(RECEIPT_PREFIX):
            raise Refused("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        return self.by_receipt.get(receipt)

    def delete(self, receipt: str) -> None:
        message = self._of(receipt)
        if message is None:
            self.counts["stale_deletes"] += 1
            return
        del self.by_receipt[receipt]
        if self.in_flight.pop(message.ordinal, None) is None:
            self.visible.remove(message)
        message.deleted = True
        self.counts["deleted"] += 1
        self.note("last_delete_at")

    def change_visibility(self, receipt: str, seconds: float) -> None:
        message = self._of(receipt)
        if message is None or message.ordinal not in self.in_flight:
            raise Refused("MessageNotInflight", "The message referred to isn't in flight.")
        if seconds:
            self._hide(message, seconds)
            return
        self.counts["released"] += 1
        self._show(message)
        self._serve()

    # --- leases that run out

    def _hide(self, message: Message, seconds: float) -> None:
        message.hidden_until = until = self.loop.time() + seconds
        heap = self._hidden
        if len(heap) > 4096 and len(heap) > 4 * len(self.in_flight):
            heap[:] = [row for row in heap if row[2].hidden_until == row[0] and not row[2].deleted]
            heapq.heapify(heap)
        heapq.heappush(heap, (until, message.ordinal, message))
        if self._timer is None or until < self._timer_at:
            self._arm()

    def _show(self, message: Message) -> None:
        del self.in_flight[message.ordinal]
        message.hidden_until = 0.0
        self.visible.append(message)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._hidden:
            self._timer_at = self._hidden[0][0]
            self._timer = self.loop.call_at(self._timer_at, self._show_due)

    def _show_due(self) -> None:
        now = self.loop.time() + 0.001
        while self._hidden and self._hidden[0][0] <= now:
            until, _, message = heapq.heappop(self._hidden)
            if message.hidden_until == until and not message.deleted:
                self._show(message)
        self._arm()
        self._serve()
