"""Ack, nack, release, extend, reject: what the source says and what it does, on both servers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loafer_core import Settled
from loafer_sqs.messages.wire import Receipt

BOTH_CLIENTS = True


async def test_an_acked_message_is_gone(server, admin, open_provider):
    queue = await admin.create()
    await admin.send(queue, "x")
    provider = await open_provider(server, queue)
    [message] = await provider.receive(10)

    assert await provider.ack([message]) == {message: Settled.DONE}
    assert await admin.left(queue) == 0


# moto's queue loses one of several deletes that come at once.
@pytest.mark.parametrize("server", [pytest.param("ministack", marks=pytest.mark.server)], indirect=True)
async def test_twenty_five_messages_are_acked_in_batches_of_ten(server, admin, open_provider):
    queue = await admin.create()
    for number in range(25):
        await admin.send(queue, str(number))
    provider = await open_provider(server, queue, wait_time_seconds=0)
    messages = []
    while received := await provider.receive(10):
        messages += received

    answers = await provider.ack(messages)

    assert len(messages) == 25
    assert answers == dict.fromkeys(messages, Settled.DONE)
    assert await admin.left(queue) == 0


async def test_one_bad_receipt_in_a_batch_is_lost_and_the_others_are_done(server, admin, open_provider):
    queue = await admin.create()
    for body in "abc":
        await admin.send(queue, body)
    provider = await open_provider(server, queue)
    first, second, third = await provider.receive(10)
    bad = replace(second, receipt=Receipt("garbage", {}))

    answers = await provider.ack([first, bad, third])

    assert answers == {first: Settled.DONE, bad: Settled.LOST, third: Settled.DONE}


async def test_a_released_message_is_there_at_once_for_anyone(server, admin, open_provider):
    queue = await admin.create()
    await admin.send(queue, "x")
    provider = await open_provider(server, queue)
    [message] = await provider.receive(10)

    assert await provider.release([message]) == {message: Settled.DONE}
    [again] = await provider.receive(10)
    assert (again.id, again.receive_count) == (message.id, 2)


async def test_a_nacked_message_comes_back_after_its_delay_and_not_before(server, admin, open_provider):
    queue = await admin.create()
    await admin.send(queue, "x")
    provider = await open_provider(server, queue)
    [message] = await provider.receive(10)

    assert await provider.nack({message: 1.2}) == {message: Settled.DONE}
    assert await admin.receive(queue) == []
    [again] = await provider.receive(10)  # polls for five seconds
    assert (again.id, again.receive_count) == (message.id, 2)


async def test_a_nack_never_asks_for_more_than_the_twelve_hours_of_one_delivery(server, admin, open_provider):
    queue = await admin.create()
    await admin.send(queue, "x")
    provider = await open_provider(server, queue)
    [message] = await provider.receive(10)

    assert await provider.nack({message: 43_200}) == {message: Settled.DONE}
    assert await admin.receive(queue) == []


async def test_an_extended_lease_outlives_the_one_it_was_received_with(server, admin, open_provider):
    queue = await admin.create()
    await admin.send(queue, "x")
    short = await open_provider(server, queue, visibility_timeout=1)
    long = await open_provider(server, queue, visibility_timeout=30)
    [message] = await short.receive(10)

    assert await long.extend([message]) == {message: Settled.DONE}
    assert await admin.receive(queue, wait=3) == []  # three times the first lease


async def test_extending_what_is_not_ours_any_more_is_lost(server, admin, open_provider):
    queue = await admin.create()
    await admin.send(queue, "x")
    provider = await open_provider(server, queue)
    [message] = await provider.receive(10)
    await provider.ack([message])

    assert await provider.extend([message]) == {message: Settled.LOST}


async def test_sqs_dead_letters_what_was_received_too_often(server, admin, open_provider):
    queue = await admin.create(dead_letters_after=2)
    await admin.send(queue, "poison")
    provider = await open_provider(server, queue, wait_time_seconds=1)
    for count in (1, 2):
        [message] = await provider.receive(10)
        assert message.receive_count == count
        await provider.nack({message: 0})

    assert list(await provider.receive(10)) == []
    [dead] = await admin.receive(admin.dead(queue))
    assert dead["Body"] == "poison"


async def test_a_rejected_message_is_in_the_dead_letter_queue_unchanged_and_gone_from_its_own(
    server, admin, open_provider
):
    attributes = {
        "price": {"DataType": "Number", "StringValue": "1.50"},
        "raw": {"DataType": "Binary.gzip", "BinaryValue": b"\x00\xff"},
    }
    queue = await admin.create(dead_letters_after=3)
    await admin.send(queue, "ünread\n", MessageAttributes=attributes)
    provider = await open_provider(server, queue)
    [message] = await provider.receive(10)

    assert provider.traits.rejects is True
    assert await provider.reject([message], "no such customer") == {message: Settled.DONE}

    [dead] = await admin.receive(admin.dead(queue))
    assert dead["Body"] == "ünread\n"
    assert {name: dead["MessageAttributes"][name] for name in attributes} == attributes
    assert dead["MessageAttributes"]["loafer.reason"]["StringValue"] == "no such customer"
    assert dead["MessageAttributes"]["loafer.message_id"]["StringValue"] == message.id
    assert await admin.left(queue) == 0


async def test_a_rejected_fifo_message_keeps_its_group_and_is_dead_lettered_once_even_if_it_is_rejected_twice(
    server, admin, open_provider
):
    queue = await admin.create("orders.fifo", dead_letters_after=3)
    await admin.send(queue, "x", MessageGroupId="customer-1", MessageDeduplicationId="d")
    provider = await open_provider(server, queue)
    [message] = await provider.receive(10)

    await provider.reject([message], "bad")
    await provider.reject([message], "bad")

    [dead] = await admin.receive(admin.dead(queue))
    assert dead["Attributes"]["MessageGroupId"] == "customer-1"


async def test_a_message_with_ten_attributes_of_its_own_is_rejected_with_exactly_those(server, admin, open_provider):
    attributes = {f"a{number}": {"DataType": "String", "StringValue": "v"} for number in range(10)}
    queue = await admin.create(dead_letters_after=3)
    await admin.send(queue, "x", MessageAttributes=attributes)
    provider = await open_provider(server, queue)
    [message] = await provider.receive(10)

    await provider.reject([message], "bad")

    [dead] = await admin.receive(admin.dead(queue))
    assert dead["MessageAttributes"] == attributes


async def test_without_a_dead_letter_queue_the_provider_says_that_it_cannot_reject(server, admin, open_provider):
    provider = await open_provider(server, await admin.create())

    assert provider.traits.rejects is False


@pytest.mark.parametrize("name", ["orders", "orders.fifo"])
async def test_the_provider_works_again_after_it_was_closed(server, admin, context, open_provider, name):
    queue = await admin.create(name)
    provider = await open_provider(server, queue)
    await provider.stop()
    await provider.stop()
    await provider.close()
    await provider.close()
    await provider.open(context)

    await provider.publish("hello")

    [message] = await provider.receive(10)
    assert message.body == "hello"


async def test_the_depth_is_measured(server, admin, open_provider):
    queue = await admin.create()
    provider = await open_provider(server, queue)
    for body in "abc":
        await provider.publish(body)
    await provider.receive(1)

    measured = await provider.measure()

    assert measured["depth"] == 2
    assert measured["in_flight"] == 1
