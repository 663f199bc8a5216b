"""What this distribution declares. Light: aiobotocore and moto are imported inside the factories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loafer_core import HandlerSpec, ProviderSpec, SandboxSpec, hookimpl
from loafer_sqs.options import SNSPublishOptions, SQSOptions, SQSPublishOptions

if TYPE_CHECKING:
    from loafer_sqs.provider import SQSProvider
    from loafer_sqs.publisher import SNSPublisher, SQSPublisher
    from loafer_sqs.sandbox import SQSSandbox

LOAFER_API = 1


def _provider(options: SQSOptions) -> SQSProvider:
    from loafer_sqs.provider import SQSProvider

    return SQSProvider(options)


def _sqs_publisher(options: SQSPublishOptions) -> SQSPublisher:
    from loafer_sqs.publisher import SQSPublisher

    return SQSPublisher(options)


def _sns_publisher(options: SNSPublishOptions) -> SNSPublisher:
    from loafer_sqs.publisher import SNSPublisher

    return SNSPublisher(options)


def _sandbox(options: Mapping[str, object]) -> SQSSandbox:
    from loafer_sqs.sandbox import SQSSandbox

    return SQSSandbox()


@hookimpl
def loafer_providers() -> list[ProviderSpec[SQSOptions]]:
    return [ProviderSpec(name="sqs", summary="Amazon SQS queue", options=SQSOptions, factory=_provider)]


@hookimpl
def loafer_handlers() -> list[HandlerSpec[Any]]:
    return [
        HandlerSpec(
            name="sqs",
            summary="Send the payload to an Amazon SQS queue",
            options=SQSPublishOptions,
            factory=_sqs_publisher,
        ),
        HandlerSpec(
            name="sns",
            summary="Publish the payload to an Amazon SNS topic",
            options=SNSPublishOptions,
            factory=_sns_publisher,
        ),
    ]


@hookimpl
def loafer_sandboxes() -> list[SandboxSpec]:
    return [SandboxSpec(name="sqs", summary="SQS and SNS on loopback, in this process (moto)", factory=_sandbox)]
