"""What happens to messages in hands when channel, connection, queue or broker go away under them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from loafer_core import Ack, Settled, SourceConfigError, Unavailable, current
from loafer_rabbitmq import RabbitMQOptions, RabbitMQProvider


@pytest.fixture
def provider_of(broker):
    return lambda queue, **more: RabbitMQProvider(RabbitMQOptions(**broker.options(queue, **more)))


async def test_a_cut_connection_tells_the_running_and_they_are_delivered_elsewhere(
    broker, far, wire, serve, provider_of, desks, eventually
):
    queue = await far.declare(kind="quorum")
    ids = await far.send(queue, "one", "two")
    started, told, elsewhere = [], [], desks()
    other = provider_of(queue)

    async def handle(text):
        started.append(current())
        if len(started) <= 2:
            await current().lease_lost.wait()
            told.append(text)

    async with serve(queue, handle, options={"url": broker.url(port=wire.port)}) as manager:
        await eventually(lambda: len(started) == 2)
        await other.open(elsewhere)
        wire.cut()
        again = await elsewhere.take(other, 2)
        await eventually(lambda: sorted(told) == ["one", "two"])
        await other.ack(again)
        account = manager.accounts["orders"]
    await other.close()

    assert sorted(message.id for message in again) == sorted(ids)
    assert [message.receive_count for message in again] == [2, 2]
    assert account.ack_lost == 2


async def test_a_message_of_a_dead_channel_is_lost_and_the_next_channel_is_left_alone(
    broker, far, wire, provider_of, desks, eventually
):
    queue = await far.declare()
    [id_] = await far.send(queue, "one")
    desk, provider = desks(), provider_of(queue, url=broker.url(port=wire.port))
    await provider.open(desk)
    [before] = await desk.take(provider)

    wire.cut()
    await eventually(lambda: desk.gone)
    assert [message for message, _ in desk.gone] == [before]
    [after] = await desk.take(provider)

    for settle in provider.ack, provider.release:
        assert await settle([before]) == {before: Settled.LOST}
    assert (after.id, broker.messages(queue)) == (id_, (0, 1))
    assert await provider.ack([after]) == {after: Settled.DONE}
    await eventually(lambda: broker.messages(queue) == (0, 0))
    await provider.close()


async def test_a_receive_that_waits_raises_what_ends_the_channel_and_the_next_works(
    broker, far, wire, provider_of, desks
):
    queue = await far.declare()
    desk, provider = desks(), provider_of(queue, url=broker.url(port=wire.port))
    for _ in range(2):
        await provider.open(desk)
        waiting = asyncio.create_task(provider.receive(1))
        await asyncio.sleep(0)

        wire.cut()

        with pytest.raises(Unavailable, match=f"queue '{queue}'.*Server connection"):
            await waiting
        await far.send(queue, "one")
        assert await provider.ack(await desk.take(provider)) != {}
        await provider.close()


async def test_what_was_pushed_and_not_handed_out_is_not_handed_out_after_a_cut(
    broker, far, wire, provider_of, desks, eventually
):
    queue = await far.declare()
    await far.send(queue, "one", "two", "three")
    desk, provider = desks(concurrency=3), provider_of(queue, url=broker.url(port=wire.port))
    await provider.open(desk)
    [handed_out] = await desk.take(provider)
    await eventually(lambda: broker.messages(queue) == (0, 3))

    wire.cut()
    await eventually(lambda: desk.gone)
    messages = await desk.take(provider, 3)

    assert [message.metadata["redelivered"] for message in messages] == [True] * 3
    assert [message for message, _ in desk.gone] == [handed_out]
    assert set((await provider.ack(messages)).values()) == {Settled.DONE}
    await provider.close()


async def test_a_broker_that_restarts_costs_no_message(broker, far, serve, eventually, caplog):
    caplog.set_level(logging.INFO, "loafer")
    queue, quorum = await far.declare(), await far.declare(kind="quorum")
    sent = {text: queue for text in ("one", "two", "three")}
    await far.send(queue, *sent)
    seen, started, killed = [], asyncio.Event(), asyncio.Event()

    async def handle(text):
        started.set()
        await killed.wait()
        seen.append(text)

    async with serve(queue, handle, concurrency=2):
        await started.wait()
        await asyncio.to_thread(broker.kill)
        killed.set()
        await eventually(lambda: "receive failed (Unavailable" in caplog.text)
        await asyncio.to_thread(broker.start)
        await eventually(lambda: broker.messages(queue) == (0, 0), within=40)

    assert set(seen) == set(sent)
    assert "orders: receiving again" in caplog.text
    assert "Traceback" not in caplog.text
    assert broker.messages(quorum) == (0, 0)


async def test_a_deleted_queue_is_a_configuration_error_until_it_is_there_again(far, provider_of, desks, eventually):
    queue = await far.declare()
    await far.send(queue, "one")
    desk, provider = desks(), provider_of(queue)
    await provider.open(desk)
    [message] = await desk.take(provider)

    await far.channel.queue_delete(queue)
    await eventually(lambda: desk.gone)
    with pytest.raises(SourceConfigError, match=f"no queue '{queue}' in vhost '/'; create it"):
        await provider.receive(1)
    await far.declare(queue)
    await far.send(queue, "two")
    [later] = await desk.take(provider)

    assert await provider.ack([message, later]) == {message: Settled.LOST, later: Settled.DONE}
    await provider.close()


async def test_what_is_held_almost_as_long_as_the_broker_allows_is_given_back_alone(
    broker, far, serve, eventually, caplog
):
    queue = await far.declare()
    await far.send(queue, "slow")
    seen, lost = [], asyncio.Event()

    async def handle(text, metadata):
        seen.append((text, metadata["redelivered"]))
        if seen == [("slow", False)]:
            await current().lease_lost.wait()
            lost.set()
        return Ack()

    async with serve(queue, handle, options={"consumer_timeout": 1}, concurrency=2):
        await lost.wait()
        await far.send(queue, "quick")
        await eventually(lambda: len(seen) == 3)
        await eventually(lambda: broker.messages(queue) == (0, 0))

    assert sorted(seen) == [("quick", False), ("slow", False), ("slow", True)]
    assert "the channel was closed" not in caplog.text


async def test_a_channel_that_the_broker_closes_for_its_consumer_timeout_is_a_loss_like_any_other(
    broker, far, provider_of, desks, eventually
):
    queue = await far.declare()
    [id_] = await far.send(queue, "one")
    desk, provider = desks(), provider_of(queue, consumer_timeout=0)
    broker.ask("[application:set_env(rabbit, K, 500) || K <- [consumer_timeout, channel_tick_interval]]")
    try:
        await provider.open(desk)
        [before] = await desk.take(provider)
        await eventually(lambda: desk.gone)
    finally:
        broker.ask("application:set_env(rabbit, consumer_timeout, 1800000)")
        broker.ask("application:set_env(rabbit, channel_tick_interval, 60000)")
    [after] = await desk.take(provider)

    assert [(message, "timed out" in reason) for message, reason in desk.gone] == [(before, True)]
    assert (after.id, await provider.ack([before, after])) == (id_, {before: Settled.LOST, after: Settled.DONE})
    await provider.close()


async def test_acks_get_through_while_the_broker_takes_nothing_from_publishers(
    broker, far, provider_of, desks, eventually
):
    queue = await far.declare()
    desk, provider = desks(), provider_of(queue)
    await provider.open(desk)
    await provider.publish("one")
    [one] = await desk.take(provider)

    broker.ask("rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})")
    try:
        publishing = asyncio.create_task(provider.publish("two"))
        await eventually(lambda: "blocked" in broker.ask("rabbit_networking:connection_info_all([state])"))
        await provider.ack([one])
        await eventually(lambda: broker.messages(queue) == (0, 0))
        assert not publishing.done()
    finally:
        broker.ask("rabbit_alarm:clear_alarm({resource_limit, memory, node()})")
    id_ = await publishing
    [two] = await desk.take(provider)

    assert two.id == id_
    await provider.ack([two])
    await provider.close()
