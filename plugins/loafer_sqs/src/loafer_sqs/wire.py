"""What SQS hands out, read into Loafer's messages."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loafer_core import Message

logger = logging.getLogger("loafer.sqs")

_FACTS = {
    "sequence_number": "SequenceNumber",
    "dedup_id": "MessageDeduplicationId",
    "sender_id": "SenderId",
    "dead_letter_source": "DeadLetterQueueSourceArn",
    "trace_header": "AWSTraceHeader",
}


@dataclass(slots=True, eq=False)
class Receipt:
    """The token of one delivery. ``repr`` shows nothing of it: whoever has the handle may delete the message."""

    handle: str = field(repr=False)
    sent: Mapping[str, Any] = field(repr=False)
    """The attributes as they came, with their types: a dead letter is sent unchanged."""
    dead_lettered: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """Turns one answer of one queue into messages."""

    queue: str
    url: str
    fifo: bool

    def messages(self, entries: Iterable[Mapping[str, Any]], lease_until: float) -> list[Message]:
        """Leave out what cannot be read: its lease runs out, and redrive takes care of it.

        On a FIFO queue what follows in the same group is left out as well, or it would overtake.
        """
        messages: list[Message] = []
        broken: set[str | None] = set()
        for entry in entries:
            attributes = entry.get("Attributes") or {}
            group = attributes.get("MessageGroupId") if self.fifo else None
            if self.fifo and (group in broken or None in broken):
                continue
            if (fault := _fault(entry)) is not None:
                broken.add(group)
                logger.log(*fault, self.queue, entry.get("MessageId"), extra={"queue": self.queue})
                continue
            messages.append(self._message(entry, attributes, group, lease_until))
        return messages

    def _message(
        self, entry: Mapping[str, Any], system: Mapping[str, str], group: str | None, lease_until: float
    ) -> Message:
        sent = entry.get("MessageAttributes") or {}
        attributes = {name: value for name, one in sent.items() if (value := value_of(one)) is not None}
        types = {name: one.get("DataType") for name, one in sent.items()}
        types = {name: kind for name, kind in types.items() if kind not in (None, "String", "Binary")}
        facts: dict[str, object] = {"queue": self.queue, "queue_url": self.url}
        facts.update((fact, system[name]) for fact, name in _FACTS.items() if name in system)
        first = number(system.get("ApproximateFirstReceiveTimestamp"))
        if first is not None:
            facts["first_received_at"] = first / 1000
        if not self.fifo and "MessageGroupId" in system:
            facts["group_id"] = system["MessageGroupId"]  # a fair queue's tenant: it orders nothing
        if types:
            facts["attribute_types"] = types
        count, sent_at = number(system.get("ApproximateReceiveCount")), number(system.get("SentTimestamp"))
        return Message(
            id=entry["MessageId"],
            body=entry["Body"],
            receipt=Receipt(entry["ReceiptHandle"], sent),
            attributes=attributes,
            metadata=facts,
            receive_count=count,
            group=group,
            sent_at=None if sent_at is None else sent_at / 1000,
            lease_until=lease_until,
        )


def _fault(entry: Mapping[str, Any]) -> tuple[int, str] | None:
    if not all(isinstance(entry.get(key), str) for key in ("MessageId", "ReceiptHandle", "Body")):
        return logging.WARNING, "queue %r: a message without id, receipt or body was left out (id %s)"
    if entry.get("MD5OfBody", digest := md5(entry["Body"])) != digest:
        return logging.ERROR, "queue %r: message %s was damaged on its way (MD5): it is left to its lease"
    return None


def value_of(attribute: Mapping[str, Any]) -> str | bytes | None:
    """The value of an attribute as AWS writes it."""
    value: str | bytes | None = attribute.get("BinaryValue")
    return value if value is not None else attribute.get("StringValue")


def number(text: object) -> int | None:
    """SQS writes numbers as text; what is none is None."""
    try:
        return int(str(text))
    except ValueError:
        return None


def md5(text: str) -> str:
    """What SQS calls MD5OfBody. Lone surrogates, which a broken server can deliver, match nothing."""
    return hashlib.md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
