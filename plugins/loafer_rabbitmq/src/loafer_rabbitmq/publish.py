"""The handler ``rabbitmq``: publishes the payload, and says True once the broker has confirmed it."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from aio_pika import DeliveryMode, Message
from pydantic_core import to_jsonable_python

from loafer_core import Context
from loafer_rabbitmq.options import RabbitMQPublishOptions
from loafer_rabbitmq.sender import Sender, headers

logger = logging.getLogger("loafer.rabbitmq")

JSON = "application/json"


class RabbitMQPublisher:
    """Sends to a queue or publishes to an exchange: persistent, mandatory, confirmed."""

    def __init__(self, options: RabbitMQPublishOptions) -> None:
        self._options = options
        self._sender = Sender(options.connection())

    def __repr__(self) -> str:
        return f"<RabbitMQPublisher {self._options.queue or self._options.exchange!r}>"

    async def open(self, context: Context) -> None:
        """Find the target. Raises as the provider's ``open`` does."""
        link = await self._sender.open(context)
        await self._sender.prove(exchange=self._options.exchange, queue=self._options.queue)
        what = f"queue {self._options.queue!r}" if self._options.queue else f"exchange {self._options.exchange!r}"
        logger.info("%s: publishing to %s at %s", context.route, what, link.place, extra={"route": context.route})

    async def handle(self, payload: object, metadata: Mapping[str, Any]) -> bool:
        """Publish.

        Raises:
            TypeError, ValueError: the payload is nothing that a body can be made of.
            ProviderError: no queue got it, or nobody knows.
        """
        options = self._options
        body, content_type = encode(payload, options.encoder)
        carried: Mapping[str, str | bytes] = metadata.get("attributes") or {}
        message = Message(
            body,
            headers=headers(carried if options.carry_attributes else {}),
            content_type=content_type or metadata.get("content_type"),
            message_id=str(metadata.get("message_id") or uuid.uuid4().hex),
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        key = options.queue or options.routing_key
        if key is None:
            key = str(metadata.get("routing_key") or "")
        await self._sender.send(options.exchange or "", key, message)
        return True

    async def close(self) -> None:
        """Close the channel. The connection is shared, and closed by the core after its last user."""
        await self._sender.close()


def encode(payload: object, encoder: Literal["auto", "json", "text"]) -> tuple[bytes, str | None]:
    """Make a body, and say what it is if that is known. Raises TypeError or ValueError; neither shows the payload."""
    if encoder != "json" and isinstance(payload, bytes | bytearray):
        return bytes(payload), None
    if encoder != "json" and isinstance(payload, str):
        return payload.encode(), None
    if encoder == "text":
        raise TypeError(f"encoder 'text' takes str or bytes, not {type(payload).__name__}; 'json' or 'auto' take more")
    plain = to_jsonable_python(payload)
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode(), JSON
