"""The translator ``sns``: what was published to a topic, out of its envelope."""

from __future__ import annotations

from loafer_core import Context, Message, Translation, TranslationError
from loafer_json.adapter import adapter_for, name_of
from loafer_json.decoder import Decoder
from loafer_json.envelope import EnvelopeOpener
from loafer_json.options import SNSOptions
from loafer_json.s3_event import settle_test_event


class SNSTranslator:
    """Opens the envelope. ``metadata["sns"]`` has its facts; with raw delivery there is none, and no such entry."""

    def __init__(self, options: SNSOptions) -> None:
        self._options = options
        self._opener = EnvelopeOpener(options, enveloped_only=options.raw == "refuse")
        self._decoder = Decoder(options.max_bytes)

    async def open(self, context: Context) -> None:
        """Build the decoder of the inner message. Raises ConfigError where pydantic refuses the payload's type."""
        self._opener.route = context.route
        if self._options.format == "json":
            wanted, adapter = adapter_for(context, self._options.model)
            self._decoder = Decoder(self._options.max_bytes, adapter, name_of(wanted))

    def translate(self, message: Message) -> Translation:
        """Raise TranslationError, or Settle for control messages and S3's test event."""
        opened = self._opener.open(message)
        settle_test_event(opened.value, message, self._opener.route)
        is_text = self._options.format == "text"
        payload = _text(opened.body) if is_text else self._decoder.decode(opened.body)
        return Translation(payload, opened.facts)


def _text(body: str | bytes) -> str:
    try:
        return body if isinstance(body, str) else body.decode()
    except UnicodeDecodeError:
        pass
    # Raised out here: the decoder's error holds the whole body, and would come along as the context.
    raise TranslationError("the body is not UTF-8")
