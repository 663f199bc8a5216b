"""Answers that are plain enough to be read without the SDK's model: its parser would only copy them.

The SDK's parser drops what the model does not know and what is null, and decodes binary values. Where there is nothing
of the kind, its result is the JSON itself; everything else is left to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

_MESSAGE = frozenset(
    ("MessageId", "ReceiptHandle", "MD5OfBody", "Body", "Attributes", "MD5OfMessageAttributes", "MessageAttributes")
)
_TEXT_ATTRIBUTE = frozenset({"StringValue", "DataType"})
_DONE = frozenset({"Id"})
_FAILED = frozenset({"Id", "SenderFault", "Code", "Message"})


def read(method: str, body: bytes) -> dict[str, Any] | None:
    """Give what the SDK's parser would make of ``body``, without metadata; None: only the parser knows."""
    try:
        answer = from_json(body) if body else None
    except ValueError:
        return None
    is_plain = _is_plain_receive if method == "receive_message" else _is_plain_batch
    return answer if type(answer) is dict and is_plain(answer) else None


def _is_plain_receive(answer: Mapping[str, Any]) -> bool:
    return (
        answer.keys() <= {"Messages"}
        and _are_plain(answer.get("Messages", []), _MESSAGE)
        and all(
            type(message.get("Attributes", {})) is dict
            and ("MessageAttributes" not in message or _is_plain_text(message["MessageAttributes"]))
            for message in answer.get("Messages", ())
        )
    )


def _is_plain_text(attributes: Any) -> bool:
    return type(attributes) is dict and _are_plain(list(attributes.values()), _TEXT_ATTRIBUTE)


def _is_plain_batch(answer: Mapping[str, Any]) -> bool:
    return (
        answer.keys() <= {"Successful", "Failed"}
        and _are_plain(answer.get("Successful", []), _DONE)
        and _are_plain(answer.get("Failed", []), _FAILED)
    )


def _are_plain(entries: Any, known: frozenset[str]) -> bool:
    """A list of objects that have nothing but known members, none of them null."""
    return type(entries) is list and all(
        type(entry) is dict and entry.keys() <= known and None not in entry.values() for entry in entries
    )
