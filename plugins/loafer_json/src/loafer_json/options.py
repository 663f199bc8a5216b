"""What a route may say about the components of this distribution."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from loafer_core import Options

TOPIC = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
"""The ARN of an SNS topic."""


def _topic(value: str) -> str:
    if not TOPIC.fullmatch(value):
        raise ValueError(f"{value!r} is no topic's ARN, such as arn:aws:sns:eu-west-1:123456789012:orders")
    return value


def _file(value: Path) -> Path:
    if not value.is_file():
        raise ValueError(f"there is no file {str(value)!r}; relative to the working directory, that is {Path.cwd()}")
    return value


Topic = Annotated[str, AfterValidator(_topic), Field(examples=["arn:aws:sns:eu-west-1:123456789012:orders"])]
File = Annotated[Path, AfterValidator(_file)]

_MEBIBYTE = 1024 * 1024


class JSONOptions(Options):
    """Options of the translator ``json``."""

    model: str | None = Field(
        None,
        description="The payload's type as module:attribute, where the handler's first parameter has no annotation",
    )
    max_bytes: int = Field(_MEBIBYTE, ge=1, description="Longest body that is read, bytes of UTF-8")


class EnvelopeOptions(JSONOptions):
    """Options of every translator that opens SNS envelopes; of ``s3``, these and no more."""

    topics: list[Topic] = Field(
        [], description="ARNs of the topics that are wanted; then only what is in their envelopes is read. Empty: any"
    )
    control: Literal["error", "ignore"] = Field(
        "error", description="What a SubscriptionConfirmation or UnsubscribeConfirmation is: an error, or acked"
    )


class SNSOptions(EnvelopeOptions):
    """Options of the translator ``sns``."""

    format: Literal["json", "text"] = Field("json", description="What the inner message is: JSON, or text as it is")
    raw: Literal["accept", "refuse"] = Field(
        "accept", description="What is in no envelope (raw delivery): read as the inner message, or refused"
    )

    @model_validator(mode="after")
    def _text_has_no_model(self) -> Self:
        if self.format == "text" and self.model is not None:
            raise ValueError("model needs format = 'json': text is handed out as it is")
        return self


class EventBridgeOptions(EnvelopeOptions):
    """Options of the translator ``eventbridge``."""

    other: Literal["accept", "refuse"] = Field(
        "accept", description="What is no event (an input transformer's): the whole body is the payload, or refused"
    )


class SNSSignatureOptions(Options):
    """Options of the middleware ``sns-signature``."""

    topics: list[Topic] = Field(
        min_length=1,
        description="ARNs of the topics that are trusted. SNS signs for every topic, an attacker's own too",
    )
    require: bool = Field(True, description="Refuse what is in no envelope. false: it passes, as not verified")
    certificates: list[File] = Field(
        [], description="PEM files with SNS's signing certificates. With them, none is ever fetched"
    )
    max_bytes: int = Field(_MEBIBYTE, ge=1, description="Longest body that is read, bytes of UTF-8")
