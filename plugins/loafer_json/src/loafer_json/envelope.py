"""The envelope that SNS puts around what it delivers, unless the subscription has raw delivery.

Its shape, and that it is told by its shape: docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.
Three translators and the middleware find envelopes by this one page, so that what was verified is what is opened.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeGuard

from loafer_core import Ack, Message, Settle, TranslationError
from loafer_json.decoder import Decoder
from loafer_json.options import TOPIC, EnvelopeOptions

logger = logging.getLogger("loafer.json")

_TYPES = ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation")
_MOST = 3
"""Envelopes that are opened, one in the other. More is no design but an accident or an attack."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)

Envelope = Mapping[str, Any]
"""The fields as SNS wrote them; ``Type``, ``TopicArn`` and ``Message`` are strings."""


def is_envelope(value: object) -> TypeGuard[Envelope]:
    """Tell an envelope by its shape."""
    return (
        isinstance(value, dict)
        and value.get("Type") in _TYPES
        and isinstance(value.get("TopicArn"), str)
        and isinstance(value.get("Message"), str)
    )


def names_of(envelope: Envelope) -> str:
    """Name an envelope for logs and errors: only by what has the shape of an id, for anybody may have written it."""
    topic, id_ = envelope["TopicArn"], envelope.get("MessageId")
    of = f" of {topic}" if TOPIC.fullmatch(topic) else " of a TopicArn that is none"
    return f"SNS {envelope['Type']}{f' {id_}' if isinstance(id_, str) and _UUID.fullmatch(id_) else ''}{of}"


@dataclass(frozen=True, slots=True)
class Opened:
    """What was in the envelopes; where there was none, the message as it came."""

    body: str | bytes
    value: object
    """The body as plain JSON; None where it is not JSON."""
    facts: dict[str, object] = field(default_factory=dict)
    """The outermost envelope's; empty where there was none."""

    @property
    def around(self) -> dict[str, object]:
        """The facts as one entry of another translator's metadata."""
        return {"sns": MappingProxyType(self.facts)} if self.facts else {}


class EnvelopeOpener:
    """Opens what is enveloped, and says what becomes of what is not wanted.

    Args:
        options: of the translator.
        enveloped_only: refuse what is in no envelope. A choice of topics implies it: raw delivery does not name one.
    """

    def __init__(self, options: EnvelopeOptions, enveloped_only: bool = False) -> None:
        self._control, self._topics, self._enveloped_only = options.control, options.topics, enveloped_only
        self._decoder = Decoder(options.max_bytes)
        self.route = ""
        """For the log: to be set when the translator opens."""

    def open(self, message: Message) -> Opened:
        """Open all envelopes. Raises TranslationError, or Settle for what is none of the handler's business."""
        self._decoder.encode(message.body)  # too long is too long, whatever it is
        body: str | bytes = message.body
        value = self._plain(body)
        layers: list[dict[str, object]] = []
        while is_envelope(value):
            if len(layers) == _MOST:
                raise TranslationError(f"more than {_MOST} SNS envelopes, one in the other")
            if not layers and self._topics and value["TopicArn"] not in self._topics:
                raise TranslationError(f"{names_of(value)}: the topic is not one of this route's topics")
            if value["Type"] != "Notification":
                self._settle_control(value, message)
            layers.append(_facts(value))
            body = value["Message"]
            value = self._plain(body)
        if not layers and self._topics:
            raise TranslationError("in no SNS envelope, so that its topic cannot be told; this route names its topics")
        if not layers and self._enveloped_only:
            raise TranslationError("in no SNS envelope; raw = 'accept' takes what comes by raw delivery")
        for outer, inner in pairwise(layers):
            outer["inner"] = MappingProxyType(inner)
        return Opened(body, value, layers[0] if layers else {})

    def _plain(self, body: str | bytes) -> object:
        try:
            return self._decoder.decode(body)
        except TranslationError:
            return None

    def _settle_control(self, envelope: Envelope, message: Message) -> None:
        """What is not a notification has a URL to be requested. It is not: the sender chose it (CVE-2026-32096)."""
        if self._control == "error":
            raise TranslationError(
                f"{names_of(envelope)}: no notification, and Loafer requests no URL of a message. A subscription that "
                "the queue's owner makes needs no confirmation; control = 'ignore' acks these"
            )
        logger.info(
            "%s: message %s is an %s; ignored and acked",
            self.route,
            message.id,
            names_of(envelope),
            extra={"route": self.route, "message_id": message.id},
        )
        raise Settle(Ack())


def epoch(value: object) -> float | None:
    """Read an ISO 8601 time as epoch seconds; None for what is none. Without an offset it is UTC."""
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def text(value: object) -> str | None:
    """Give a string as it is, and None for anything else."""
    return value if isinstance(value, str) else None


def _facts(envelope: Envelope) -> dict[str, object]:
    facts: dict[str, object] = {
        "type": envelope["Type"],
        "topic_arn": envelope["TopicArn"],
        "message_id": text(envelope.get("MessageId")),
        "subject": text(envelope.get("Subject")),
        "timestamp": epoch(envelope.get("Timestamp")),
        "attributes": MappingProxyType(_attributes(envelope.get("MessageAttributes"))),
    }
    if "SequenceNumber" in envelope:
        facts["sequence_number"] = text(envelope["SequenceNumber"])
    return facts


def _attributes(given: object) -> dict[str, str | bytes]:
    """Read what the sender put beside the message; all or nothing, for a part of it might be believed to be all."""
    if given is None:
        return {}
    attributes: dict[str, str | bytes] = {}
    for name, attribute in given.items() if isinstance(given, dict) else [("", None)]:
        kind, value = (attribute.get("Type"), attribute.get("Value")) if isinstance(attribute, dict) else (None, None)
        decoded = _base64(value) if kind == "Binary" else value
        if not isinstance(kind, str) or not isinstance(decoded, str | bytes):
            raise TranslationError("SNS envelope: MessageAttributes cannot be read")
        attributes[name] = decoded
    return attributes


def _base64(value: object) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except ValueError:
        return None
