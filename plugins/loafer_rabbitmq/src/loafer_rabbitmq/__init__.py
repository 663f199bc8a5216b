"""RabbitMQ for Loafer: the provider ``rabbitmq`` and the handler ``rabbitmq``.

Names are loaded on first use (PEP 562): aio-pika comes in with the provider and the publisher, not before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loafer_rabbitmq.options import ConnectionOptions, RabbitMQOptions, RabbitMQPublishOptions
    from loafer_rabbitmq.provider import RabbitMQProvider
    from loafer_rabbitmq.publish import RabbitMQPublisher

__version__ = "0.1.0"

_HOME = {
    "ConnectionOptions": "options",
    "RabbitMQOptions": "options",
    "RabbitMQProvider": "provider",
    "RabbitMQPublishOptions": "options",
    "RabbitMQPublisher": "publish",
}

__all__ = [
    "ConnectionOptions",
    "RabbitMQOptions",
    "RabbitMQProvider",
    "RabbitMQPublishOptions",
    "RabbitMQPublisher",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
