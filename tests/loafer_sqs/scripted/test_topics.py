"""Topics: how one is found by name or ARN, what it takes, and what a user reads when it goes wrong."""

from __future__ import annotations

import asyncio
import logging

import pytest

from loafer_core import ProviderError, SourceConfigError, Unavailable

ARN = "arn:aws:sns:us-east-1:123456789012:orders"
METADATA = {"message_id": "source-id", "group": None, "attributes": {}}


def topics(*names: str) -> list[dict[str, str]]:
    return [{"TopicArn": f"arn:aws:sns:us-east-1:123456789012:{name}"} for name in names]


async def test_a_name_is_looked_for_page_by_page(scripted, open_publisher):
    pages = {None: {"Topics": topics("a", "old-orders"), "NextToken": "2"}, "2": {"Topics": topics("b", "orders")}}

    async def page(request):
        return pages[request.get("NextToken")]

    scripted.on("ListTopics", page)
    publisher = await open_publisher(scripted.endpoint, topic="orders")
    await publisher.handle("x", METADATA)

    assert [request.get("NextToken") for request in scripted.asked("ListTopics")] == [None, "2"]
    assert [request["TopicArn"] for request in scripted.asked("PublishBatch")] == [ARN]


async def test_a_page_that_always_has_a_next_one_ends_in_an_error(scripted, open_publisher, monkeypatch):
    monkeypatch.setattr("loafer_sqs.aws.topics.MOST_PAGES", 3)
    scripted.on("ListTopics", {"Topics": topics("a"), "NextToken": "again"})

    with pytest.raises(SourceConfigError):
        await open_publisher(scripted.endpoint, topic="orders")


async def test_a_name_that_is_not_there_is_an_error_with_the_way_out(scripted, open_publisher):
    scripted.on("ListTopics", {"Topics": topics("a", "b")})

    with pytest.raises(SourceConfigError, match=r"topic 'orders' .*create it, .*or give the ARN of another account's"):
        await open_publisher(scripted.endpoint, topic="orders")


async def test_an_arn_needs_no_look_up_and_is_said_to_be_missing_when_it_is(scripted, open_publisher):
    scripted.on("GetTopicAttributes", scripted.error("NotFound", 404))

    with pytest.raises(SourceConfigError, match="correct topic, region_name or endpoint_url"):
        await open_publisher(scripted.endpoint, topic=ARN)

    assert scripted.asked("ListTopics") == []


async def test_a_denied_look_up_says_that_an_arn_would_do(scripted, open_publisher):
    scripted.on("ListTopics", scripted.error("AuthorizationError", 403, "not authorized to perform: SNS:ListTopics"))

    with pytest.raises(SourceConfigError, match=r"SNS:ListTopics; .*give the topic's ARN"):
        await open_publisher(scripted.endpoint, topic="orders")


async def test_the_permission_to_publish_is_all_that_a_topic_by_arn_needs(scripted, open_publisher, caplog):
    scripted.on("GetTopicAttributes", scripted.error("AuthorizationError", 403))
    publisher = await open_publisher(scripted.endpoint, topic=ARN)

    assert await publisher.handle("x", METADATA) is True
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("given", [{}, {"region_name": "us-east-1"}])
async def test_the_region_of_an_arn_is_the_one_that_is_asked(scripted, open_publisher, connect_to, given):
    options = {**connect_to(scripted.endpoint), "region_name": None} | given
    arn = "arn:aws-us-gov:sns:us-gov-west-1:123456789012:orders"
    publisher = await open_publisher(scripted.endpoint, topic=arn, **options)

    await publisher.handle("x", METADATA)

    assert all("/us-gov-west-1/sns/" in line for line in scripted.authorizations)
    assert [request["TopicArn"] for request in scripted.asked("PublishBatch")] == [arn]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp, of more than a mebibyte
@pytest.mark.parametrize(
    ("reply", "takes"),
    [({"Attributes": {"MaximumMessageSize": "1000"}}, 1000), ({"Attributes": {}}, 262_144), ("denied", 1_048_576)],
)
async def test_what_a_topic_takes_is_what_it_says_or_what_sns_says(scripted, open_publisher, reply, takes):
    denied = scripted.error("AuthorizationError", 403)
    scripted.on("GetTopicAttributes", denied if reply == "denied" else reply)
    publisher = await open_publisher(scripted.endpoint, topic=ARN)

    assert await publisher.handle("x" * takes, METADATA) is True
    with pytest.raises(ProviderError, match=f"{takes + 1:,} bytes, {takes:,} are"):
        await publisher.handle("x" * (takes + 1), METADATA)


async def test_a_batch_takes_256_kib_if_nobody_says_otherwise(scripted, open_publisher):
    scripted.on("GetTopicAttributes", scripted.error("AuthorizationError", 403))
    publisher = await open_publisher(scripted.endpoint, topic=ARN)

    await asyncio.gather(*(publisher.handle("x" * 100_000, {"message_id": str(number)}) for number in range(4)))

    assert [len(r["PublishBatchRequestEntries"]) for r in scripted.asked("PublishBatch")] == [2, 2]


async def test_a_subject_goes_with_every_message_and_counts(scripted, open_publisher):
    scripted.on("GetTopicAttributes", {"Attributes": {"MaximumMessageSize": "1000"}})
    publisher = await open_publisher(scripted.endpoint, topic=ARN, subject="An order")

    await publisher.handle("x", METADATA)
    with pytest.raises(ProviderError, match="1,008 bytes"):
        await publisher.handle("x" * 1000, METADATA)

    [request] = scripted.asked("PublishBatch")
    assert [entry["Subject"] for entry in request["PublishBatchRequestEntries"]] == ["An order"]


async def test_a_type_of_the_users_own_becomes_one_that_sns_knows(scripted, open_publisher):
    publisher = await open_publisher(scripted.endpoint, topic=ARN)
    types = {"price": "Number.int", "tags": "String.Array", "name": "String.label", "count": "Number"}
    values = {"price": "1", "tags": '["a"]', "name": "n", "count": "2", "raw": b"\x00"}

    await publisher.handle("x", {**METADATA, "attributes": values, "attribute_types": types})

    [request] = scripted.asked("PublishBatch")
    [entry] = request["PublishBatchRequestEntries"]
    sent = {name: value["DataType"] for name, value in entry["MessageAttributes"].items()}
    assert sent == {
        "price": "Number",
        "tags": "String.Array",
        "name": "String",
        "count": "Number",
        "raw": "Binary",
    }


async def test_topics_and_queues_have_clients_of_their_own(scripted, open_publisher, context):
    scripted.on("ListTopics", {"Topics": topics("orders", "returns")})
    for options in ({"topic": "orders"}, {"topic": "returns"}, {"queue": "orders"}, {"queue": "returns"}):
        await open_publisher(scripted.endpoint, **options)

    assert len(context.opened) == 2


async def test_an_sns_that_does_not_answer_is_unavailable_and_called_sns(open_publisher, scripted):
    scripted.on("GetTopicAttributes", b"")

    with pytest.raises(Unavailable, match=r"GetTopicAttributes on topic 'orders' \(us-east-1 at http"):
        await open_publisher(scripted.endpoint, topic=ARN)
