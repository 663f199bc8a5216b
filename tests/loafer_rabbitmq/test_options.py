"""What the user may write, and what is never shown of it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from pydantic import ValidationError

import loafer_rabbitmq
from loafer_core import ConfigError, Manager
from loafer_rabbitmq import (
    ConnectionOptions,
    RabbitMQOptions,
    RabbitMQProvider,
    RabbitMQPublisher,
    RabbitMQPublishOptions,
    plugin,
)

URL = "amqp://rabbit.example"


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({"url": URL}, "amqp://guest:guest@rabbit.example/%2F?heartbeat=20"),
        ({"url": f"{URL}:5673/"}, "amqp://guest:guest@rabbit.example:5673/%2F?heartbeat=20"),
        ({"url": f"{URL}/shop"}, "amqp://guest:guest@rabbit.example/shop?heartbeat=20"),
        ({"url": f"{URL}/%2Fshop", "heartbeat": "5"}, "amqp://guest:guest@rabbit.example/%2Fshop?heartbeat=5"),
        ({"url": "amqps://me:p%40ss@[::1]:5671/x"}, "amqps://me:p%40ss@[::1]:5671/x?heartbeat=20"),
        ({"url": "amqp://me@host", "password": "a/b@c%"}, "amqp://me:a%2Fb%40c%25@host/%2F?heartbeat=20"),
        ({"url": "amqp://me:old@host", "username": "you", "password": "x"}, "amqp://you:x@host/%2F?heartbeat=20"),
        ({"url": URL, "username": "", "password": ""}, "amqp://guest:guest@rabbit.example/%2F?heartbeat=20"),
    ],
)
def test_an_address_is_made_of_what_was_given(options, address):
    assert ConnectionOptions(**options).address() == address


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "rabbit.example"}, "a broker's URL is such as"),
        ({"url": "http://rabbit.example"}, "a broker's URL is such as"),
        ({"url": f"{URL}?no_verify_ssl=1"}, "without '?'"),
        ({"url": "amqp://host:port"}, "needs a host, and a port between 1 and 65535"),
        ({"url": "amqp://:5672"}, "needs a host"),
        ({"url": URL, "ca_file": "ca.pem"}, "write the url with amqps://"),
        ({"url": "amqps://host", "key_file": "key.pem"}, "key_file needs cert_file"),
        ({"url": URL, "password": "canary"}, "password needs username"),
        ({"url": URL, "heartbeat": 0}, "greater than or equal to 2"),
    ],
)
def test_what_cannot_be_meant_is_refused_without_showing_it(options, said):
    with pytest.raises(ValidationError, match=said) as refused:
        ConnectionOptions(**options)
    assert "canary" not in str(refused.value)


def test_arguments_need_declare():
    with pytest.raises(ValidationError, match="add declare = true"):
        RabbitMQOptions(url=URL, queue="orders", arguments={"x-queue-type": "classic"})


@pytest.mark.parametrize(
    ("more", "rejects"),
    [
        ({}, False),
        ({"dead_letter": True}, True),
        ({"declare": True}, False),
        ({"declare": True, "arguments": {"x-dead-letter-exchange": "dead"}}, True),
        ({"declare": True, "arguments": {"x-dead-letter-exchange": "dead"}, "dead_letter": False}, False),
    ],
)
def test_rejects_are_possible_where_a_dead_letter_exchange_is_known(more, rejects):
    assert RabbitMQProvider(RabbitMQOptions(url=URL, queue="orders", **more)).traits.rejects is rejects


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "say where to"),
        ({"queue": "a", "exchange": "b"}, "say where to"),
        ({"queue": "a", "routing_key": "b"}, "a queue needs no routing_key"),
    ],
)
def test_a_publisher_needs_one_target(more, said):
    with pytest.raises(ValidationError, match=said):
        RabbitMQPublishOptions(url=URL, **more)


def test_defaults_serve_the_provider_and_the_handler():
    defaults = {"url": URL, "username": "me", "password": "canary", "carry_attributes": False}
    route = {"provider": {"name": "rabbitmq", "queue": "a"}, "handler": {"name": "rabbitmq", "queue": "b"}}

    Manager.from_config({"defaults": {"rabbitmq": defaults}, "routes": {"forward": route}})

    with pytest.raises(ConfigError) as refused:
        Manager.from_config({"routes": {"forward": route}})
    places = {finding.where for finding in refused.value.findings}
    assert places == {"routes.forward.provider.url", "routes.forward.handler.url"}


def test_a_password_in_a_url_that_is_wrong_is_not_repeated():
    route = {
        "provider": {"name": "rabbitmq", "url": "ampq://me:canary@host", "queue": "a"},
        "handler": "builtins:print",
    }
    with pytest.raises(ConfigError, match=r"routes.orders.provider.url: .*a broker's URL is such as") as refused:
        Manager.from_config({"routes": {"orders": route}})
    assert "canary" not in str(refused.value)


def test_the_entry_point_names_the_light_module():
    [found] = entry_points(group="loafer", name="rabbitmq")
    declared = [*plugin.loafer_providers(), *plugin.loafer_handlers()]

    assert (found.value, plugin.LOAFER_API) == ("loafer_rabbitmq.plugin", 1)
    assert [(spec.kind, spec.name) for spec in declared] == [("provider", "rabbitmq"), ("handler", "rabbitmq")]


def test_the_factories_build_without_a_loop_or_io():
    [provider], [handler] = plugin.loafer_providers(), plugin.loafer_handlers()

    assert isinstance(provider.factory(RabbitMQOptions(url=URL, queue="orders")), RabbitMQProvider)
    assert isinstance(handler.factory(RabbitMQPublishOptions(url=URL, queue="orders")), RabbitMQPublisher)


def test_everything_in_the_door_is_there():
    assert [name for name in loafer_rabbitmq.__all__ if getattr(loafer_rabbitmq, name).__name__ != name] == []


def test_importing_the_plugin_does_not_import_the_client():
    program = (
        "import sys, loafer_rabbitmq, loafer_rabbitmq.plugin as p\n"
        "p.loafer_providers(); p.loafer_handlers()\n"
        "print(sorted({'aio_pika', 'aiormq', 'pamqp', 'yarl'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
