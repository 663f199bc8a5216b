"""The handler ``sqs``: what it sends, and that True means that SQS has it."""

from __future__ import annotations

import dataclasses
import hashlib

import pydantic
import pytest

from loafer_core import SourceConfigError
from loafer_sqs.messages.entries import encode

METADATA = {"message_id": "source-id", "group": None, "attributes": {}}


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


@pytest.mark.parametrize("queue", ["no-such-queue", "https://127.0.0.1/000000000000/no-such-queue"])
async def test_a_missing_target_is_found_out_at_open(server, open_publisher, queue):
    with pytest.raises(SourceConfigError, match="no-such-queue"):
        await open_publisher(server, queue)
