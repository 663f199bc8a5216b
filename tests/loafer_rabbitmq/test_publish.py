"""Sending: the handler, and the provider's own ``publish``."""

from __future__ import annotations

import asyncio

import pytest

from loafer_core import Manager, Nack, Route, SourceConfigError, Unavailable
from loafer_rabbitmq import (
    RabbitMQOptions,
    RabbitMQProvider,
    RabbitMQPublisher,
    RabbitMQPublishOptions,
)


@pytest.fixture
async def publisher(broker, desks):
    """Open publishers: ``await publisher(queue=...)``."""
    made = []

    async def publisher(**more):
        known = broker.options("")
        del known["queue"]
        made.append(RabbitMQPublisher(RabbitMQPublishOptions(**{**known, **more})))
        await made[-1].open(desks())
        return made[-1]

    yield publisher
    for one in made:
        await one.close()


async def test_a_route_forwards_from_queue_to_queue_without_a_line_of_python(broker, far, eventually):
    source, target = await far.declare(), await far.declare()
    attributes = {"tenant": "acme", "token": bytearray(b"\xff\x00"), "x-custom": "kept"}
    [id_] = await far.send(source, '{"id": 1, "name": "é"}', headers=attributes)
    route = Route(
        "forward",
        provider={"name": "rabbitmq", **broker.options(source)},
        translator="json",
        handler={"name": "rabbitmq", **broker.options(target)},
    )

    async with Manager([route]):
        arrived = await far.get(target)
        await eventually(lambda: broker.messages(source) == (0, 0))

    assert arrived.body.decode() == '{"id":1,"name":"é"}'
    assert (arrived.message_id, arrived.content_type, arrived.delivery_mode) == (id_, "application/json", 2)
    assert arrived.headers == attributes


async def test_an_exchange_gets_the_source_messages_routing_key_unless_another_is_given(far, publisher):
    exchange, queue = await far.channel.declare_exchange("events", "topic"), await far.declare()
    await (await far.channel.get_queue(queue)).bind(exchange, "order.#")
    own, given = await publisher(exchange="events"), await publisher(exchange="events", routing_key="order.given")

    assert await own.handle("one", {"message_id": "1", "routing_key": "order.paid"}) is True
    assert await given.handle("two", {"message_id": "2", "routing_key": "order.paid"}) is True

    assert [(await far.get(queue)).routing_key, (await far.get(queue)).routing_key] == ["order.paid", "order.given"]


async def test_what_no_queue_wants_is_an_error_and_the_source_message_stays(broker, far, eventually):
    queue = await far.declare()
    await far.channel.declare_exchange("lonely", "direct")
    await far.send(queue, "one")
    failures = []

    def note(failure):
        failures.append(failure.error)
        return Nack(delay=60)

    known = broker.options(queue)
    del known["queue"]
    route = Route(
        "orders",
        provider={"name": "rabbitmq", **broker.options(queue)},
        handler={"name": "rabbitmq", **known, "exchange": "lonely", "routing_key": "nobody"},
        error_handler=note,
    )
    async with Manager([route]):
        await eventually(lambda: failures)
    await eventually(lambda: broker.messages(queue) == (1, 0))

    assert isinstance(failures[0], SourceConfigError)
    assert "exchange 'lonely'" in str(failures[0])
    assert "no queue is bound there" in str(failures[0])


async def test_each_of_many_unroutable_messages_of_one_id_is_told(far, publisher):
    await far.channel.declare_exchange("lonely", "direct")
    lonely = await publisher(exchange="lonely")

    answers = await asyncio.gather(
        *[lonely.handle("x", {"message_id": "same"}) for _ in range(5)], return_exceptions=True
    )

    assert [type(answer).__mro__[1] for answer in answers] == [SourceConfigError] * 5


async def test_a_target_that_is_missing_is_noticed_at_the_start(publisher):
    with pytest.raises(SourceConfigError, match="no queue 'missing' in vhost '/'"):
        await publisher(queue="missing")
    with pytest.raises(SourceConfigError, match="no exchange 'missing' in vhost '/'"):
        await publisher(exchange="missing")


async def test_a_queue_that_is_full_is_trouble_that_passes(far, publisher):
    queue = "full"
    await far.channel.declare_queue(queue, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    full = await publisher(queue=queue)

    assert await full.handle("one", {}) is True
    with pytest.raises(Unavailable, match="did not take the message; is a queue full"):
        await full.handle("two", {})


async def test_a_publisher_survives_the_loss_of_its_connection(broker, far, wire, publisher):
    queue = await far.declare()
    sending = await publisher(queue=queue, url=broker.url(port=wire.port))
    await sending.handle("one", {})

    wire.cut()
    while True:
        try:
            await sending.handle("two", {})
            break
        except Unavailable:
            pass  # written before the loss was noticed

    assert [(await far.get(queue)).body, (await far.get(queue)).body] == [b"one", b"two"]


async def test_the_provider_sends_to_its_own_queue(broker, far, desks):
    queue, desk = await far.declare(), desks()
    provider = RabbitMQProvider(RabbitMQOptions(**broker.options(queue)))
    await provider.open(desk)

    id_ = await provider.publish("text", {"tenant": "acme", "raw": b"\xff"})
    [message] = await desk.take(provider)

    assert (message.id, message.body, message.attributes) == (id_, b"text", {"tenant": "acme", "raw": b"\xff"})
    await provider.ack([message])
    await provider.close()


@pytest.mark.parametrize(
    ("payload", "encoder", "body"),
    [
        ("text", "auto", b"text"),
        (b"\xff", "auto", b"\xff"),
        ({"a": [1, None]}, "auto", b'{"a":[1,null]}'),
        ("text", "json", b'"text"'),
        (0, "auto", b"0"),
        ("", "text", b""),
    ],
)
async def test_a_payload_becomes_a_body(far, publisher, payload, encoder, body):
    queue = await far.declare()
    await (await publisher(queue=queue, encoder=encoder)).handle(payload, {})
    assert (await far.get(queue)).body == body


@pytest.mark.parametrize(("payload", "encoder"), [({"a": 1}, "text"), (float("nan"), "json"), (object(), "auto")])
async def test_what_no_body_can_be_made_of_is_an_error_that_does_not_show_it(far, publisher, payload, encoder):
    sending = await publisher(queue=await far.declare(), encoder=encoder)
    with pytest.raises((TypeError, ValueError)):
        await sending.handle(payload, {})


async def test_attributes_stay_behind_if_they_shall(far, publisher):
    queue = await far.declare()
    sending = await publisher(queue=queue, carry_attributes=False)
    await sending.handle("text", {"attributes": {"secret": "x"}})
    assert (await far.get(queue)).headers == {}
