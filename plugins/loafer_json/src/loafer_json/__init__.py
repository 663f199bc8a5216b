"""JSON and what AWS wraps in it, for Loafer: translators ``json``, ``sns``, ``s3``, ``eventbridge``, and a middleware.

Names are loaded on first use (PEP 562): cryptography comes in with ``SNSSignature``, not before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loafer_json.eventbridge import EventBridgeTranslator
    from loafer_json.options import EnvelopeOptions, EventBridgeOptions, JSONOptions, SNSOptions, SNSSignatureOptions
    from loafer_json.s3 import S3Translator
    from loafer_json.s3_event import S3Event, S3Record, newer
    from loafer_json.sns import SNSTranslator
    from loafer_json.sns_signature import SNSSignature
    from loafer_json.translator import JSONTranslator

__version__ = "0.1.0"

_HOME = {
    "EnvelopeOptions": "options",
    "EventBridgeOptions": "options",
    "EventBridgeTranslator": "eventbridge",
    "JSONOptions": "options",
    "JSONTranslator": "translator",
    "S3Event": "s3_event",
    "S3Record": "s3_event",
    "S3Translator": "s3",
    "SNSOptions": "options",
    "SNSSignature": "sns_signature",
    "SNSSignatureOptions": "options",
    "SNSTranslator": "sns",
    "newer": "s3_event",
}

__all__ = [
    "EnvelopeOptions",
    "EventBridgeOptions",
    "EventBridgeTranslator",
    "JSONOptions",
    "JSONTranslator",
    "S3Event",
    "S3Record",
    "S3Translator",
    "SNSOptions",
    "SNSSignature",
    "SNSSignatureOptions",
    "SNSTranslator",
    "newer",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
