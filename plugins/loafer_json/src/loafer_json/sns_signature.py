"""The middleware ``sns-signature``: nothing goes on that SNS did not sign for a topic of ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import MappingProxyType

from cryptography.x509 import Certificate, load_pem_x509_certificates

from loafer_core import ConfigError, Context, Finding, Message, Outcome, TranslationError
from loafer_json.certificates import Certificates, is_signing_url
from loafer_json.decoder import Decoder
from loafer_json.envelope import Envelope, is_envelope, names_of
from loafer_json.options import TOPIC, SNSSignatureOptions
from loafer_json.signature import verify


class SNSSignature:
    """Verifies the outermost envelope. What goes on is a copy with ``metadata["sns_verified"]``: true or false."""

    def __init__(self, options: SNSSignatureOptions) -> None:
        self._options = options
        self._decoder = Decoder(options.max_bytes)
        self._local: list[Certificate] = []
        self._fetched: Certificates | None = None

    def open(self, context: Context) -> None:
        """Read the certificates of ``options.certificates``. Raises ConfigError for a file that has none."""
        self._local = []
        for path in self._options.certificates:
            try:
                self._local += load_pem_x509_certificates(path.read_bytes())
            except (OSError, ValueError) as error:
                where = f"routes.{context.route}.middleware"
                raise ConfigError(Finding(where, f"certificates: {path}: no PEM certificate ({error})")) from error
        self._fetched = None if self._local else Certificates()

    async def close(self) -> None:
        if self._fetched is not None:
            await self._fetched.close()
        self._fetched = None

    async def handle(self, message: Message, call_next: Callable[[Message], Awaitable[Outcome]]) -> Outcome:
        """Verify, and go on.

        Raises:
            TranslationError: the message is not what it says it is. The text has ids only.
            Unavailable: the certificate cannot be fetched now.
        """
        envelope = self._envelope(message)
        if envelope is not None:
            verify(envelope, await self._certificates(envelope))
        elif self._options.require:
            raise TranslationError("in no SNS envelope, so that nobody has signed it; require = false lets such pass")
        metadata = MappingProxyType({**message.metadata, "sns_verified": envelope is not None})
        return await call_next(replace(message, metadata=metadata))

    def _envelope(self, message: Message) -> Envelope | None:
        self._decoder.encode(message.body)  # too long is too long, whatever it is
        try:
            value = self._decoder.decode(message.body)
        except TranslationError:
            return None
        return value if is_envelope(value) else None

    async def _certificates(self, envelope: Envelope) -> list[Certificate]:
        if envelope["TopicArn"] not in self._options.topics:
            raise TranslationError(f"{names_of(envelope)}: the topic is not one of those that are trusted")
        if self._fetched is None:
            return self._local
        # SNS keeps a region's certificates there, and the topic of a verified message says which region that is.
        topic, url = TOPIC.fullmatch(envelope["TopicArn"]), envelope.get("SigningCertURL")
        if topic is None or not is_signing_url(url, topic["region"]):
            raise TranslationError(f"{names_of(envelope)}: its SigningCertURL is not one of SNS in the topic's region")
        return [await self._fetched.get(envelope["SigningCertURL"])]
