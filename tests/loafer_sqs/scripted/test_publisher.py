"""The handlers ``sqs`` and ``sns``: what exactly they send, and that True means that AWS has it."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref

import pytest

from loafer_core import ProviderError, SourceConfigError, Throttled, Unavailable

METADATA = {"message_id": "source-id", "group": None, "attributes": {}}


async def test_only_what_aws_takes_is_carried_and_no_more_than_ten(way, scripted, open_publisher):
    publisher = await open_publisher(scripted.endpoint, **way.options)
    odd = {"empty": "", "a b": "v", "AWS.trace": "v", "control": "\x00", "nothing": b"", ".a": "v", "a..b": "v"}

    await publisher.handle("x", {**METADATA, "attributes": odd | {f"a{number}": "v" for number in range(12)}})

    [entry] = way.entries
    assert list(entry["MessageAttributes"]) == [f"a{number}" for number in range(10)]


async def test_attributes_that_stay_behind_are_said_once(way, scripted, open_publisher, caplog):
    publisher = await open_publisher(scripted.endpoint, **way.options)

    for _ in range(2):
        await publisher.handle("x", {**METADATA, "attributes": {"a b": "canary"}})

    assert caplog.text.count(f"{way.of}: AWS does not take these attributes: 'a b'") == 1
    assert "canary" not in caplog.text


@pytest.mark.parametrize("group", [None, "customer-1"])
async def test_a_standard_target_gets_no_group_unless_told(way, scripted, open_publisher, group):
    publisher = await open_publisher(scripted.endpoint, **way.options, group=group)

    await publisher.handle("x", {**METADATA, "group": "of the source"})

    [entry] = way.entries
    assert entry.get("MessageGroupId") == group
    assert "MessageDeduplicationId" not in entry


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [{"Id": "0"}],
        [{"Id": "1", "MessageId": "m"}],
        [{"Id": "0", "MD5OfMessageBody": "x"}],
        [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "0" * 32}],
    ],
)
async def test_what_sqs_does_not_confirm_is_an_error(scripted, open_publisher, entries):
    scripted.on("SendMessageBatch", {"Successful": entries})
    publisher = await open_publisher(scripted.endpoint, "orders")

    with pytest.raises(Unavailable, match=r"SendMessageBatch on queue 'orders' .* does not confirm"):
        await publisher.handle("x", METADATA)


class Body(str):
    """One of which it can be told whether it is still there."""


@pytest.mark.parametrize("answer", ["refused", "unconfirmed"])
async def test_a_message_that_is_not_sent_is_kept_alive_no_longer(way, scripted, open_publisher, answer):
    scripted.on(way.operation, scripted.error("AccessDenied") if answer == "refused" else {"Successful": []})
    publisher = await open_publisher(scripted.endpoint, **way.options)
    body = Body("x")
    alive = weakref.ref(body)

    gc.disable()
    try:
        with pytest.raises(ProviderError):
            await publisher.handle(body, METADATA)
        del body
        await asyncio.sleep(0)  # the loop has let go of the answer, too
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("entries", [[], [{"Id": "0"}], [{"Id": "1", "MessageId": "m"}]])
async def test_what_sns_does_not_confirm_is_an_error(scripted, open_publisher, entries):
    scripted.on("PublishBatch", {"Successful": entries})
    publisher = await open_publisher(scripted.endpoint, topic="arn:aws:sns:us-east-1:123456789012:orders")

    with pytest.raises(Unavailable, match=r"PublishBatch on topic 'orders' .* does not confirm"):
        await publisher.handle("x", METADATA)


@pytest.mark.parametrize("garbage", ["portal", "empty", "not xml", "reset", "500 html"])
async def test_garbage_from_sns_is_unavailable_and_no_crash(scripted, open_publisher, garbage):
    page, plain = b"<html><body>guest network</body></html>", {"content_type": "text/html", "x_amzn_requestid": ""}
    answers = {
        "portal": scripted.http(200, page, **plain),
        "empty": scripted.http(200, b"", **plain),
        "not xml": scripted.http(200, b"<a><b", **plain),
        "reset": b"",
        "500 html": scripted.http(500, page, **plain),
    }
    scripted.on("PublishBatch", answers[garbage])
    publisher = await open_publisher(scripted.endpoint, topic="arn:aws:sns:us-east-1:123456789012:orders")

    with pytest.raises(Unavailable) as failure:
        await publisher.handle("x", METADATA)

    assert "guest network" not in str(failure.value)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ThrottledException", Throttled),
        ("AccessDenied", SourceConfigError),
        ("InternalError", Unavailable),
        ("InvalidParameterValue", ProviderError),
    ],
)
async def test_what_aws_refuses_is_a_provider_error_of_its_kind(way, scripted, open_publisher, code, kind, whole):
    failed = [{"Id": "0", "Code": code, "SenderFault": "true", "Message": "canary"}]
    scripted.on(way.operation, scripted.error(code, 400, "canary") if whole else {"Failed": failed})
    publisher = await open_publisher(scripted.endpoint, **way.options)

    with pytest.raises(kind, match=f"{way.operation} on {way.of} .*{code}") as failure:
        await publisher.handle("secret", METADATA)

    assert "secret" not in str(failure.value)
    assert "canary" not in str(failure.value) or code == "AccessDenied"
    assert code != "InvalidParameterValue" or not isinstance(failure.value, Unavailable)


async def test_a_message_that_is_too_big_is_refused_before_it_is_sent(way, scripted, open_publisher):
    scripted.on("GetTopicAttributes", {"Attributes": {"MaximumMessageSize": "1048576"}})
    publisher = await open_publisher(scripted.endpoint, **way.options)

    with pytest.raises(ProviderError, match=f"{way.of}: the message has 1,048,577 bytes, 1,048,576 are"):
        await publisher.handle("x" * 1_048_577, METADATA)

    assert way.entries == []


@pytest.mark.parametrize(
    "options", [{"queue": "orders"}, {"topic": "arn:aws:sns:us-east-1:123456789012:orders", "subject": "An order"}]
)
async def test_an_empty_message_is_refused_before_it_is_sent(scripted, open_publisher, options):
    publisher = await open_publisher(scripted.endpoint, **options)

    with pytest.raises(ProviderError, match="no empty message"):
        await publisher.handle("", METADATA)

    assert [operation for operation, _ in scripted.calls if operation.endswith("Batch")] == []


@pytest.mark.parametrize("queue", ["orders", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"])
async def test_the_permission_to_send_is_all_that_a_target_by_url_needs(scripted, open_publisher, caplog, queue):
    scripted.on("GetQueueAttributes", scripted.error("AccessDenied", 403))
    publisher = await open_publisher(scripted.endpoint, queue)

    assert await publisher.handle("x", METADATA) is True
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("body", "attributes", "text"),
    [(b"\xff", {}, "not UTF-8"), ("x", {"a b": "v"}, "does not take these attributes: 'a b'")],
)
async def test_a_provider_publishes_what_sqs_carries_or_nothing(scripted, open_provider, body, attributes, text):
    provider = await open_provider(scripted.endpoint, "orders")

    with pytest.raises(ProviderError, match=text):
        await provider.publish(body, attributes)

    assert scripted.asked("SendMessageBatch") == []
