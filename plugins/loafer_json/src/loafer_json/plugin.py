"""What Loafer finds through the entry point: declarations only. Light: cryptography is imported inside the factory."""

from __future__ import annotations

from typing import Any

from loafer_core import ConfigError, Finding, MiddlewareSpec, Translator, TranslatorSpec, hookimpl
from loafer_json.options import EnvelopeOptions, EventBridgeOptions, JSONOptions, SNSOptions, SNSSignatureOptions

LOAFER_API = 1


def _json(options: JSONOptions) -> Translator:
    from loafer_json.translator import JSONTranslator

    return JSONTranslator(options)


def _sns(options: SNSOptions) -> Translator:
    from loafer_json.sns import SNSTranslator

    return SNSTranslator(options)


def _s3(options: EnvelopeOptions) -> Translator:
    from loafer_json.s3 import S3Translator

    return S3Translator(options)


def _eventbridge(options: EventBridgeOptions) -> Translator:
    from loafer_json.eventbridge import EventBridgeTranslator

    return EventBridgeTranslator(options)


def _sns_signature(options: SNSSignatureOptions) -> Any:
    try:
        from loafer_json.sns_signature import SNSSignature
    except ImportError as error:
        advice = f"signatures need the package cryptography: pip install 'loafer-json[signature]' ({error})"
        raise ConfigError(Finding("", advice)) from error

    return SNSSignature(options)


@hookimpl
def loafer_translators() -> list[TranslatorSpec[Any]]:
    return [
        TranslatorSpec(
            name="json",
            summary="JSON body, decoded into the type that the handler's first parameter is annotated with",
            options=JSONOptions,
            factory=_json,
        ),
        TranslatorSpec(
            name="sns",
            summary="What was published to an Amazon SNS topic, enveloped or raw: JSON or text",
            options=SNSOptions,
            factory=_sns,
        ),
        TranslatorSpec(
            name="s3",
            summary="Event notifications of Amazon S3, straight or through SNS",
            options=EnvelopeOptions,
            factory=_s3,
        ),
        TranslatorSpec(
            name="eventbridge",
            summary="The detail of an Amazon EventBridge event, straight or through SNS",
            options=EventBridgeOptions,
            factory=_eventbridge,
        ),
    ]


@hookimpl
def loafer_middlewares() -> list[MiddlewareSpec[SNSSignatureOptions]]:
    return [
        MiddlewareSpec(
            name="sns-signature",
            summary="Refuse what Amazon SNS did not sign for one of your topics (needs loafer-json[signature])",
            options=SNSSignatureOptions,
            factory=_sns_signature,
        )
    ]
