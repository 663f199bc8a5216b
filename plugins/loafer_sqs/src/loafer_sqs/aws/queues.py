"""One queue: where it is and what its attributes say."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from loafer_core import ProviderError, SourceConfigError, Unavailable
from loafer_sqs.aws.client import Clients
from loafer_sqs.messages.entries import MOST_BYTES

logger = logging.getLogger("loafer.sqs")


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue that was found. The endpoint is never derived from its URL, which may name another host."""

    name: str
    url: str
    fifo: bool

    send_method: ClassVar[str] = "send_message_batch"
    body_key: ClassVar[str] = "MessageBody"
    message_bytes: ClassVar[int] = MOST_BYTES
    batch_bytes: ClassVar[int] = MOST_BYTES

    def __str__(self) -> str:
        return f"queue {self.name!r}"

    @property
    def address(self) -> Mapping[str, str]:
        return {"QueueUrl": self.url}


@dataclass(frozen=True, slots=True)
class Redrive:
    """Where SQS puts what was received too often."""

    name: str
    owner: str | None
    max_receive_count: int


async def find(clients: Clients, queue: str, owner: str | None) -> Queue:
    """Resolve a name by GetQueueUrl; a URL is taken as it is."""
    if "://" in queue:
        name = queue.rstrip("/").rsplit("/", 1)[-1]
        return Queue(name, queue, name.endswith(".fifo"))
    other_account = {} if owner is None else {"QueueOwnerAWSAccountId": owner}
    of = f"queue {queue!r}"
    answer = await clients.ask("get_queue_url", of=of, request={"QueueName": queue, **other_account})
    url = answer.get("QueueUrl")
    if not isinstance(url, str):
        raise Unavailable(f"{clients.place_of('get_queue_url', of)}: an answer without QueueUrl")
    return Queue(queue, url, queue.endswith(".fifo"))


async def attributes(clients: Clients, queue: Queue) -> Mapping[str, str]:
    """Everything GetQueueAttributes tells. Raises Denied where it is not allowed."""
    request = {**queue.address, "AttributeNames": ["All"]}
    answer = await clients.ask("get_queue_attributes", of=queue, request=request)
    found: Mapping[str, str] = answer.get("Attributes") or {}
    return found


async def attributes_if_allowed(clients: Clients, queue: Queue | None) -> Mapping[str, str]:
    """What can be learned without insisting: nothing where there is no queue, no permission, or no answer."""
    if queue is None:
        return {}
    try:
        return await attributes(clients, queue)
    except ProviderError:
        return {}


def redrive(attributes: Mapping[str, str]) -> Redrive | None:
    """Read the RedrivePolicy; None when there is none that could be read."""
    try:
        policy = json.loads(attributes.get("RedrivePolicy") or "null")
        owner, name = policy["deadLetterTargetArn"].split(":")[4:6]
        return Redrive(name, owner or None, int(policy["maxReceiveCount"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


async def dead_letters(clients: Clients, target: Redrive | None) -> Queue | None:
    """Find the dead-letter queue, if there is one and we may know it."""
    if target is None:
        return None
    try:
        return await find(clients, target.name, target.owner)
    except SourceConfigError as error:
        logger.warning("dead-letter queue %r cannot be resolved, reject() is off: %s", target.name, error)
        return None
