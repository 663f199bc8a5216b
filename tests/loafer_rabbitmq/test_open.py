"""Connecting and finding the queue: what is refused, what is said about it, and what is shared."""

from __future__ import annotations

import datetime as dt
import logging
import textwrap

import aio_pika
import pytest
from click.testing import CliRunner

from loafer_core import CredentialError, Manager, Route, SourceConfigError, Unavailable
from loafer_core.cli import main
from loafer_rabbitmq import RabbitMQOptions, RabbitMQProvider


@pytest.fixture
def opened(broker, desks):
    """Open a provider, for what it raises; ``opened(queue, url=...)``."""

    async def opened(queue, **more):
        provider = RabbitMQProvider(RabbitMQOptions(**broker.options(queue, **more)))
        try:
            await provider.open(desks())
            return await provider.measure()
        finally:
            await provider.close()

    return opened


async def test_opening_takes_nothing_from_the_queue(broker, far, opened):
    """`loafer send` opens a provider too."""
    queue = await far.declare()
    await far.send(queue, "one", "two")

    assert await opened(queue) == {"depth": 2.0, "consumers": 0.0}
    assert (await far.get(queue)).redelivered is False


def test_a_queue_that_is_missing_ends_the_run_with_78_and_says_what_to_do(broker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loafer.toml").write_text(
        textwrap.dedent(f"""
        [defaults.rabbitmq]
        url = "{broker.url()}"
        username = "loafer"
        password = "${{RABBITMQ_PASSWORD}}"

        [routes.orders]
        provider = {{ name = "rabbitmq", queue = "missing-orders" }}
        handler = "builtins:print"
        """)
    )
    monkeypatch.setenv("RABBITMQ_PASSWORD", broker.options("x")["password"])

    result = CliRunner().invoke(main, ["run"])

    assert result.exit_code == 78
    said = "no queue 'missing-orders' in vhost '/'; create it, correct the name or the url's virtual host"
    assert said in result.stderr
    assert f"127.0.0.1:{broker.port}, vhost '/'" in result.stderr
    assert "canary" not in result.output


async def test_a_wrong_password_is_a_credential_error_that_does_not_show_it(far, opened):
    with pytest.raises(CredentialError, match="user or password was refused") as refused:
        await opened(await far.declare(), password="not-the-canary")
    assert "canary" not in str(refused.value)


async def test_a_virtual_host_that_is_missing_is_said_to_be(broker, opened):
    with pytest.raises(SourceConfigError, match=r"vhost 'nowhere': the virtual host was refused"):
        await opened("orders", url=broker.url("nowhere"))


@pytest.mark.parametrize("user", ["stranger", "reader"])
async def test_to_read_is_all_that_a_provider_needs_and_it_does_need_it(broker, far, desks, user):
    """AMQP tells it to who wants to consume, and not before."""
    queue = await far.declare()
    provider = RabbitMQProvider(RabbitMQOptions(**broker.options(queue, username=user)))
    desk = desks(max_wait=0.1)
    await provider.open(desk)

    if user == "reader":
        assert await provider.receive(1) == []
    else:
        with pytest.raises(SourceConfigError, match="refused for user 'stranger'; give the user the permission"):
            await provider.receive(1)
    await provider.close()


async def test_a_broker_that_is_away_is_unavailable(opened):
    with pytest.raises(Unavailable, match=r"127.0.0.1:1, vhost '/': 111 Connect call failed"):
        await opened("orders", url="amqp://127.0.0.1:1")


async def test_a_queue_is_declared_if_it_is_to_be_and_is_missing(far, opened):
    dead, queue = await far.declare(), "declared-orders"
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}

    assert await opened(queue, declare=True, arguments=arguments) == {"depth": 0.0, "consumers": 0.0}

    expected = {"x-queue-type": "quorum", **arguments}
    await far.channel.declare_queue(queue, durable=True, arguments=expected)  # or it would be refused
    with pytest.raises(SourceConfigError, match=r"inequivalent arg 'x-dead-letter-exchange'.*it exists with other"):
        await opened(queue, declare=True)


async def test_tls_takes_a_broker_of_the_authority_that_it_is_told(broker, far, opened):
    url = f"amqps://127.0.0.1:{broker.tls_port}"
    assert await opened(await far.declare(), url=url, ca_file=str(broker.authority)) == {"depth": 0.0, "consumers": 0.0}


async def test_tls_refuses_a_broker_of_any_other(broker, opened):
    with pytest.raises(SourceConfigError, match=r"certificate was not accepted .*ca_file"):
        await opened("orders", url=f"amqps://127.0.0.1:{broker.tls_port}")


async def test_tls_refuses_a_broker_that_goes_by_another_name(broker, opened):
    with pytest.raises(SourceConfigError, match="certificate was not accepted"):
        await opened("orders", url=f"amqps://localhost:{broker.tls_port}", ca_file=str(broker.authority))


async def test_tls_to_a_port_without_it_says_so(broker, opened):
    with pytest.raises(SourceConfigError, match="does this port speak TLS"):
        await opened("orders", url=f"amqps://127.0.0.1:{broker.port}")


async def test_a_file_that_is_missing_is_named_by_its_option(opened):
    with pytest.raises(SourceConfigError, match="ca_file: No such file"):
        await opened("orders", url="amqps://127.0.0.1:5671", ca_file="missing.pem")


async def test_two_routes_share_a_connection_and_publishers_have_one_of_their_own(broker, far):
    queues = [await far.declare(), await far.declare()]
    target = {"name": "rabbitmq", **broker.options(await far.declare())}
    routes = [
        Route(f"route-{n}", provider={"name": "rabbitmq", **broker.options(queue)}, handler=target)
        for n, queue in enumerate(queues)
    ]
    async with Manager(routes):
        names = broker.connection_names()

    assert sorted(name.rpartition(" ")[2] for name in names) == ["(consume)", "(publish)"]
    assert all("-route-" in name for name in names)


async def test_neither_logs_nor_reprs_show_the_password(broker, far, serve, eventually, caplog):
    caplog.set_level(logging.DEBUG)
    queue = await far.declare()
    await far.send(queue, "body-canary")
    manager = serve(queue, lambda text: True)
    async with manager:
        await eventually(lambda: broker.messages(queue) == (0, 0))
    options = RabbitMQOptions(**broker.options(queue))

    ours = [record for record in caplog.records if record.name.startswith(("loafer", "aio", "pamqp"))]
    shown = "\n".join([*(record.getMessage() for record in ours), repr(options), repr(RabbitMQProvider(options))])
    assert "connected to" in shown
    assert "canary" not in shown


async def test_properties_that_nobody_can_read_stop_nothing(broker, far, serve, eventually):
    """A timestamp in nanoseconds is only a number to the broker; the library's decoder does not survive it."""
    queue = await far.declare()
    seen = []
    raw = await far.channel.get_underlay_channel()
    properties = aio_pika.Message(b"", message_id="odd").properties
    properties.timestamp = Nanoseconds(2026, 1, 1, tzinfo=dt.UTC)

    async with serve(queue, lambda text, metadata: seen.append((text, metadata.get("unreadable_properties")))):
        await raw.basic_publish(b"odd", routing_key=queue, properties=properties)
        await far.send(queue, "even")
        await eventually(lambda: len(seen) == 2)

    assert sorted(seen) == [("even", None), ("odd", True)]
    assert broker.messages(queue) == (0, 0)


class Nanoseconds(dt.datetime):
    """Of which a publisher thought that they were seconds."""

    def timestamp(self):
        return super().timestamp() * 1e9
