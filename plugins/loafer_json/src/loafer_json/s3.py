"""The translator ``s3``: notifications of Amazon S3, straight from the bucket or through SNS."""

from __future__ import annotations

from loafer_core import Context, Message, Translation, TranslationError
from loafer_json.adapter import adapter_for, name_of
from loafer_json.decoder import Decoder
from loafer_json.envelope import EnvelopeOpener
from loafer_json.options import EnvelopeOptions
from loafer_json.s3_event import S3Event, settle_test_event


class S3Translator:
    """Decodes the notification into what the handler is annotated with, else into ``model``, else into ``S3Event``.

    ``metadata["s3"]["sns"]`` has the facts of an SNS envelope around it, where there is one.
    """

    def __init__(self, options: EnvelopeOptions) -> None:
        self._options = options
        self._opener = EnvelopeOpener(options)
        self._decoder = Decoder(options.max_bytes)

    async def open(self, context: Context) -> None:
        """Build the decoder of the payload's type. Raises ConfigError where pydantic refuses it."""
        self._opener.route = context.route
        wanted, adapter = adapter_for(context, self._options.model, default=S3Event)
        self._decoder = Decoder(self._options.max_bytes, adapter, name_of(wanted))

    def translate(self, message: Message) -> Translation:
        """Raise TranslationError, or Settle for S3's test event and SNS's control messages."""
        opened = self._opener.open(message)
        settle_test_event(opened.value, message, self._opener.route)
        if not isinstance(opened.value, dict) or not isinstance(opened.value.get("Records"), list):
            raise TranslationError("no S3 notification: it has no list of Records")
        return Translation(self._decoder.decode(opened.body), opened.around)
