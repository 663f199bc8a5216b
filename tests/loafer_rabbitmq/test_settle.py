"""From the queue to a settlement and back, with a real broker."""

from __future__ import annotations

import asyncio

import pytest

from loafer_core import Ack, Nack, Reject, Settled
from loafer_rabbitmq import RabbitMQOptions, RabbitMQProvider


@pytest.fixture
def provider_of(broker):
    return lambda queue, **more: RabbitMQProvider(RabbitMQOptions(**broker.options(queue, **more)))


async def test_what_is_handled_is_gone_from_the_queue(broker, far, serve, eventually):
    queue = await far.declare()
    ids = await far.send(queue, "one", "two", "three", headers={"tenant": "acme"})
    seen = {}

    async def handle(text, metadata):
        seen[metadata["message_id"]] = text, metadata["attributes"], metadata["receive_count"]

    async with serve(queue, handle):
        await eventually(lambda: len(seen) == 3)
        await eventually(lambda: broker.messages(queue) == (0, 0))

    assert seen == {id: (text, {"tenant": "acme"}, 1) for id, text in zip(ids, ["one", "two", "three"], strict=True)}


async def test_a_nack_waits_in_the_core_and_then_comes_back(broker, far, serve, eventually):
    queue = await far.declare()
    await far.send(queue, "one")
    seen = []

    async def handle(text, metadata):
        seen.append((asyncio.get_running_loop().time(), metadata["receive_count"], metadata["redelivered"]))
        return Nack(delay=0.4) if len(seen) == 1 else Ack()

    async with serve(queue, handle):
        await eventually(lambda: len(seen) == 2)
        await eventually(lambda: broker.messages(queue) == (0, 0))

    [(first, *before), (second, *after)] = seen
    assert second - first >= 0.4
    assert before == [1, False]
    assert after == [None, True]  # a classic queue tells that it is not the first time, and no more


async def test_a_quorum_queue_counts_the_failed_attempts(far, serve, eventually):
    queue = await far.declare(kind="quorum")
    await far.send(queue, "one")
    counts = []

    async def handle(text, metadata):
        counts.append(metadata["receive_count"])
        return Nack(delay=0) if len(counts) < 3 else Ack()

    async with serve(queue, handle):
        await eventually(lambda: len(counts) == 3)

    assert counts == [1, 2, 3]


async def test_a_reject_lies_unchanged_in_the_dead_letter_queue(broker, far, serve, eventually):
    dead = await far.declare()
    queue = await far.declare(dead_letter=dead)
    sent = {"text": "é", "number": 5, "table": {"deep": [1, True]}, "bytes": bytearray(b"\xff\x00")}
    [id_] = await far.send(queue, b"\x00\xffbody", headers=sent, content_type="application/x-odd", type="order.made")

    async with serve(queue, lambda body: Reject("never"), options={"dead_letter": True}, translator=AsBytes()):
        letter = await far.get(dead)

    death = letter.headers["x-death"][0]
    assert (letter.body, letter.message_id, letter.content_type) == (b"\x00\xffbody", id_, "application/x-odd")
    assert {name: letter.headers[name] for name in sent} == sent
    assert letter.type == "order.made"
    assert (death["queue"], death["reason"]) == (queue, "rejected")
    assert broker.messages(queue) == (0, 0)


class AsBytes:
    def translate(self, message):
        from loafer_core import Translation

        return Translation(message.body)


async def test_without_a_dead_letter_exchange_a_reject_is_kept(broker, far, serve, eventually, caplog):
    queue = await far.declare()
    await far.send(queue, "one")

    async with serve(queue, lambda text: Reject("never")):
        await eventually(lambda: "has no dead-letter target" in caplog.text)

    await eventually(lambda: broker.messages(queue) == (1, 0))
    assert broker.messages(queue) == (1, 0)


async def test_failed_messages_in_waiting_do_not_keep_others_out(broker, far, serve, eventually):
    queue = await far.declare()
    await far.send(queue, "bad", "bad", "good", "bad", "good", "good")
    good = []

    async def handle(text):
        if text == "good":
            good.append(text)
            return Ack()
        return Nack(delay=60)

    async with serve(queue, handle, concurrency=2):
        await eventually(lambda: len(good) == 3)

    await eventually(lambda: broker.messages(queue) == (3, 0))


async def test_without_overtaking_the_prefetch_is_never_exceeded(broker, far, provider_of, desks):
    queue = await far.declare()
    await far.send(queue, "1", "2", "3", "4")
    desk = desks(concurrency=2, max_wait=1.6)
    provider = provider_of(queue, overtake=False)
    await provider.open(desk)

    await desk.take(provider, 2)

    assert await provider.receive(2) == []
    assert broker.messages(queue) == (2, 2)
    await provider.close()


async def test_no_more_than_the_concurrency_is_fetched(broker, far, provider_of, desks, eventually):
    queue = await far.declare()
    await far.send(queue, *map(str, range(20)))
    desk, provider = desks(concurrency=4), provider_of(queue)
    await provider.open(desk)

    [first] = await desk.take(provider)
    await eventually(lambda: broker.messages(queue) == (16, 4))
    assert await provider.ack([first]) == {first: Settled.DONE}
    await eventually(lambda: broker.messages(queue) == (15, 4))
    await desk.take(provider, 4)
    assert broker.messages(queue) == (15, 4)
    await provider.close()


async def test_settling_twice_does_no_harm_to_the_channel(broker, far, provider_of, desks, eventually):
    queue = await far.declare()
    await far.send(queue, "one", "two")
    desk, provider = desks(), provider_of(queue)
    await provider.open(desk)
    one, two = await desk.take(provider, 2)

    assert await provider.ack([one]) == await provider.ack([one]) == {one: Settled.DONE}
    assert await provider.release([one]) == {one: Settled.LOST}
    assert await provider.ack([two]) == {two: Settled.DONE}

    await eventually(lambda: broker.messages(queue) == (0, 0))
    assert desk.gone == []
    await provider.close()


async def test_a_failed_attempt_goes_back_by_another_verb_than_one_that_never_began(
    broker, far, wire, provider_of, desks, eventually
):
    """RabbitMQ 4.3 counts basic.reject as a failed delivery, and basic.nack not."""
    queue = await far.declare()
    await far.send(queue, "one", "two", "three")
    desk, provider = desks(concurrency=3), provider_of(queue, url=broker.url(port=wire.port), dead_letter=True)
    await provider.open(desk)
    one, two, three = await desk.take(provider, 3)

    await provider.nack({one: 0.0})
    await provider.release([two])
    await provider.reject([three], "never")
    await eventually(lambda: len(wire.written) == 3)

    assert wire.written == ["Basic.Reject requeue=True", "Basic.Nack requeue=True", "Basic.Reject"]
    await provider.close()


async def test_what_is_released_is_there_for_others_at_once(far, provider_of, desks):
    queue = await far.declare(kind="quorum")
    await far.send(queue, "one")
    desk, provider, other = desks(), provider_of(queue), provider_of(queue)
    await provider.open(desk)
    [message] = await desk.take(provider)

    assert await provider.release([message]) == {message: Settled.DONE}
    await provider.stop()
    await other.open(desk)
    [again] = await desk.take(other)

    assert again.id == message.id
    await other.ack([again])
    await provider.close()
    await other.close()
