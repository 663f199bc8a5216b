"""The handler ``sns`` on real servers: what is published is received from the queues that are subscribed."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest

from loafer_core import SourceConfigError

METADATA = {"message_id": "source-id", "group": None, "attributes": {}}


async def test_a_payload_is_in_every_queue_of_the_topic_in_an_envelope(server, admin, open_publisher, open_provider):
    queues = [await admin.create("billing"), await admin.create("shipping")]
    arn = await admin.topic("orders", *queues)
    publisher = await open_publisher(server, topic=arn, subject="An order")

    assert await publisher.handle({"id": 1}, METADATA) is True

    for queue in queues:
        [message] = await (await open_provider(server, queue)).receive(10)
        envelope = json.loads(message.body)
        assert (envelope["Type"], envelope["TopicArn"]) == ("Notification", arn)
        assert (envelope["Message"], envelope["Subject"]) == ('{"id":1}', "An order")


async def test_with_raw_delivery_body_and_attributes_arrive_as_they_were_sent(
    server, admin, open_publisher, open_provider
):
    queue = await admin.create()
    publisher = await open_publisher(server, topic=await admin.topic("orders", queue, raw=True))
    attributes = {"tenant": "acme", "price": "1.50"}

    await publisher.handle("ü", {**METADATA, "attributes": attributes, "attribute_types": {"price": "Number"}})

    [message] = await (await open_provider(server, queue)).receive(10)
    assert (message.body, message.attributes) == ("ü", attributes)
    assert message.metadata["attribute_types"] == {"price": "Number"}


async def test_a_topic_is_found_by_its_name_among_hundreds(server, admin, open_publisher):
    queue = await admin.create()
    arn = await admin.topic("orders", queue)
    await asyncio.gather(*(admin.topic(f"other-{number}") for number in range(120)))  # more than one page
    name = arn.rpartition(":")[2]
    publisher = await open_publisher(server, topic=name)

    await publisher.handle("x", METADATA)

    assert await admin.left(queue) == 1


async def test_a_missing_topic_is_found_out_at_open(server, open_publisher):
    for topic in ("no-such-topic", "arn:aws:sns:us-east-1:123456789012:no-such-topic"):
        with pytest.raises(SourceConfigError, match="topic 'no-such-topic'"):
            await open_publisher(server, topic=topic)


@pytest.mark.parametrize(
    ("options", "metadata", "group", "dedup"),
    [
        ({}, {"group": "customer-1"}, "customer-1", "source-id"),
        ({}, {"group": None}, "source-id", "source-id"),
        ({"group": "fixed", "dedup": "content"}, {"group": "g"}, "fixed", hashlib.sha256(b"x").hexdigest()),
    ],
)
async def test_a_fifo_topic_gets_group_and_dedup_id(server, admin, open_publisher, options, metadata, group, dedup):
    queue = await admin.create("orders.fifo")
    publisher = await open_publisher(server, topic=await admin.topic("orders.fifo", queue, raw=True), **options)

    await publisher.handle("x", {**METADATA, **metadata})

    [message] = await admin.receive(queue, wait=2)
    assert message["Attributes"]["MessageGroupId"] == group
    assert message["Attributes"]["MessageDeduplicationId"] == dedup


async def test_many_at_once_arrive_in_order_through_a_fifo_topic(server, admin, open_publisher):
    queue = await admin.create("orders.fifo")
    publisher = await open_publisher(server, topic=await admin.topic("orders.fifo", queue, raw=True), group="g")

    await asyncio.gather(*(publisher.handle(str(number), {"message_id": f"id-{number}"}) for number in range(25)))

    received: list[str] = []
    while messages := await admin.receive(queue):
        received += [message["Body"] for message in messages]
        for message in messages:
            await admin.client.delete_message(QueueUrl=await admin.url(queue), ReceiptHandle=message["ReceiptHandle"])
    assert received == [str(number) for number in range(25)]
