"""The provider ``sqs``: one queue, standard or FIFO."""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from loafer_core import Context, Message, ProviderError, Settled, Traits, Unavailable
from loafer_sqs.audit import Situation, remarks
from loafer_sqs.aws import batches, queues
from loafer_sqs.aws.client import POLL_GRACE, shared
from loafer_sqs.aws.connecting import READ_TIMEOUT
from loafer_sqs.aws.errors import Denied
from loafer_sqs.aws.outbox import Outbox
from loafer_sqs.aws.queues import Queue
from loafer_sqs.messages.entries import attributes as entry_attributes
from loafer_sqs.messages.entries import dead_letter, left_out, size
from loafer_sqs.messages.wire import Reader, Receipt, number
from loafer_sqs.options import SQSOptions

logger = logging.getLogger("loafer.sqs")

LONGEST_HOLD = 43_200
"""Seconds from its receive that a delivery can be held, a nack's delay included. AWS developer guide."""
UNKNOWN_LEASE = 30
"""Seconds asked for where the queue does not tell its own visibility timeout: SQS's default."""
ASK_DENIED_EVERY = 60.0
"""Seconds after which what was denied is tried again: a permission that was just given takes a while to arrive."""


class SQSProvider:
    """Receives from one queue. Settlements go in batches of ten, each entry's answer is read."""

    traits = Traits()

    def __init__(self, options: SQSOptions) -> None:
        self._options = options
        self._outbox = Outbox()
        self._attempt: tuple[str, int] | None = None

    def __repr__(self) -> str:
        return f"<SQSProvider {self._options.queue!r}>"

    async def open(self, context: Context) -> None:
        """Find the queue and learn what it is.

        Raises:
            SourceConfigError: no such queue, region or profile, or not for us.
            CredentialError: there are no credentials, or they were refused.
            Unavailable, Throttled: nobody answered properly.
        """
        options = self._options
        self._attempt = None
        self._route, self._denied_until = context.route, -math.inf
        self._wait = int(min(options.wait_time_seconds, context.max_wait))
        self._clients = await shared(context, options.connection(), "sqs", fast=options.client == "fast")
        queue = await queues.find(self._clients, options.queue, options.queue_owner)
        try:
            told: Mapping[str, str] | None = await queues.attributes(self._clients, queue)
        except Denied as denial:
            logger.warning("%s: %s", self._route, denial, extra={"route": self._route})
            told = None
        known = told or {}
        self._queue = replace(queue, fifo=queue.fifo or known.get("FifoQueue") == "true")
        self._outbox.open(self._clients, self._queue)
        self._lease = self._effective_lease(known)
        target = queues.redrive(known)
        self._dead_letters = await queues.dead_letters(self._clients, target)
        self._reader = Reader(self._queue.name, self._queue.url, self._queue.fifo)
        self.traits = Traits(
            lease=float(self._lease),
            lease_total=float(LONGEST_HOLD),
            ordered=self._queue.fifo,
            stable_ids=True,
            max_delay=float(LONGEST_HOLD),
            batch=batches.ENTRIES,
            linger=0.0 if self._queue.fifo else 0.1,
            receives=1 if self._queue.fifo else options.receives,
            rejects=self._dead_letters is not None,
        )
        await self._report(target, told)

    def _effective_lease(self, known: Mapping[str, str]) -> int:
        if self._options.visibility_timeout is not None:
            return self._options.visibility_timeout
        own = number(known.get("VisibilityTimeout")) or 0
        if own < 1:
            logger.warning(
                "%s: queue %r does not tell a visibility timeout: every receive asks for %d s",
                self._route,
                self._queue.name,
                UNKNOWN_LEASE,
                extra={"route": self._route},
            )
        return own if own >= 1 else UNKNOWN_LEASE

    async def _report(self, target: queues.Redrive | None, told: Mapping[str, str] | None) -> None:
        queue, extra = self._queue, {"route": self._route}
        dead = "no dead-letter queue" if target is None else f"dead letters to {target.name!r}"
        logger.info(
            "%s: %s in %s, lease %d s, ordered: %s, %s",
            self._route,
            queue,
            self._clients.place,
            self._lease,
            "yes" if queue.fifo else "no",
            "dead-letter queue unknown" if told is None else dead,
            extra=extra,
        )
        situation = Situation(
            queue,
            told,
            target,
            await queues.attributes_if_allowed(self._clients, self._dead_letters),
            lease=self._lease,
            give_up_after=int(min(READ_TIMEOUT, self._wait + POLL_GRACE)),
            skew=self._clients.clock.off_by(time.time() - asyncio.get_running_loop().time()),
        )
        for level, remark in remarks(situation):
            logger.log(level, "%s: %s", self._route, remark, extra=extra)

    async def receive(self, limit: int) -> Sequence[Message]:
        """Poll once. The connection's pool is of its own, so that nothing else waits for it."""
        loop, wait = asyncio.get_running_loop(), self._wait
        began = loop.time()
        try:
            answer = await self._clients.ask(
                "receive_message",
                of=self._queue,
                within=wait + POLL_GRACE,
                request=self._request(limit, wait),
            )
        except ProviderError as error:
            if not isinstance(error, Unavailable):  # then the answer may be lost, and is asked for again
                self._attempt = None
            raise
        self._attempt = None
        arrived = loop.time()
        # SQS's clock for the lease starts between request and answer; what exceeds the wait was spent on the way.
        handed_out = min(arrived - max(0.0, arrived - began - wait), self._clients.handed_out(answer, began, arrived))
        lease_until = handed_out - min(1.0, self._lease / 10) + self._lease
        return self._reader.messages(answer.get("Messages") or (), lease_until)

    def _request(self, limit: int, wait: int) -> dict[str, Any]:
        request: dict[str, Any] = {
            "QueueUrl": self._queue.url,
            "MaxNumberOfMessages": min(limit, self._options.max_messages, batches.ENTRIES),
            "WaitTimeSeconds": wait,
            "VisibilityTimeout": self._lease,  # said each time: what we count on is then true
            "AttributeNames": ["All"],  # the name that older servers know
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        if self._queue.fifo:
            # A FIFO queue gives a lost answer once more to the same attempt id, within five minutes.
            if self._attempt is None or self._attempt[1] > request["MaxNumberOfMessages"]:
                self._attempt = (uuid.uuid4().hex, request["MaxNumberOfMessages"])
            request["ReceiveRequestAttemptId"], request["MaxNumberOfMessages"] = self._attempt
        return request

    async def ack(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        """Delete."""
        return await self._settle("delete_message_batch", {message: {} for message in messages})

    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]:
        """Hide for the delay, rounded up; less where that would exceed the twelve hours of one delivery."""
        seconds = {message: min(math.ceil(delay), self._left(message)) for message, delay in delays.items()}
        return await self._hide(seconds)

    async def release(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        """Show to anyone, now. SQS has counted the receive all the same."""
        return await self._hide(dict.fromkeys(messages, 0))

    async def extend(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        """Ours for the lease from now; SQS fences by the receipt. Not asked for what has reached twelve hours."""
        seconds = {message: min(self._lease, self._left(message)) for message in messages}
        return await self._hide({message: left for message, left in seconds.items() if left > 0})

    async def reject(self, messages: Sequence[Message], reason: str) -> Mapping[Message, Settled]:
        """Send to the queue's own dead-letter queue, body and attributes unchanged, then delete."""
        if self._dead_letters is None:
            return {}
        entries = {
            message: dead_letter(message, reason, self._route, fifo=self._dead_letters.fifo)
            for message in messages
            if not _receipt(message).dead_lettered
        }
        target = self._dead_letters
        if entries:
            answers = await batches.send(self._clients, target.send_method, target, entries, weigh=_weigh)
            self._note_dead_lettered(target, answers)
        return await self.ack([message for message in messages if _receipt(message).dead_lettered])

    def _note_dead_lettered(self, target: Queue, answers: batches.Answers[Message]) -> None:
        """So that a delete which has to be tried again does not send a second dead letter."""
        codes = {message: batches.code_of(answer) for message, answer in answers.items()}
        for message, code in codes.items():
            _receipt(message).dead_lettered = not code
        failed = {code for code in codes.values() if code}
        if failed:
            logger.warning("%s: sending to %r failed: %s", self._route, target.name, ", ".join(sorted(failed)))

    async def publish(
        self, body: str | bytes, attributes: Mapping[str, str | bytes] | None = None, group: str | None = None
    ) -> str:
        """Send to this queue; on a FIFO queue without a group, in a group of its own. Gives SQS's message id.

        Raises:
            ProviderError: SQS cannot carry it, did not take it, or nobody knows.
        """
        try:
            text = body.decode() if isinstance(body, bytes) else body
        except UnicodeDecodeError:
            raise ProviderError(f"{self._queue}: SQS carries text, and the body is not UTF-8") from None
        if odd := ", ".join(repr(name) for name in left_out(attributes or {})):
            raise ProviderError(f"{self._queue}: SQS does not take these attributes: {odd}")
        if self._queue.fifo:
            group = group or uuid.uuid4().hex
        sent = entry_attributes(attributes or {})
        return await self._outbox.send(text, sent, group=group, dedup=uuid.uuid4().hex)

    async def measure(self) -> Mapping[str, float]:
        """Approximate counts: ``depth`` (waiting), ``in_flight`` and ``delayed``."""
        found = await queues.attributes(self._clients, self._queue)
        names = {"depth": "", "in_flight": "NotVisible", "delayed": "Delayed"}
        names = {name: f"ApproximateNumberOfMessages{suffix}" for name, suffix in names.items()}
        return {name: float(found[key]) for name, key in names.items() if key in found}

    async def stop(self) -> None:
        """Nothing to do: nothing is fetched ahead, and an open poll ends by itself."""

    async def close(self) -> None:
        """Wait for what is being published. The clients are shared; the core closes them after their last user."""
        await self._outbox.close()

    def _left(self, message: Message) -> int:
        """Whole seconds that this delivery can still be hidden; asking for more is an error."""
        if message.lease_until is None:
            return LONGEST_HOLD
        age = asyncio.get_running_loop().time() - (message.lease_until - self._lease)
        return max(0, int(LONGEST_HOLD - age - 5))

    async def _hide(self, seconds: Mapping[Message, int]) -> Mapping[Message, Settled]:
        """Where that is denied, every lease is left to end: that hides and shows too, only later."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._denied_until:
            return {}
        entries = {message: {"VisibilityTimeout": value} for message, value in seconds.items()}
        try:
            return await self._settle("change_message_visibility_batch", entries)
        except Denied as denial:
            logger.error(
                "%s: %s; until sqs:ChangeMessageVisibility is allowed, handlers must end within the lease of %d s, and "
                "what failed or was given back comes again when its lease ends",
                self._route,
                denial,
                self._lease,
                extra={"route": self._route},
            )
            self._denied_until = loop.time() + ASK_DENIED_EVERY
            return {}

    async def _settle(self, method: str, entries: batches.Entries[Message]) -> Mapping[Message, Settled]:
        requests = {m: {"ReceiptHandle": _receipt(m).handle, **entry} for m, entry in entries.items()}
        return await batches.settle(self._clients, method, self._queue, requests)


def _receipt(message: Message) -> Receipt:
    return cast(Receipt, message.receipt)


def _weigh(entry: Mapping[str, Any]) -> int:
    return size(entry["MessageBody"], entry["MessageAttributes"])
