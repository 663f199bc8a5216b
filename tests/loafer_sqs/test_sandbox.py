"""``--sandbox``: the same components on loopback, with nobody's real credentials."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from loafer_core import ConfigError, SandboxComponent
from loafer_sqs import (
    SNSPublisher,
    SNSPublishOptions,
    SQSOptions,
    SQSProvider,
    SQSPublisher,
    SQSPublishOptions,
    SQSSandbox,
)


@pytest.fixture
def sandbox() -> Iterator[SQSSandbox]:
    sandbox = SQSSandbox()
    yield sandbox
    sandbox.stop()


def component(where: str, options: SQSOptions | SQSPublishOptions | SNSPublishOptions) -> SandboxComponent:
    return SandboxComponent(where=where, name="sqs", options=options)


def overridden(options, overrides):
    """As the core does it: the options with the overrides, validated again."""
    return type(options).model_validate({**options.model_dump(exclude_unset=True), **overrides})


async def test_a_provider_and_a_publisher_run_on_it_with_the_overrides_it_gives(sandbox, context):
    mine = {
        "profile_name": "production",
        "region_name": "eu-west-1",
        "aws_access_key_id": "real",
        "aws_secret_access_key": "real",
        "aws_session_token": "real",
    }
    source = SQSOptions(queue="https://sqs.eu-west-1.amazonaws.com/123456789012/orders", visibility_timeout=7, **mine)
    target = SQSPublishOptions(queue="shipped.fifo", queue_owner="123456789012", **mine)

    overrides = sandbox.start([component("a", source), component("b", target), component("c", SQSOptions(queue="x"))])

    assert overrides.keys() == {"a", "b", "c"}
    assert all("real" not in repr(values) and "production" not in repr(values) for values in overrides.values())
    provider = SQSProvider(overridden(source, overrides["a"]))
    publisher = SQSPublisher(overridden(target, overrides["b"]))
    await provider.open(context)
    await publisher.open(context)
    await provider.publish("hello")
    [message] = await provider.receive(10)
    assert message.body == "hello"
    assert message.metadata["queue"] == "orders"
    assert await publisher.handle("hello", {"message_id": message.id}) is True


async def test_every_queue_has_a_dead_letter_queue_after_three_receives_and_one_receiver(sandbox, context):
    options = [SQSOptions(queue=queue, wait_time_seconds=0) for queue in ("orders", "orders.fifo")]
    overrides = sandbox.start([component(one.queue, one) for one in options])

    for one, dead in zip(options, ("orders-dlq", "orders-dlq.fifo"), strict=True):
        provider = SQSProvider(overridden(one, overrides[one.queue]))
        await provider.open(context)
        await provider.publish("poison")
        for _ in range(3):
            await provider.release(await provider.receive(1))
        assert list(await provider.receive(1)) == []
        dead_letters = SQSProvider(overridden(one, {**overrides[one.queue], "queue": dead}))
        await dead_letters.open(context)
        assert [message.body for message in await dead_letters.receive(1)] == ["poison"]
        assert (provider.traits.receives, provider.traits.rejects, provider.traits.lease) == (1, True, 30)


async def test_a_queue_that_is_read_and_written_keeps_the_readers_lease(sandbox, context):
    reader, writer = SQSOptions(queue="orders", visibility_timeout=5), SQSPublishOptions(queue="orders")

    overrides = sandbox.start([component("reader", reader), component("writer", writer)])

    provider = SQSProvider(SQSOptions.model_validate(dict(overrides["reader"])))
    await provider.open(context)
    assert provider.traits.lease == 5


async def test_a_second_sandbox_starts_empty(context):
    topic, arrived = SNSPublishOptions(topic="announced"), []
    for topics in (["announced"], []):
        sandbox, queue = SQSSandbox(), SQSOptions(queue="orders", wait_time_seconds=0, sandbox_topics=topics)
        overrides = sandbox.start([component("a", queue), component("b", topic)])
        provider = SQSProvider(overridden(queue, overrides["a"]))
        publisher = SNSPublisher(overridden(topic, overrides["b"]))
        await provider.open(context)
        await publisher.open(context)
        await publisher.handle("announced", {})
        arrived.append(len(await provider.receive(10)))
        await provider.publish("left behind")
        sandbox.stop()
        sandbox.stop()

    assert arrived == [1, 0]


@pytest.mark.parametrize("kind", ["", ".fifo"])
async def test_a_topic_is_fanned_out_to_the_queues_that_say_so(sandbox, context, kind):
    arn = f"arn:aws:sns:eu-west-1:123456789012:orders{kind}"
    enveloped = SQSOptions(queue=f"billing{kind}", sandbox_topics=[arn], region_name="eu-west-1")
    raw = SQSOptions(queue=f"archive{kind}", sandbox_topics=[f"orders{kind}", f"more{kind}"], sandbox_raw_delivery=True)
    topic = SNSPublishOptions(topic=arn, aws_access_key_id="real", aws_secret_access_key="real")
    components = {"billing": enveloped, "archive": raw, "publish": topic}

    overrides = sandbox.start([component(where, options) for where, options in components.items()])

    assert all("real" not in repr(values) for values in overrides.values())
    publisher = SNSPublisher(overridden(topic, overrides["publish"]))
    await publisher.open(context)
    await publisher.handle("hello", {"message_id": "1"})
    bodies = []
    for where in ("billing", "archive"):
        provider = SQSProvider(overridden(components[where], overrides[where]))
        await provider.open(context)
        bodies += [message.body for message in await provider.receive(10)]
    assert (json.loads(bodies[0])["Message"], bodies[1]) == ("hello", "hello")


DEMO = """
[routes.incoming]
provider = { name = "sqs", queue = "incoming" }
translator = "json"
handler = { name = "sns", topic = "orders" }

