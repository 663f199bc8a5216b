"""The translator ``eventbridge``: the detail of an event, straight from a rule or through SNS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from pydantic import TypeAdapter, create_model

from loafer_core import Context, Message, Translation, TranslationError
from loafer_json.adapter import adapter_for, name_of
from loafer_json.decoder import Decoder
from loafer_json.envelope import EnvelopeOpener, epoch, text
from loafer_json.options import EventBridgeOptions


class EventBridgeTranslator:
    """Decodes ``detail`` as ``json`` does a body. ``metadata["eventbridge"]`` has the rest of the event.

    An event is told by its shape: docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure. A rule's input
    transformer may make anything of it, even a bare string.
    """

    def __init__(self, options: EventBridgeOptions) -> None:
        self._options = options
        self._opener = EnvelopeOpener(options)
        self._whole = Decoder(options.max_bytes)
        self._event = self._event_of(Any)

    async def open(self, context: Context) -> None:
        """Build the decoders of the payload's type. Raises ConfigError where pydantic refuses it."""
        self._opener.route = context.route
        wanted, adapter = adapter_for(context, self._options.model)
        self._whole = Decoder(self._options.max_bytes, adapter, name_of(wanted))
        self._event = self._event_of(wanted)

    def translate(self, message: Message) -> Translation:
        """Raise TranslationError, or Settle for SNS's control messages."""
        opened = self._opener.open(message)
        if _is_event(opened.value):
            payload = self._event.decode(opened.body).detail
            return Translation(payload, _facts(opened.value) | opened.around)
        if self._options.other == "refuse":
            raise TranslationError("no EventBridge event; other = 'accept' takes what an input transformer made of one")
        return Translation(self._whole.decode(opened.body), opened.around)

    def _event_of(self, wanted: Any) -> Decoder:
        """The detail is decoded where it stands: taken out as a Python value, it would be JSON no more."""
        event = create_model("Event", detail=(wanted, ...))
        return Decoder(self._options.max_bytes, TypeAdapter(event), name_of(wanted))


def _is_event(value: object) -> TypeGuard[Mapping[str, Any]]:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(key), str) for key in ("id", "source", "detail-type"))
        and "detail" in value
    )


def _facts(event: Mapping[str, Any]) -> dict[str, object]:
    resources = event.get("resources")
    return {
        "id": event["id"],
        "source": event["source"],
        "detail_type": event["detail-type"],
        "account": text(event.get("account")),
        "time": epoch(event.get("time")),
        "region": text(event.get("region")),
        "resources": tuple(resources) if isinstance(resources, list) else (),
        "version": text(event.get("version")),
    }
