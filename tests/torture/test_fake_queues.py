"""The fake is what AWS's documentation says of a queue, seen through boto's client."""

from __future__ import annotations

import asyncio
import time

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def sqs(fake, client):
    """``await sqs("receive_message", "orders", ...)``."""

    async def call(method, queue, **request):
        return await getattr(client, method)(QueueUrl=f"{fake.endpoint}/000000000000/{queue}", **request)

    return call


async def received(sqs, queue, **request):
    asked = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"], **request}
    return (await sqs("receive_message", queue, **asked)).get("Messages", [])


def bodies(messages):
    return [message["Body"] for message in messages]


async def refused(call):
    with pytest.raises(ClientError) as failure:
        await call
    return failure.value.response["Error"]["Code"]


async def test_a_received_message_is_hidden_until_its_visibility_ends_and_its_count_grows(fake, sqs):
    fake.create("orders", VisibilityTimeout="1")
    fake.send("orders", "a", "b", "c")
    begin = time.monotonic()

    first = await received(sqs, "orders", MaxNumberOfMessages=2)
    assert bodies(await received(sqs, "orders", VisibilityTimeout=60)) == ["c"]
    again = await received(sqs, "orders", WaitTimeSeconds=5)

    assert 0.9 < time.monotonic() - begin < 3
    assert bodies(first) == bodies(again) == ["a", "b"]
    assert [m["Attributes"]["ApproximateReceiveCount"] for m in [*first, *again]] == ["1", "1", "2", "2"]


async def test_a_delete_needs_the_latest_receipt_and_may_be_repeated(fake, sqs):
    fake.create("orders", VisibilityTimeout="0")
    fake.send("orders", "a")
    [old] = await received(sqs, "orders")
    [new] = await received(sqs, "orders", VisibilityTimeout=30)

    await sqs("delete_message", "orders", ReceiptHandle=old["ReceiptHandle"])
    assert len(fake.left("orders")) == 1
    for _ in range(2):
        await sqs("delete_message", "orders", ReceiptHandle=new["ReceiptHandle"])
    assert fake.left("orders") == []
    assert await refused(sqs("delete_message", "orders", ReceiptHandle="made up")) == "ReceiptHandleIsInvalid"


async def test_a_change_counts_from_now_and_is_refused_where_nothing_is_in_flight(fake, sqs):
    fake.create("orders", VisibilityTimeout="30")
    fake.send("orders", "a")
    [message] = await received(sqs, "orders")
    handle = {"ReceiptHandle": message["ReceiptHandle"]}

    await sqs("change_message_visibility", "orders", **handle, VisibilityTimeout=0)
    again = await refused(sqs("change_message_visibility", "orders", **handle, VisibilityTimeout=9))
    [message] = await received(sqs, "orders")
    stale = await refused(sqs("change_message_visibility", "orders", **handle, VisibilityTimeout=9))
    handle = {"ReceiptHandle": message["ReceiptHandle"]}
    too_long = await refused(sqs("change_message_visibility", "orders", **handle, VisibilityTimeout=43_201))

    codes = ["AWS.SimpleQueueService.MessageNotInflight", "InvalidParameterValue", "InvalidParameterValue"]
    assert [again, stale, too_long] == codes


async def test_a_long_poll_ends_when_something_comes_or_its_time_is_over(fake, sqs):
    fake.create("orders")
    poll = asyncio.create_task(received(sqs, "orders", WaitTimeSeconds=20))
    while not fake.asked("ReceiveMessage"):
        await asyncio.sleep(0.01)
    fake.send("orders", "a")
    assert bodies(await poll) == ["a"]

    begin = time.monotonic()
    assert await received(sqs, "orders", WaitTimeSeconds=1) == []
    assert 0.9 < time.monotonic() - begin < 3


async def test_what_a_client_asked_for_and_left_is_hidden_all_the_same(fake, sqs):
    fake.create("orders")
    poll = asyncio.create_task(received(sqs, "orders", WaitTimeSeconds=20))
    while not fake.asked("ReceiveMessage"):
        await asyncio.sleep(0.01)
    poll.cancel()
    await asyncio.wait([poll])
    fake.send("orders", "a")

    assert await received(sqs, "orders", WaitTimeSeconds=1) == []
    assert fake.hidden("orders") == fake.left("orders")
    assert not fake.asked("ReceiveMessage")[0].delivered


async def test_what_was_received_too_often_is_dead_lettered_under_its_own_id(fake, sqs):
    fake.create("orders", dead_letters_after=2, VisibilityTimeout="0")
    ids = fake.send("orders", "a")
    for _ in range(2):
        assert bodies(await received(sqs, "orders")) == ["a"]
    assert await received(sqs, "orders") == []

    assert fake.left("orders-dead") == ids
    assert bodies(await received(sqs, "orders-dead")) == ["a"]


