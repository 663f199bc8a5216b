"""The signature of an SNS envelope.

The rules: docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message. RSA (PKCS #1 v1.5) over some of the
envelope's fields, with SHA-1 (SignatureVersion 1, a topic's default) or SHA-256 (2).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import Certificate

from loafer_core import TranslationError
from loafer_json.envelope import Envelope, names_of

_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_HASHES = {"1": SHA1, "2": SHA256}


def verify(envelope: Envelope, certificates: Iterable[Certificate]) -> None:
    """Raise TranslationError, with ids only, unless one of the certificates is valid now and has signed this."""
    version, signature = envelope.get("SignatureVersion"), _decoded(envelope.get("Signature"))
    if version not in ("1", "2"):
        raise TranslationError(f"{names_of(envelope)}: its SignatureVersion is neither '1' nor '2'")
    if signature is None:
        raise TranslationError(f"{names_of(envelope)}: its Signature is no base64")
    text = string_to_sign(envelope)
    now = datetime.now(UTC)
    valid = [one for one in certificates if one.not_valid_before_utc <= now <= one.not_valid_after_utc]
    if not valid:
        raise TranslationError(f"{names_of(envelope)}: the certificate of its signature is not valid today")
    if not any(_has_signed(certificate, signature, text, version) for certificate in valid):
        raise TranslationError(f"{names_of(envelope)}: its signature does not fit")


def string_to_sign(envelope: Envelope) -> bytes:
    """Give the bytes that SNS signs. Raises TranslationError if a field of them is missing or has a line break.

    Names and values stand one after the other with line breaks between them and nothing else. A line break in any
    field but the message would let its end, and with it the topic, be read in more than one way.
    """
    lines = []
    for name in _NOTIFICATION if envelope["Type"] == "Notification" else _CONFIRMATION:
        value = envelope.get(name)
        if name == "Subject" and value is None:
            continue
        if not isinstance(value, str):
            raise TranslationError(f"{names_of(envelope)}: it is signed, and has no {name}")
        if "\n" in value and name != "Message":
            raise TranslationError(f"{names_of(envelope)}: its {name} has a line break")
        lines += [name, value]
    return "\n".join([*lines, ""]).encode()


def _has_signed(certificate: Certificate, signature: bytes, text: bytes, version: str) -> bool:
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        return False
    try:
        key.verify(signature, text, PKCS1v15(), _HASHES[version]())
    except InvalidSignature:
        return False
    return True


def _decoded(signature: object) -> bytes | None:
    try:
        return base64.b64decode(signature, validate=True) if isinstance(signature, str) else None
    except ValueError:
        return None
