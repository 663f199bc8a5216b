"""What RabbitMQ delivers, read into Loafer's messages."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Mapping
from typing import Any

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from loafer_core import Message
from loafer_rabbitmq.unreadable import UNREADABLE

_PROPERTIES = ("content_type", "content_encoding", "correlation_id", "reply_to", "app_id", "user_id", "priority")
_OF_THE_BROKER = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")


def read(delivered: DeliveredMessage, receipt: object, queue: str, own_id: str) -> Message:
    """Make a message. ``own_id`` is its id where the publisher gave none."""
    properties, frame = delivered.header.properties, delivered.delivery
    headers: Mapping[str, Any] = properties.headers or {}
    redelivered = bool(getattr(frame, "redelivered", False))
    facts: dict[str, object] = {
        "queue": queue,
        "exchange": getattr(frame, "exchange", None) or "",
        "routing_key": getattr(frame, "routing_key", None) or "",
        "redelivered": redelivered,
    }
    facts |= {name: value for name in _PROPERTIES if (value := getattr(properties, name)) is not None}
    if properties.message_type == UNREADABLE:
        facts["unreadable_properties"] = True
    elif properties.message_type is not None:
        facts["type"] = properties.message_type
    if headers:
        facts["headers"] = headers
    message_id = properties.message_id or ""
    return Message(
        id=message_id if message_id.isprintable() and message_id.strip() else own_id,
        body=delivered.body,
        receipt=receipt,
        attributes={name: value for name in headers if (value := _attribute(name, headers[name])) is not None},
        metadata=facts,
        receive_count=_receive_count(headers, redelivered),
        sent_at=_seconds(properties),
    )


def _attribute(name: str, value: object) -> str | bytes | None:
    """As text, or as bytes; None for what is neither, and for what the broker itself wrote."""
    if name.startswith(_OF_THE_BROKER):
        return None
    match value:
        case str():
            return value
        case bytes() | bytearray():
            return bytes(value)
        case bool():
            return "true" if value else "false"
        case int() | float() | decimal.Decimal():
            return str(value)
        case dt.datetime():
            return value.isoformat()
        case _:
            return None


def _receive_count(headers: Mapping[str, Any], redelivered: bool) -> int | None:
    """Quorum queues count failed attempts: none or no header on the first. Classic ones only tell a first from others.

    https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling
    """
    failed = headers.get("x-delivery-count")
    if isinstance(failed, int) and failed >= 0:
        return failed + 1
    return None if redelivered and "x-acquired-count" not in headers else 1


def _seconds(properties: Basic.Properties) -> float | None:
    when = properties.timestamp
    return when.timestamp() if isinstance(when, dt.datetime) else None
