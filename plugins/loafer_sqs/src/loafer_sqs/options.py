"""The options of the provider and of the publishing handlers. What the user writes; the only schema there is."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

from loafer_core import Options

_QUEUE = re.compile(r"https?://[^\s/]+/\S+|[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")
_TOPIC = re.compile(
    r"(arn:aws(-[a-z]+)*:sns:(?P<region>[a-z0-9-]+):\d{12}:)?([A-Za-z0-9_-]{1,256}|[A-Za-z0-9_-]{1,251}\.fifo)"
)


def _empty_is_unset(value: object) -> object:
    return None if value == "" else value  # "${SQS_ENDPOINT:-}" is how a file says "maybe"


def _topic(value: str) -> str:
    if not _TOPIC.fullmatch(value):
        raise ValueError(
            f"{value!r} is neither a topic's name (letters, digits, '-' and '_', at most 256; a FIFO topic's ends in "
            "'.fifo') nor a topic's ARN, such as arn:aws:sns:eu-west-1:123456789012:orders"
        )
    return value


def _subject(value: str | None) -> str | None:
    if value is not None and (len(value) >= 100 or re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", value)):
        raise ValueError("a subject has less than 100 characters, and no line breaks or control characters")
    return value


_Topic = Annotated[str, AfterValidator(_topic)]
_Subject = Annotated[str | None, BeforeValidator(_empty_is_unset), AfterValidator(_subject)]
_Text = Annotated[str | None, BeforeValidator(_empty_is_unset)]
_Secret = Annotated[SecretStr | None, BeforeValidator(_empty_is_unset)]
_Account = Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
_Group = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]


class AWSOptions(Options):
    """Where AWS is and who we are. What is left out comes from boto's own chain: environment, profile, role.

    Equal options share clients, so an instance is also the key that they are shared by.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    region_name: _Text = Field(None, description="AWS region; unset: AWS_DEFAULT_REGION, else the profile's")
    endpoint_url: _Text = Field(
        None,
        description="Endpoint; unset: AWS_ENDPOINT_URL_SQS (for a topic _SNS), AWS_ENDPOINT_URL, the profile's, AWS's",
    )
    profile_name: _Text = Field(None, description="Profile of ~/.aws/config; unset: AWS_PROFILE, else the default one")
    aws_access_key_id: _Text = Field(None, repr=False, description="Access key; unset: boto's credential chain")
    aws_secret_access_key: _Secret = Field(None, description="Secret of the access key")
    aws_session_token: _Secret = Field(None, description="Session token of a temporary access key")

    @field_validator("endpoint_url")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", value):
            raise ValueError("an endpoint is a URL such as https://sqs.eu-west-1.amazonaws.com")
        return value

    @model_validator(mode="after")
    def _keys_are_complete(self) -> Self:
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            raise ValueError("aws_access_key_id and aws_secret_access_key go together: set both or neither")
        if self.aws_session_token is not None and self.aws_access_key_id is None:
            raise ValueError("aws_session_token needs aws_access_key_id and aws_secret_access_key")
        return self

    def connection(self) -> AWSOptions:
        """The part that decides which clients are used."""
        return AWSOptions(**{name: getattr(self, name) for name in AWSOptions.model_fields})


class _QueueOptions(AWSOptions):
    queue: str = Field(description="Queue name or URL")
    queue_owner: _Account | None = Field(None, description="Account id of the queue's owner, if it is another's queue")

    @field_validator("queue")
    @classmethod
    def _is_a_queue(cls, value: str) -> str:
        if not _QUEUE.fullmatch(value):
            raise ValueError(
                f"{value!r} is neither a queue's name (letters, digits, '-' and '_', at most 80; "
                "a FIFO queue's ends in '.fifo') nor a queue's URL"
            )
        return value


class SQSOptions(_QueueOptions):
    """The provider ``sqs``."""

    wait_time_seconds: int = Field(20, ge=0, le=20, description="Long poll, seconds; 0 = short poll")
    visibility_timeout: int | None = Field(
        None, ge=1, le=43_200, description="Lease of a received message, seconds; unset: the queue's own"
    )
    max_messages: int = Field(10, ge=1, le=10, description="Most messages in one answer")
    client: Literal["sdk", "fast"] = Field(
        "sdk",
        description="'fast': receives and deletes go a shorter way through the SDK, for less than half the CPU time",
    )
    receives: int = Field(8, ge=1, le=10, description="Most receives at once on a standard queue; a FIFO queue has one")

    sandbox_topics: list[_Topic] = Field(
        [], description="SNS topics, by name or ARN, that --sandbox subscribes this queue to; read by nothing else"
    )
    sandbox_raw_delivery: bool = Field(
        False, description="Raw message delivery from the sandbox_topics: bodies without SNS's envelope"
    )

    @model_validator(mode="after")
    def _topics_fit(self) -> Self:
        if self.queue.endswith(".fifo") and not all(topic.endswith(".fifo") for topic in self.sandbox_topics):
            raise ValueError("sandbox_topics: SNS delivers to a FIFO queue from FIFO topics only (NAME.fifo)")
        return self


class PublishOptions(AWSOptions):
    """What both publishing handlers have."""

    group: _Group | None = Field(
        None, description="MessageGroupId; unset: of a FIFO target the source message's group, else its id"
    )
    dedup: Literal["id", "content"] = Field(
        "id", description="MessageDeduplicationId of a FIFO target: the source message's id, or the body's SHA-256"
    )
    carry_attributes: bool = Field(True, description="Send the source message's attributes along, at most ten")
    encoder: Literal["auto", "json", "text"] = Field(
        "auto",
        description="Body: 'json', 'text' (str or UTF-8 bytes as they are), 'auto' (text if it is, else JSON)",
    )


class SQSPublishOptions(PublishOptions, _QueueOptions):
    """The handler ``sqs``: sends the payload to a queue and acks once SQS has confirmed it."""


class SNSPublishOptions(PublishOptions):
    """The handler ``sns``: publishes the payload to a topic and acks once SNS has confirmed it."""

    topic: _Topic = Field(description="Topic name or ARN; an ARN brings its own region")
    subject: _Subject = Field(None, description="Subject, in the envelope and in e-mails; less than 100 characters")

    def connection(self) -> AWSOptions:
        known = _TOPIC.fullmatch(self.topic)
        region = known and known["region"]
        return super().connection().model_copy(update={"region_name": region or self.region_name})