[routes.billing]
provider = { name = "sqs", queue = "billing", sandbox_topics = ["orders"] }
translator = "sns"
handler = "shop:bill"

[routes.archive]
provider = { name = "sqs", queue = "archive", sandbox_topics = ["orders"], sandbox_raw_delivery = true }
handler = { name = "sqs", queue = "destination" }

[routes.destination]
provider = { name = "sqs", queue = "destination" }
translator = "json"
handler = "shop:keep"
"""


def test_a_topic_two_queues_a_handler_and_a_forwarder_run_from_one_file_whatever_the_profile(tmp_path):
    (tmp_path / "loafer.toml").write_text(DEMO)
    (tmp_path / "orders.jsonl").write_text("".join(f'{{"id": {number}}}\n' for number in range(5)))
    (tmp_path / "shop.py").write_text(
        "async def bill(order):\n    print('billed', order['id'])\n\n\n"
        "async def keep(order):\n    print('kept', order['id'])\n"
    )
    command = ["-m", "loafer_core", "run", "--sandbox", "--until-empty=30", "--sample", "incoming=orders.jsonl"]

    environment = {**os.environ, "AWS_PROFILE": "nope"}

    done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    expected = [f"{what} {number}" for what in ("billed", "kept") for number in range(5)]
    assert sorted(done.stdout.splitlines()) == sorted(expected)


def test_a_dead_letter_queue_may_have_a_route_of_its_own(sandbox):
    components = [component(queue, SQSOptions(queue=queue)) for queue in ("orders", "orders-dlq")]

    assert sandbox.start(components).keys() == {"orders", "orders-dlq"}
    sandbox.stop()


def test_it_listens_on_loopback_only(sandbox):
    overrides = sandbox.start([component("a", SQSOptions(queue="orders"))])

    assert str(overrides["a"]["endpoint_url"]).startswith("http://127.0.0.1:")


def test_without_moto_the_command_that_brings_it_is_named(monkeypatch):
    real_import = builtins.__import__

    def no_moto(name, *args, **kwargs):
        if name.startswith("moto"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_moto)

    with pytest.raises(ConfigError, match=r"pip install 'loafer-sqs\[sandbox\]'"):
        SQSSandbox().start([])
