"""The options of the provider and of the publishing handler. What the user writes; the only schema there is."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints, field_validator, model_validator

from loafer_core import Options

_QUEUE = re.compile(r"https?://[^\s/]+/\S+|[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")


def _empty_is_unset(value: object) -> object:
    return None if value == "" else value  # "${SQS_ENDPOINT:-}" is how a file says "maybe"


_Text = Annotated[str | None, BeforeValidator(_empty_is_unset)]
_Secret = Annotated[SecretStr | None, BeforeValidator(_empty_is_unset)]
_Account = Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
_Group = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,128}$")]


class AWSOptions(Options):
    """Where SQS is and who we are. What is left out comes from boto's own chain: environment, profile, role.

    Equal options share one pair of clients, so an instance is also the key that they are shared by.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    region_name: _Text = Field(None, description="AWS region; unset: AWS_DEFAULT_REGION, else the profile's")
    endpoint_url: _Text = Field(
        None, description="SQS endpoint; unset: AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL, the profile's, else AWS's own"
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
    receives: int = Field(8, ge=1, le=10, description="Most receives at once on a standard queue; a FIFO queue has one")


class SQSPublishOptions(_QueueOptions):
    """The handler ``sqs``: sends the payload to a queue and acks once SQS has confirmed it."""

    group: _Group | None = Field(
        None, description="MessageGroupId; unset: on a FIFO queue the source message's group, else its id"
    )
    dedup: Literal["id", "content"] = Field(
        "id", description="MessageDeduplicationId on a FIFO queue: the source message's id, or the body's SHA-256"
    )
    carry_attributes: bool = Field(True, description="Send the source message's attributes along, at most ten")
    encoder: Literal["auto", "json", "text"] = Field(
        "auto",
        description="Body: 'json', 'text' (str or UTF-8 bytes as they are), 'auto' (text if it is, else JSON)",
    )