async def test_a_group_is_locked_while_one_of_it_is_in_flight_and_keeps_its_order(fake, sqs):
    fake.create("orders.fifo", VisibilityTimeout="30")
    for group, body in (("a", "a1"), ("b", "b1"), ("a", "a2"), ("a", "a3")):
        fake.send("orders.fifo", body, group=group)

    [first] = await received(sqs, "orders.fifo", MaxNumberOfMessages=1)
    assert bodies(await received(sqs, "orders.fifo")) == ["b1"]
    assert await received(sqs, "orders.fifo") == []
    await sqs("change_message_visibility", "orders.fifo", ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    again = await received(sqs, "orders.fifo")

    assert bodies(again) == ["a1", "a2", "a3"]
    assert [message["Attributes"]["MessageGroupId"] for message in again] == ["a"] * 3
    numbers = [int(message["Attributes"]["SequenceNumber"]) for message in again]
    assert numbers == sorted(set(numbers))


async def test_a_fifo_queue_takes_a_repetition_once_and_no_delete_after_the_time(fake, sqs):
    fake.create("orders.fifo", VisibilityTimeout="0")
    same = {"MessageBody": "a", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    ids = {(await sqs("send_message", "orders.fifo", **same))["MessageId"] for _ in range(2)}
    [message] = await received(sqs, "orders.fifo")

    assert {message["MessageId"]} == ids
    late = sqs("delete_message", "orders.fifo", ReceiptHandle=message["ReceiptHandle"])
    assert await refused(late) == "InvalidParameterValue"
    assert await refused(sqs("send_message", "orders.fifo", MessageBody="b")) == "MissingParameter"


async def test_an_attempt_is_given_the_same_again_until_something_of_it_changes(fake, sqs):
    fake.create("orders.fifo", VisibilityTimeout="30")
    fake.send("orders.fifo", "a", "b", group="g")
    attempt = {"ReceiveRequestAttemptId": "once", "MaxNumberOfMessages": 2}

    first, again = [await received(sqs, "orders.fifo", **attempt) for _ in range(2)]
    assert bodies(first) == ["a", "b"]
    assert [m["ReceiptHandle"] for m in first] == [m["ReceiptHandle"] for m in again]
    await sqs("delete_message", "orders.fifo", ReceiptHandle=first[0]["ReceiptHandle"])
    assert await received(sqs, "orders.fifo", **attempt) == []


async def test_each_entry_of_a_batch_fares_for_itself_and_a_wrong_batch_is_refused(fake, sqs):
    fake.create("orders")
    fake.send("orders", "a")
    [message] = await received(sqs, "orders")
    entries = [{"Id": "0", "ReceiptHandle": "made up"}, {"Id": "1", "ReceiptHandle": message["ReceiptHandle"]}]

    answer = await sqs("delete_message_batch", "orders", Entries=entries)
    assert [one["Id"] for one in answer["Successful"]] == ["1"]
    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("0", "ReceiptHandleIsInvalid")]

    wrong = {
        "EmptyBatchRequest": [],
        "BatchEntryIdsNotDistinct": entries[:1] * 2,
        "TooManyEntriesInBatchRequest": [{"Id": str(n), "ReceiptHandle": "x"} for n in range(11)],
    }
    for code, entries in wrong.items():
        found = await refused(sqs("delete_message_batch", "orders", Entries=entries))
        assert found == f"AWS.SimpleQueueService.{code}"


async def test_a_missing_queue_is_told_by_its_old_name_and_a_deleted_one_ends_the_polls(fake, sqs, client):
    fake.create("orders")
    poll = asyncio.create_task(received(sqs, "orders", WaitTimeSeconds=20))
    while not fake.asked("ReceiveMessage"):
        await asyncio.sleep(0.01)
    await sqs("delete_queue", "orders")

    assert await poll == []
    assert await refused(received(sqs, "orders")) == "AWS.SimpleQueueService.NonExistentQueue"
    assert (await client.create_queue(QueueName="orders"))["QueueUrl"].endswith("/orders")
    attributes = (await sqs("get_queue_attributes", "orders", AttributeNames=["All"]))["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == "0"


async def test_a_delayed_message_is_not_there_yet_and_not_in_flight(fake, sqs):
    fake.create("orders")
    await sqs("send_message", "orders", MessageBody="a", DelaySeconds=1)
    attributes = (await sqs("get_queue_attributes", "orders", AttributeNames=["All"]))["Attributes"]

    assert attributes["ApproximateNumberOfMessagesDelayed"] == "1"
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
    assert await received(sqs, "orders") == []
    assert bodies(await received(sqs, "orders", WaitTimeSeconds=5)) == ["a"]
