"""What SQS hands out, read into Loafer's messages."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loafer_core import Message

logger = logging.getLogger("loafer.sqs")

_FACTS = (
    ("sequence_number", "SequenceNumber"),
    ("dedup_id", "MessageDeduplicationId"),
    ("sender_id", "SenderId"),
    ("dead_letter_source", "DeadLetterQueueSourceArn"),
    ("trace_header", "AWSTraceHeader"),
)


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
            system = entry.get("Attributes") or {}
            group = system.get("MessageGroupId") if self.fifo else None
            if broken and (group in broken or None in broken):
                continue
            if (fault := _fault(entry)) is not None:
                if self.fifo:
                    broken.add(group)
                logger.log(*fault, self.queue, entry.get("MessageId"), extra={"queue": self.queue})
                continue
            messages.append(self._message(entry, system, group, lease_until))
        return messages

    def _message(
        self, entry: Mapping[str, Any], system: Mapping[str, str], group: str | None, lease_until: float
    ) -> Message:
        facts: dict[str, object] = {"queue": self.queue, "queue_url": self.url}
        for fact, name in _FACTS:
            if name in system:
                facts[fact] = system[name]
        first = number(system.get("ApproximateFirstReceiveTimestamp"))
        if first is not None:
            facts["first_received_at"] = first / 1000
        if not self.fifo and "MessageGroupId" in system:
            facts["group_id"] = system["MessageGroupId"]  # a fair queue's tenant: it orders nothing
        attributes: dict[str, str | bytes] = {}
        if sent := entry.get("MessageAttributes") or {}:
            attributes = {name: value for name, one in sent.items() if (value := value_of(one)) is not None}
            if types := _types(sent):
                facts["attribute_types"] = types
        sent_at = number(system.get("SentTimestamp"))
        return Message(
            id=entry["MessageId"],
            body=entry["Body"],
            receipt=Receipt(entry["ReceiptHandle"], sent),
            attributes=attributes,
            metadata=facts,
            receive_count=number(system.get("ApproximateReceiveCount")),
            group=group,
            sent_at=None if sent_at is None else sent_at / 1000,
            lease_until=lease_until,
        )


def _fault(entry: Mapping[str, Any]) -> tuple[int, str] | None:
    body = entry.get("Body")
    if not (isinstance(body, str) and isinstance(entry.get("MessageId"), str)) or not isinstance(
        entry.get("ReceiptHandle"), str
    ):
        return logging.WARNING, "queue %r: a message without id, receipt or body was left out (id %s)"
    if "MD5OfBody" in entry and entry["MD5OfBody"] != md5(body):
        return logging.ERROR, "queue %r: message %s was damaged on its way (MD5): it is left to its lease"
    return None


def _types(sent: Mapping[str, Any]) -> dict[str, str]:
    """The types that the values themselves do not show."""
    types = {name: one.get("DataType") for name, one in sent.items()}
    return {name: kind for name, kind in types.items() if kind not in (None, "String", "Binary")}


def value_of(attribute: Mapping[str, Any]) -> str | bytes | None:
    """The value of an attribute as AWS writes it."""
    value: str | bytes | None = attribute.get("BinaryValue")
    return value if value is not None else attribute.get("StringValue")


def number(text: object) -> int | None:
    """SQS writes numbers as text; what is none is None."""
    try:
        return int(text)  # type: ignore[call-overload,no-any-return]
    except (ValueError, TypeError):
        return None


def md5(text: str) -> str:
    """What SQS calls MD5OfBody. Lone surrogates, which a broken server can deliver, match nothing."""
    return hashlib.md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
