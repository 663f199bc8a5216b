"""One topic: where it is and how much it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from loafer_core import SourceConfigError
from loafer_sqs.aws.client import Clients
from loafer_sqs.aws.errors import Denied
from loafer_sqs.messages.entries import MOST_BYTES
from loafer_sqs.messages.wire import number

DEFAULT_BYTES = 262_144
"""What a topic takes that does not say MaximumMessageSize: of one message, and of one batch. AWS API reference."""
MOST_PAGES = 1001
"""Of ListTopics: an account has at most 100,000 topics, and a page 100."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that was found."""

    name: str
    arn: str
    fifo: bool
    message_bytes: int
    batch_bytes: int

    send_method: ClassVar[str] = "publish_batch"
    body_key: ClassVar[str] = "Message"

    def __str__(self) -> str:
        return f"topic {self.name!r}"

    @property
    def address(self) -> Mapping[str, str]:
        return {"TopicArn": self.arn}


async def find(clients: Clients, topic: str) -> Topic:
    """Resolve a name by ListTopics; an ARN is taken as it is. Either way, prove that the topic is there if we may.

    Raises:
        SourceConfigError: there is no such topic, or it is not for us.
    """
    name = topic.rpartition(":")[2]
    arn = topic if topic != name else await _look_up(clients, name)
    try:
        attributes = await _attributes(clients, name, arn)
    except Denied:  # publishing needs no more than sns:Publish
        return Topic(name, arn, name.endswith(".fifo"), MOST_BYTES, DEFAULT_BYTES)
    most = number(attributes.get("MaximumMessageSize")) or DEFAULT_BYTES
    return Topic(name, arn, name.endswith(".fifo"), most, most)


async def _look_up(clients: Clients, name: str) -> str:
    of = f"topic {name!r}"
    page: dict[str, object] = {}
    for _ in range(MOST_PAGES):
        answer = await clients.ask("list_topics", of=of, request=page)
        for topic in answer.get("Topics") or ():
            arn = str(topic.get("TopicArn"))
            if arn.endswith(f":{name}"):
                return arn
        page = {"NextToken": answer.get("NextToken")}
        if not page["NextToken"]:
            break
    raise SourceConfigError(
        f"{clients.place_of('list_topics', of)}: there is no such topic in this account and region; create it, correct "
        "topic, region_name or endpoint_url, or give the ARN of another account's topic as topic"
    )


async def _attributes(clients: Clients, name: str, arn: str) -> Mapping[str, Any]:
    answer = await clients.ask("get_topic_attributes", of=f"topic {name!r}", request={"TopicArn": arn})
    found: Mapping[str, Any] = answer.get("Attributes") or {}
    return found
