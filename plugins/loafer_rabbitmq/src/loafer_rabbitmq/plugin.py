"""What this distribution declares. Light: aio-pika is imported inside the factories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loafer_core import HandlerSpec, ProviderSpec, hookimpl
from loafer_rabbitmq.options import RabbitMQOptions, RabbitMQPublishOptions

if TYPE_CHECKING:
    from loafer_rabbitmq.provider import RabbitMQProvider
    from loafer_rabbitmq.publish import RabbitMQPublisher

LOAFER_API = 1


def _provider(options: RabbitMQOptions) -> RabbitMQProvider:
    from loafer_rabbitmq.provider import RabbitMQProvider

    return RabbitMQProvider(options)


def _publisher(options: RabbitMQPublishOptions) -> RabbitMQPublisher:
    from loafer_rabbitmq.publish import RabbitMQPublisher

    return RabbitMQPublisher(options)


@hookimpl
def loafer_providers() -> list[ProviderSpec[RabbitMQOptions]]:
    return [ProviderSpec(name="rabbitmq", summary="RabbitMQ queue", options=RabbitMQOptions, factory=_provider)]


@hookimpl
def loafer_handlers() -> list[HandlerSpec[RabbitMQPublishOptions]]:
    return [
        HandlerSpec(
            name="rabbitmq",
            summary="Publish the payload to RabbitMQ",
            options=RabbitMQPublishOptions,
            factory=_publisher,
        )
    ]
