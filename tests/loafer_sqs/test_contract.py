"""Provider and publishing handlers keep their contracts, on a server that does what SQS's documentation says."""

from __future__ import annotations

import dataclasses
import itertools
import uuid
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from torture.fake_faults import Reset, Status
from torture.fake_queues import Stored
from torture.fake_sqs import FakeSQS

from loafer_core import CredentialError, Message, SourceConfigError, Traits, Unavailable
from loafer_core.testing import HandlerContract, ProviderContract
from loafer_core.testing.contracts.provider.order import Ordering
from loafer_core.testing.contracts.provider.settling import Settling

OPERATIONS = {
    "open": "GetQueueUrl",
    "receive": "ReceiveMessage",
    "ack": "DeleteMessageBatch",
    "nack": "ChangeMessageVisibilityBatch",
    "release": "ChangeMessageVisibilityBatch",
    "extend": "ChangeMessageVisibilityBatch",
    "reject": "SendMessageBatch",
    "handle": "SendMessageBatch",
}
_numbers = itertools.count(1)


class Harness:
    """A queue and its dead-letter queue on a server in the check's own loop."""

    def __init__(self, suffix: str = "", lease: int = 3, **more: object) -> None:
        self.name, self.more = f"contract-{next(_numbers)}{suffix}", more
        self.lease = lease
        self.fake: FakeSQS | None = None

    async def options(self) -> Mapping[str, object]:
        if self.fake is None:
            self.fake = FakeSQS()
            await self.fake.__aenter__()
            self.fake.create(self.name, dead_letters_after=100, VisibilityTimeout=f"{self.lease}")
        return {
            "queue": self.name,
            "endpoint_url": self.fake.endpoint,
            "region_name": "us-east-1",
            "aws_access_key_id": "contract-kit-key",
            "aws_secret_access_key": "contract-kit-secret",
            **self.more,
        }

    async def missing(self) -> Mapping[str, object]:
        return {**await self.options(), "queue": f"no-{self.name}"}

    async def publish(self, body, attributes=None, group=None) -> str:
        if isinstance(body, bytes) or not body:
            raise ValueError("SQS carries text, and no empty one")
        await self.options()
        texts = {name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()}
        id = f"id-{next(_numbers)}"
        self.queue.put(Stored(id, body, texts, group, id if group else None))
        return id

    @property
    def queue(self):
        return self.fake.backend.queues[self.name]

    def settled(self, id: str) -> bool:
        return id not in self.queue.messages

    def expire(self, id: str) -> None:
        self.queue.show(id)

    def rejected(self) -> list[Message]:
        return _messages(self.fake, self.name, dead=True)

    def sent(self) -> list[Message]:
        return _messages(self.fake, self.name, dead=False)

    def fail_next(self, operation: str, error: Exception) -> None:
        # Whatever is no poll is tried three times by the client itself.
        count = 1 if operation == "receive" else 3
        if isinstance(error, Unavailable):
            self.fake.fault(OPERATIONS[operation], Status("InternalError", 500), count=count)
        elif isinstance(error, SourceConfigError):
            self.fake.fault(OPERATIONS[operation], Status("QueueDoesNotExist"), count=1)
        elif isinstance(error, CredentialError):
            self.fake.fault(OPERATIONS[operation], Status("InvalidClientTokenId", 403), count=1)
        else:
            self.fake.fault(OPERATIONS[operation], Reset(), count=count)

    async def close(self) -> None:
        if self.fake is not None:
            await self.fake.__aexit__(None, None, None)


def _messages(fake: FakeSQS, name: str, *, dead: bool) -> list[Message]:
    stem, dot, kind = name.partition(".fifo")
    stored = fake.backend.queues[f"{stem}-dead{dot}{kind}" if dead else name].messages.values()
    return [Message(one.id, one.body, attributes=_texts(one.attributes)) for one in stored]


def _texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {name: value["StringValue"] for name, value in attributes.items() if "StringValue" in value}


class TestSQS(ProviderContract):
    component = "sqs"
    release_counts = True
    knows_late_acks = False
    traits = Traits(
        lease=3.0,
        lease_total=43_200.0,
        stable_ids=True,
        max_delay=43_200.0,
        batch=10,
        linger=0.1,
        receives=8,
        rejects=True,
    )

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness()


class TestSQSFast(TestSQS):
    """On the short way through the SDK."""

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness(client="fast")


class TestSQSHandler(HandlerContract):
    component = "sqs"

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness()


class TestFIFO(Ordering, Settling):
    """Where a FIFO queue differs; the whole contract on it takes a minute and proves no more."""

    component = "sqs"
    release_counts = True
    traits = dataclasses.replace(TestSQS.traits, ordered=True, linger=0.0, receives=1, lease=30.0)

    @pytest.fixture
    def harness(self) -> Harness:
        return Harness(".fifo", lease=30)


class Topic:
    """A topic of moto's and a queue that it delivers to."""

    def __init__(self, endpoint: str) -> None:
        keys = {"aws_access_key_id": "contract-kit-key", "aws_secret_access_key": "contract-kit-secret"}
        self.given = {"endpoint_url": endpoint, "region_name": "us-east-1", **keys}
        self.sns, self.sqs = boto3.client("sns", **self.given), boto3.client("sqs", **self.given)
        self.name = f"contract-{uuid.uuid4().hex}"
        self.url = self.sqs.create_queue(QueueName=self.name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topic = self.sns.create_topic(Name=self.name)["TopicArn"]
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
        self.arrived: list[str] = []

    def options(self) -> Mapping[str, object]:
        return {"topic": self.name, **self.given}

    def sent(self) -> list[str]:
        while found := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            self.arrived += [message["Body"] for message in found]
        return self.arrived

    def close(self) -> None:
        self.sns.close()
        self.sqs.close()


class TestSNSHandler(HandlerContract):
    component = "sns"

    @pytest.fixture
    def harness(self, moto_server: str) -> Topic:
        return Topic(moto_server)
