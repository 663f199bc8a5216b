"""Amazon SQS and SNS for Loafer: the provider ``sqs``, the handlers ``sqs`` and ``sns``, and a local sandbox.

Names are loaded on first use (PEP 562): aiobotocore comes in with the provider and the publishers, not before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loafer_sqs.options import AWSOptions, SNSPublishOptions, SQSOptions, SQSPublishOptions
    from loafer_sqs.provider import SQSProvider
    from loafer_sqs.publisher import SNSPublisher, SQSPublisher
    from loafer_sqs.sandbox import SQSSandbox

__version__ = "0.1.0"

_HOME = {
    "AWSOptions": "options",
    "SNSPublishOptions": "options",
    "SNSPublisher": "publisher",
    "SQSOptions": "options",
    "SQSProvider": "provider",
    "SQSPublishOptions": "options",
    "SQSPublisher": "publisher",
    "SQSSandbox": "sandbox",
}

__all__ = [
    "AWSOptions",
    "SNSPublishOptions",
    "SNSPublisher",
    "SQSOptions",
    "SQSProvider",
    "SQSPublishOptions",
    "SQSPublisher",
    "SQSSandbox",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
