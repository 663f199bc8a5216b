"""Opening: what is found out, what is said about it, and what a user reads when it goes wrong."""

from __future__ import annotations

import logging
import socket

import pytest

from loafer_core import SourceConfigError, Unavailable
from loafer_sqs import SQSOptions, SQSProvider


async def test_a_missing_queue_is_named_with_region_endpoint_and_the_way_out(server, open_provider):
    with pytest.raises(SourceConfigError) as failure:
        await open_provider(server, "no-such-queue")

    text = str(failure.value)
    assert "'no-such-queue'" in text
    assert "us-east-1" in text
    assert server in text
    assert "create it, or correct queue, queue_owner, region_name or endpoint_url" in text


async def test_a_url_of_a_missing_queue_is_found_out_at_open(server, open_provider):
    with pytest.raises(SourceConfigError, match="no-such-queue"):
        await open_provider(server, f"{server}/000000000000/no-such-queue")


async def test_a_queue_given_by_url_is_used_as_it_is(server, admin, open_provider):
    queue = await admin.create()
    await admin.send(queue, "x")
    provider = await open_provider(server, await admin.url(queue))

    [message] = await provider.receive(10)

    assert message.metadata["queue"] == queue


async def test_without_a_region_the_three_ways_to_give_one_are_named(context):
    provider = SQSProvider(SQSOptions(queue="orders"))

    with pytest.raises(SourceConfigError) as failure:
        await provider.open(context)

    for way in ("region_name", "AWS_DEFAULT_REGION", "profile"):
        assert way in str(failure.value)


async def test_a_profile_that_is_not_there_is_named_as_such(context):
    provider = SQSProvider(SQSOptions(queue="orders", profile_name="nope", region_name="us-east-1"))

    with pytest.raises(SourceConfigError, match="no such profile"):
        await provider.open(context)


async def test_a_refused_connection_is_unavailable_and_says_where(open_provider):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"

    with pytest.raises(
        Unavailable, match=r"EndpointConnectionError; no connection to 127\.0\.0\.1:\d+: Connection refused"
    ) as failure:
        await open_provider(endpoint, "orders")

    assert endpoint in str(failure.value)
    assert "ssl" not in str(failure.value)


async def test_opening_says_queue_endpoint_lease_order_and_dead_letters(server, admin, open_provider, caplog):
    caplog.set_level(logging.INFO, logger="loafer.sqs")
    queue = await admin.create(dead_letters_after=3, VisibilityTimeout="45", MessageRetentionPeriod="86400")

    await open_provider(server, queue)

    [line] = [record.getMessage() for record in caplog.records if record.name == "loafer.sqs"]
    for fact in (queue, server, "us-east-1", "lease 45 s", "ordered: no", admin.dead(queue)):
        assert fact in line


@pytest.mark.parametrize(
    ("queue", "warning"), [({}, "no redrive policy"), ({"dead_letters_after": 1}, "dead-letters after 1 receives")]
)
async def test_t51_a_queue_that_loses_or_buries_messages_is_warned_of(
    server, admin, open_provider, caplog, queue, warning
):
    await open_provider(server, await admin.create(**queue))

    assert warning in caplog.text
