"""Between SQS's dictionaries and Loafer's messages: reading what was received, writing attributes that will be sent."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loafer_core import Message

logger = logging.getLogger("loafer.sqs")

MOST_BYTES = 1_048_576
"""Body and attributes of one message, and of one batch: what SQS takes."""
MOST_ATTRIBUTES = 10
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that SQS refuses in a body or an attribute (SendMessage, AWS API reference)."""
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
        attributes = {name: value for name, one in sent.items() if (value := _value(one)) is not None}
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


def _value(attribute: Mapping[str, Any]) -> str | bytes | None:
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


def attribute(value: str | bytes, data_type: str | None = None) -> dict[str, object]:
    """One attribute as SQS wants it; a number keeps its type if it had one."""
    if isinstance(value, bytes):
        return {"DataType": data_type or "Binary", "BinaryValue": value}
    return {"DataType": data_type or "String", "StringValue": value}


def attributes(values: Mapping[str, str | bytes], types: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The first ten that SQS takes: it refuses empty values, odd names and names of AWS's own."""
    types = types or {}
    fit = {name: attribute(value, types.get(name)) for name, value in values.items() if value and _allowed(name, value)}
    return dict(list(fit.items())[:MOST_ATTRIBUTES])


def left_out(values: Mapping[str, str | bytes]) -> list[str]:
    """The names that ``attributes`` leaves out."""
    return [name for name in values if name not in attributes(values)]


def _allowed(name: str, value: str | bytes) -> bool:
    if not _NAME.fullmatch(name) or name.lower().startswith(("aws.", "amazon.")):
        return False
    return isinstance(value, bytes) or not _FORBIDDEN.search(value)


def sendable(text: str) -> bool:
    """Tell whether SQS takes every character of ``text``."""
    return not _FORBIDDEN.search(text)


def cleaned(text: str) -> str:
    """``text`` with a question mark for every character that SQS refuses."""
    return _FORBIDDEN.sub("?", text)


def size(body: str, sent: Mapping[str, Any]) -> int:
    """Bytes that count towards SQS's limit: body, and name, type and value of each attribute."""
    total = len(body.encode("utf-8", "replace"))
    for name, one in sent.items():
        value = _value(one) or ""
        total += (
            len(name.encode()) + len(one.get("DataType", "")) + len(value.encode() if isinstance(value, str) else value)
        )
    return total
