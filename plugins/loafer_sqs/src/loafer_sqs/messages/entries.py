"""What is sent: bodies, attributes, ids and dead letters as SQS and SNS take them, and how much they weigh."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from loafer_core import Message
from loafer_sqs.messages.wire import Receipt, value_of

MOST_BYTES = 1_048_576
"""Body and attributes of one message, and of one batch: what SQS takes."""
MOST_ATTRIBUTES = 10
"""What SQS takes; SNS takes more, but drops a message that has them on its way to a queue with raw delivery."""
_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that SQS refuses in a body or an attribute (SendMessage, AWS API reference)."""


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
    return text if _FORBIDDEN.search(text) is None else json.dumps(plain, separators=(",", ":"), allow_nan=False)


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
    kept = attributes(values)
    return [name for name in values if name not in kept]


def _allowed(name: str, value: str | bytes) -> bool:
    if not _NAME.fullmatch(name) or name.lower().startswith(("aws.", "amazon.")):
        return False
    return isinstance(value, bytes) or not _FORBIDDEN.search(value)


def token(text: str) -> str:
    """What SQS and SNS take as a group's or a deduplication id; anything else by its hash."""
    return text if re.fullmatch(r"[!-~]{1,128}", text) else hashlib.sha256(text.encode()).hexdigest()


def size(body: str, sent: Mapping[str, Any]) -> int:
    """Bytes that count towards SQS's limit: body, and name, type and value of each attribute."""
    total = len(body.encode("utf-8", "replace"))
    for name, one in sent.items():
        value = value_of(one) or ""
        total += (
            len(name.encode()) + len(one.get("DataType", "")) + len(value.encode() if isinstance(value, str) else value)
        )
    return total


def dead_letter(message: Message, reason: str, route: str, *, fifo: bool) -> dict[str, Any]:
    """The entry that dead-letters ``message`` unchanged; facts about the failure where they fit beside it."""
    receipt = message.receipt
    sent: dict[str, Any] = dict(receipt.sent) if isinstance(receipt, Receipt) else attributes(message.attributes)
    body = message.body if isinstance(message.body, str) else message.body.decode()
    facts = {
        "loafer.reason": _FORBIDDEN.sub("?", reason[:256]),
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
