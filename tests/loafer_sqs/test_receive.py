"""What a received message looks like, on both servers."""

from __future__ import annotations

import asyncio
import time

BOTH_CLIENTS = True

ATTRIBUTES = {
    "tenant": {"DataType": "String", "StringValue": "acme"},
    "price": {"DataType": "Number", "StringValue": "1.50"},
    "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
}


async def test_a_message_arrives_with_its_body_untouched_and_both_kinds_of_attributes(server, admin, open_provider):
    queue = await admin.create()
    message_id = await admin.send(queue, ' {"id": 1}\n', MessageAttributes=ATTRIBUTES)
    provider = await open_provider(server, queue)

    [message] = await provider.receive(10)

    assert message.id == message_id
    assert message.body == ' {"id": 1}\n'
    assert message.attributes == {"tenant": "acme", "price": "1.50", "raw": b"\x00\xff"}
    assert message.receive_count == 1
    assert message.group is None
    assert message.sent_at is not None
    assert abs(message.sent_at - time.time()) < 60


async def test_a_message_brings_the_facts_that_its_source_knows(server, admin, open_provider):
    queue = await admin.create("orders.fifo")
    await admin.send(queue, "x", MessageGroupId="g", MessageDeduplicationId="d", MessageAttributes=ATTRIBUTES)
    provider = await open_provider(server, queue)

    [message] = await provider.receive(10)

    facts = message.metadata
    assert facts["queue"] == queue
    assert facts["queue_url"] == await admin.url(queue)
    assert facts["dedup_id"] == "d"
    assert facts["attribute_types"] == {"price": "Number"}
    assert {"sequence_number", "sender_id", "first_received_at"} <= facts.keys()
    assert message.group == "g"


async def test_a_group_id_on_a_standard_queue_is_a_tenant_and_orders_nothing(server, admin, open_provider):
    queue = await admin.create()
    await admin.send(queue, "x", MessageGroupId="tenant-1")
    provider = await open_provider(server, queue)

    [message] = await provider.receive(10)

    assert provider.traits.ordered is False
    assert message.group is None
    assert message.metadata["group_id"] == "tenant-1"


async def test_a_lease_ends_no_later_than_the_queue_says(server, admin, open_provider):
    queue = await admin.create(VisibilityTimeout="40")
    await admin.send(queue, "x")
    provider = await open_provider(server, queue)

    [message] = await provider.receive(10)

    left = message.lease_until - asyncio.get_running_loop().time()
    assert provider.traits.lease == 40
    assert 30 < left <= 39  # one second of margin for the answer's way


async def test_the_option_visibility_timeout_is_the_lease(server, admin, open_provider):
    queue = await admin.create(VisibilityTimeout="600")
    await admin.send(queue, "x")
    provider = await open_provider(server, queue, visibility_timeout=1, wait_time_seconds=5)

    assert provider.traits.lease == 1
    [first] = await provider.receive(10)
    [second] = await provider.receive(10)  # would come in ten minutes, were the queue's own in force
    assert (first.id, second.receive_count) == (second.id, 2)


async def test_a_receive_brings_no_more_than_its_limit(server, admin, open_provider):
    queue = await admin.create()
    for number in range(4):
        await admin.send(queue, str(number))
    provider = await open_provider(server, queue)

    assert len(await provider.receive(3)) == 3
    assert len(await provider.receive(100)) == 1


async def test_an_empty_queue_gives_no_messages_after_the_wait(server, admin, open_provider):
    queue = await admin.create()
    provider = await open_provider(server, queue, wait_time_seconds=0)

    assert list(await provider.receive(10)) == []


async def test_a_fifo_queue_is_ordered_and_keeps_the_rest_of_a_group_back(server, admin, open_provider):
    queue = await admin.create("orders.fifo")
    for number in range(4):
        await admin.send(queue, str(number), MessageGroupId="g", MessageDeduplicationId=str(number))
    provider = await open_provider(server, queue, wait_time_seconds=0)

    assert provider.traits.ordered is True
    assert provider.traits.receives == 1
    first = await provider.receive(2)
    assert [message.body for message in first] == ["0", "1"]
    assert list(await provider.receive(2)) == []
    await provider.ack(first)
    assert [message.body for message in await provider.receive(10)] == ["2", "3"]
