"""Sending: the handler ``sqs``, and what the provider sends itself (publish, dead letters)."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import re
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from loafer_core import Context, Message, ProviderError, Unavailable
from loafer_sqs import queues
from loafer_sqs.client import Clients
from loafer_sqs.errors import Denied
from loafer_sqs.options import SQSPublishOptions
from loafer_sqs.queues import Queue
from loafer_sqs.wire import (
    MOST_ATTRIBUTES,
    MOST_BYTES,
    Receipt,
    attribute,
    attributes,
    cleaned,
    left_out,
    md5,
    sendable,
    size,
)

logger = logging.getLogger("loafer.sqs")


class SQSPublisher:
    """A handler that sends the payload to a queue. True once SQS has confirmed the message, an exception else."""

    def __init__(self, options: SQSPublishOptions) -> None:
        self._options = options
        self._told = False

    def __repr__(self) -> str:
        return f"<SQSPublisher {self._options.queue!r}>"

    async def open(self, context: Context) -> None:
        """Find the queue. Raises as the provider's ``open`` does."""
        connection = self._options.connection()
        self._clients = await context.shared(("loafer-sqs", connection), functools.partial(Clients, connection))
        self._queue = await queues.find(self._clients, self._options.queue, self._options.queue_owner)
        if "://" in self._options.queue:  # which proves nothing by itself
            with contextlib.suppress(Denied):
                await queues.attributes(self._clients, self._queue)
        logger.info("%s: sending to queue %r in %s", context.route, self._queue.name, self._clients.place)

    async def handle(self, payload: object, metadata: Mapping[str, Any]) -> bool:
        """Send.

        Raises:
            TypeError, ValueError: the payload is nothing that a body can be made of.
            ProviderError: SQS did not take the message, or nobody knows.
        """
        body = encode(payload, self._options.encoder)
        carried: Mapping[str, str | bytes] = metadata.get("attributes") or {} if self._options.carry_attributes else {}
        source_id = str(metadata.get("message_id") or uuid.uuid4().hex)
        dedup = source_id if self._options.dedup == "id" else hashlib.sha256(body.encode()).hexdigest()
        group = self._options.group
        if group is None and self._queue.fifo:
            group = str(metadata.get("group") or source_id)
        if (odd := left_out(carried)) and not self._told:
            self._told = True
            logger.warning(
                "queue %r: SQS does not take these attributes: %s", self._queue.name, ", ".join(map(repr, odd))
            )
        types = metadata.get("attribute_types")
        await send(self._clients, self._queue, body, carried, types=types, group=group, dedup=dedup)
        return True

    async def close(self) -> None:
        """Nothing to do: the clients are shared."""


async def send(
    clients: Clients,
    queue: Queue,
    body: str,
    values: Mapping[str, str | bytes],
    *,
    types: Mapping[str, str] | None = None,
    group: str | None,
    dedup: str,
) -> str:
    """Send one message and give its id once SQS has confirmed it, body checked. Raises ProviderError."""
    wire = attributes(values, types)
    weight = size(body, wire)
    if weight > MOST_BYTES:
        raise ProviderError(f"queue {queue.name!r}: the message has {weight:,} bytes, SQS takes {MOST_BYTES:,}")
    request: dict[str, Any] = {"QueueUrl": queue.url, "MessageBody": body, "MessageAttributes": wire}
    if group is not None:
        request["MessageGroupId"] = _id(group)
    if queue.fifo:
        request["MessageDeduplicationId"] = _id(dedup)
    answer = await clients.ask("send_message", queue=queue.name, request=request)
    if not answer.get("MessageId") or answer.get("MD5OfMessageBody", md5(body)) != md5(body):
        raise Unavailable(f"SendMessage on queue {queue.name!r}: the answer does not confirm the message")
    return str(answer["MessageId"])


def dead_letter(message: Message, reason: str, route: str, *, fifo: bool) -> dict[str, Any]:
    """The entry that dead-letters ``message`` unchanged; facts about the failure where they fit beside it."""
    receipt = message.receipt
    sent: dict[str, Any] = dict(receipt.sent) if isinstance(receipt, Receipt) else attributes(message.attributes)
    body = message.body if isinstance(message.body, str) else message.body.decode()
    facts = {
        "loafer.reason": cleaned(reason[:256]),
        "loafer.message_id": message.id,
        "loafer.route": route,
        "loafer.receive_count": "" if message.receive_count is None else str(message.receive_count),
    }
    for name, value in attributes(facts).items():
        if len(sent) < MOST_ATTRIBUTES and name not in sent and size(body, {**sent, name: value}) <= MOST_BYTES:
            sent[name] = value
    entry: dict[str, Any] = {"MessageBody": body, "MessageAttributes": sent}
    if "trace_header" in message.metadata:
        entry["MessageSystemAttributes"] = {"AWSTraceHeader": attribute(str(message.metadata["trace_header"]))}
    if fifo:
        entry |= {"MessageGroupId": message.group or message.id, "MessageDeduplicationId": message.id}
    return entry


def encode(payload: object, encoder: Literal["auto", "json", "text"]) -> str:
    """Make a body. Raises TypeError or ValueError; neither shows the payload."""
    if encoder != "json" and isinstance(payload, bytes | bytearray):
        return bytes(payload).decode()
    if encoder != "json" and isinstance(payload, str):
        return payload
    if encoder == "text":
        raise TypeError(f"encoder 'text' takes str or bytes, not {type(payload).__name__}; 'json' or 'auto' take more")
    plain = to_jsonable_python(payload)
    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text if sendable(text) else json.dumps(plain, separators=(",", ":"), allow_nan=False)


def _id(text: str) -> str:
    """What SQS takes as a group's or a deduplication id; anything else by its hash."""
    return text if re.fullmatch(r"[!-~]{1,128}", text) else hashlib.sha256(text.encode()).hexdigest()
