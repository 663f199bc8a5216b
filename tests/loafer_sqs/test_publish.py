"""The handler ``sqs``: what it sends, and that True means that SQS has it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pydantic
import pytest

from loafer_core import ProviderError, SourceConfigError, Throttled, Unavailable
from loafer_sqs import SQSPublisher, SQSPublishOptions
from loafer_sqs.publish import encode

METADATA = {"message_id": "source-id", "group": None, "attributes": {}}


@pytest.fixture
async def open_publisher(context: Any, connect_to: Any) -> AsyncIterator[Callable[..., Awaitable[SQSPublisher]]]:
    """``await open_publisher(endpoint, queue, **options)``."""
    opened = []

    async def open(endpoint: str, queue: str, **options: Any) -> SQSPublisher:
        publisher = SQSPublisher(SQSPublishOptions(queue=queue, **connect_to(endpoint), **options))
        await publisher.open(context)
        opened.append(publisher)
        return publisher

    yield open
    for publisher in opened:
        await publisher.close()


def taken(body: str) -> dict:
    """What SQS answers to a SendMessage that it took."""
    return {"MessageId": "m", "MD5OfMessageBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()}


@dataclasses.dataclass
class Order:
    id: int
    note: str


class Payment(pydantic.BaseModel):
    amount: float


@pytest.mark.parametrize(
    ("payload", "encoder", "body"),
    [
        ("as it is", "auto", "as it is"),
        ("", "auto", ""),
        (b"\xc3\xbc", "auto", "ü"),
        ({"b": 1, "a": [True, None]}, "auto", '{"b":1,"a":[true,null]}'),
        (0, "auto", "0"),
        (None, "auto", "null"),
        (Order(1, "ü"), "auto", '{"id":1,"note":"ü"}'),
        (Payment(amount=1.5), "auto", '{"amount":1.5}'),
        ("text", "json", '"text"'),
        ("text", "text", "text"),
        (b"text", "text", "text"),
        ({"bell": "\x07", "hole": "\ufffe"}, "json", '{"bell":"\\u0007","hole":"\\ufffe"}'),
    ],
)
def test_a_payload_becomes_a_body_that_sqs_can_carry(payload, encoder, body):
    assert encode(payload, encoder) == body


@pytest.mark.parametrize(
    ("payload", "encoder"), [({"a": 1}, "text"), (b"\xff", "auto"), (float("nan"), "json"), (object(), "auto")]
)
def test_a_payload_that_makes_no_body_is_an_error(payload, encoder):
    with pytest.raises((TypeError, ValueError)):
        encode(payload, encoder)


async def test_a_payload_is_in_the_queue_when_the_handler_says_true(server, admin, open_publisher):
    queue = await admin.create()
    publisher = await open_publisher(server, queue)

    assert await publisher.handle({"id": 1}, METADATA) is True

    [message] = await admin.receive(queue, wait=2)
    assert message["Body"] == '{"id":1}'


async def test_attributes_are_carried_over_with_their_types(server, admin, open_provider, open_publisher):
    attributes = {
        "price": {"DataType": "Number", "StringValue": "1.50"},
        "tenant": {"DataType": "String", "StringValue": "acme"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    source, target = await admin.create("source"), await admin.create("target")
    await admin.send(source, "x", MessageAttributes=attributes)
    [received] = await (await open_provider(server, source)).receive(1)
    publisher = await open_publisher(server, target)

    await publisher.handle("x", {**received.metadata, "message_id": "i", "attributes": received.attributes})

    [message] = await admin.receive(target, wait=2)
    assert message["MessageAttributes"] == attributes


async def test_attributes_stay_where_they_are_if_so_told(server, admin, open_publisher):
    queue = await admin.create()
    publisher = await open_publisher(server, queue, carry_attributes=False)

    await publisher.handle("x", {**METADATA, "attributes": {"tenant": "acme"}})

    [message] = await admin.receive(queue, wait=2)
    assert "MessageAttributes" not in message


async def test_only_what_sqs_takes_is_carried_and_no_more_than_ten(scripted, open_publisher):
    scripted.on("SendMessage", taken("x"))
    publisher = await open_publisher(scripted.endpoint, "orders")
    odd = {"empty": "", "a b": "v", "AWS.trace": "v", "control": "\x00", "nothing": b""}

    await publisher.handle("x", {**METADATA, "attributes": odd | {f"a{number}": "v" for number in range(12)}})

    [request] = scripted.asked("SendMessage")
    assert list(request["MessageAttributes"]) == [f"a{number}" for number in range(10)]


async def test_attributes_that_stay_behind_are_said_once(scripted, open_publisher, caplog):
    scripted.on("SendMessage", taken("x"))
    publisher = await open_publisher(scripted.endpoint, "orders")

    for _ in range(2):
        await publisher.handle("x", {**METADATA, "attributes": {"a b": "canary"}})

    assert caplog.text.count("does not take these attributes: 'a b'") == 1
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("options", "metadata", "group", "dedup"),
    [
        ({}, {"group": "customer-1"}, "customer-1", "source-id"),
        ({}, {"group": None}, "source-id", "source-id"),
        ({"group": "fixed"}, {"group": "customer-1"}, "fixed", "source-id"),
        ({"dedup": "content"}, {"group": "g"}, "g", hashlib.sha256(b"x").hexdigest()),
        ({}, {"group": "g", "message_id": "ä" * 10}, "g", hashlib.sha256(("ä" * 10).encode()).hexdigest()),
    ],
)
async def test_a_fifo_target_gets_group_and_dedup_id(server, admin, open_publisher, options, metadata, group, dedup):
    queue = await admin.create("target.fifo")
    publisher = await open_publisher(server, queue, **options)

    await publisher.handle("x", {**METADATA, **metadata})

    [message] = await admin.receive(queue, wait=2)
    assert message["Attributes"]["MessageGroupId"] == group
    assert message["Attributes"]["MessageDeduplicationId"] == dedup


async def test_a_redelivered_source_message_is_in_a_fifo_target_once(server, admin, open_publisher):
    queue = await admin.create("target.fifo")
    publisher = await open_publisher(server, queue)

    await publisher.handle("x", METADATA)
    await publisher.handle("x", METADATA)

    assert await admin.left(queue) == 1


@pytest.mark.parametrize("group", [None, "customer-1"])
async def test_a_standard_target_gets_no_group_unless_told(scripted, open_publisher, group):
    scripted.on("SendMessage", taken("x"))
    publisher = await open_publisher(scripted.endpoint, "orders", group=group)

    await publisher.handle("x", {**METADATA, "group": "of the source"})

    [request] = scripted.asked("SendMessage")
    assert request.get("MessageGroupId") == group
    assert "MessageDeduplicationId" not in request


@pytest.mark.parametrize("answer", [{}, {"MessageId": "m", "MD5OfMessageBody": "0" * 32}, {"MD5OfMessageBody": "x"}])
async def test_what_sqs_does_not_confirm_is_an_error(scripted, open_publisher, answer):
    scripted.on("SendMessage", answer)
    publisher = await open_publisher(scripted.endpoint, "orders")

    with pytest.raises(Unavailable, match="does not confirm"):
        await publisher.handle("x", METADATA)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("RequestThrottled", Throttled), ("AccessDenied", SourceConfigError), ("InvalidMessageContents", ProviderError)],
)
async def test_what_sqs_refuses_is_a_provider_error(scripted, open_publisher, code, kind):
    scripted.on("SendMessage", scripted.error(code))
    publisher = await open_publisher(scripted.endpoint, "orders")

    with pytest.raises(kind, match=code) as failure:
        await publisher.handle("canary", METADATA)

    assert "canary" not in str(failure.value)
    assert code != "InvalidMessageContents" or not isinstance(failure.value, Unavailable)


async def test_a_body_over_a_mebibyte_is_refused_before_it_is_sent(scripted, open_publisher):
    publisher = await open_publisher(scripted.endpoint, "orders")

    with pytest.raises(ProviderError, match="1,048,577 bytes"):
        await publisher.handle("x" * 1_048_577, METADATA)

    assert scripted.asked("SendMessage") == []


@pytest.mark.parametrize("queue", ["no-such-queue", "https://127.0.0.1/000000000000/no-such-queue"])
async def test_a_missing_target_is_found_out_at_open(server, open_publisher, queue):
    with pytest.raises(SourceConfigError, match="no-such-queue"):
        await open_publisher(server, queue)


@pytest.mark.parametrize("queue", ["orders", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"])
async def test_the_permission_to_send_is_all_that_a_target_by_url_needs(scripted, open_publisher, caplog, queue):
    scripted.on("GetQueueAttributes", scripted.error("AccessDenied", 403))
    scripted.on("SendMessage", taken("x"))
    publisher = await open_publisher(scripted.endpoint, queue)

    assert await publisher.handle("x", METADATA) is True
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("body", "attributes", "text"),
    [(b"\xff", {}, "not UTF-8"), ("x", {"a b": "v"}, "does not take these attributes: 'a b'")],
)
async def test_a_provider_publishes_what_sqs_carries_or_nothing(scripted, open_provider, body, attributes, text):
    provider = await open_provider(scripted.endpoint, "orders")

    with pytest.raises(ProviderError, match=text):
        await provider.publish(body, attributes)

    assert scripted.asked("SendMessage") == []
