"""The translator ``json``."""

from __future__ import annotations

from loafer_core import Context, Message, Translation
from loafer_json.adapter import adapter_for, name_of
from loafer_json.decoder import Decoder
from loafer_json.options import JSONOptions


class JSONTranslator:
    """Decodes the body into ``context.payload_type``, else into ``options.model``, else into plain JSON values."""

    def __init__(self, options: JSONOptions) -> None:
        self._options = options
        self._decoder = Decoder(options.max_bytes)

    async def open(self, context: Context) -> None:
        """Build the decoder of the payload's type. Raises ConfigError where pydantic refuses the type."""
        wanted, adapter = adapter_for(context, self._options.model)
        self._decoder = Decoder(self._options.max_bytes, adapter, name_of(wanted))

    def translate(self, message: Message) -> Translation:
        """Raise TranslationError, which shows nothing of the body, as ``Decoder.decode`` says."""
        return Translation(self._decoder.decode(message.body))
