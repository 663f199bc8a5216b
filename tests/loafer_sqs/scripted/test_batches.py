"""Batch settlements and dead letters: every entry's answer, whole failures, limits; on a scripted server."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from loafer_core import CredentialError, Settled, SourceConfigError, Throttled, Unavailable

BOTH_CLIENTS = True

POLICY = '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 3}'


async def test_every_entry_of_a_batch_gets_its_own_answer(scripted, open_provider, held):
    messages = [held(number) for number in range(6)]
    failed = [
        {"Id": "1", "SenderFault": True, "Code": "AWS.SimpleQueueService.ReceiptHandleIsInvalid"},
        {"Id": "2", "SenderFault": True, "Code": "InvalidParameterValue"},
        {"Id": "3", "SenderFault": False, "Code": "InternalError"},
        {"Id": "99", "SenderFault": True, "Code": "ReceiptHandleIsInvalid"},
    ]
    scripted.on("DeleteMessageBatch", {"Successful": [{"Id": "0"}, {"Id": "77"}], "Failed": failed})
    provider = await open_provider(scripted.endpoint, "orders")

    answers = await provider.ack(messages)

    assert answers[messages[0]] is Settled.DONE
    assert answers[messages[1]] is answers[messages[2]] is Settled.LOST
    assert answers[messages[3]] is Settled.RETRY
    assert answers.get(messages[4], Settled.RETRY) is Settled.RETRY  # in neither list


async def test_what_is_visible_already_is_lost_and_not_an_error(scripted, open_provider, held):
    failed = [{"Id": "0", "SenderFault": True, "Code": "AWS.SimpleQueueService.MessageNotInflight"}]
    scripted.on("ChangeMessageVisibilityBatch", {"Failed": failed})
    provider = await open_provider(scripted.endpoint, "orders")
    message = held(1)

    assert await provider.release([message]) == {message: Settled.LOST}
    assert await provider.nack({message: 1.0}) == {message: Settled.LOST}
    assert await provider.extend([message]) == {message: Settled.LOST}


async def test_a_batch_that_is_refused_as_a_whole_is_sent_one_by_one(scripted, open_provider, held, caplog):
    async def only_singles(request):
        if len(request["Entries"]) > 1:
            return scripted.error("BatchEntryIdsNotDistinct")
        if request["Entries"][0]["ReceiptHandle"] == "handle-2":
            return scripted.error("ReceiptHandleIsInvalid", 404)
        return await scripted.done(request)

    scripted.on("DeleteMessageBatch", only_singles)
    provider = await open_provider(scripted.endpoint, "orders")
    first, second, third = messages = [held(number) for number in (1, 2, 3)]

    answers = await provider.ack(messages)

    assert answers == {first: Settled.DONE, second: Settled.LOST, third: Settled.DONE}
    assert [record.levelno for record in caplog.records if "please report" in record.getMessage()] == [logging.CRITICAL]


async def test_one_batch_of_three_that_fails_leaves_the_others_done(scripted, open_provider, held):
    async def not_the_second(request):
        handles = [entry["ReceiptHandle"] for entry in request["Entries"]]
        return scripted.error("AccessDenied") if "handle-15" in handles else await scripted.done(request)

    scripted.on("DeleteMessageBatch", not_the_second)
    provider = await open_provider(scripted.endpoint, "orders")
    messages = [held(number) for number in range(30)]

    answers = await provider.ack(messages)

    assert [message for message in messages if message not in answers] == messages[10:20]
    assert set(answers.values()) == {Settled.DONE}


@pytest.mark.parametrize(
    ("code", "kind"),
    [("RequestThrottled", Throttled), ("AccessDenied", SourceConfigError), ("ExpiredToken", CredentialError)],
)
async def test_a_settlement_that_failed_as_a_whole_says_why(scripted, open_provider, held, code, kind):
    scripted.on("DeleteMessageBatch", scripted.error(code, 403))
    provider = await open_provider(scripted.endpoint, "orders")

    with pytest.raises(kind, match=f"DeleteMessageBatch on queue 'orders' .*{code}"):
        await provider.ack([held(1)])


async def test_no_batch_has_more_than_ten_entries_and_all_ids_are_distinct(scripted, open_provider, held):
    scripted.on("DeleteMessageBatch", scripted.done)
    provider = await open_provider(scripted.endpoint, "orders")

    await provider.ack([held(number) for number in range(23)])

    batches = [[entry["Id"] for entry in request["Entries"]] for request in scripted.asked("DeleteMessageBatch")]
    assert sorted(map(len, batches)) == [3, 10, 10]
    assert all(len(set(batch)) == len(batch) for batch in batches)


async def test_a_delay_is_rounded_up_to_whole_seconds(scripted, open_provider, held):
    scripted.on("ChangeMessageVisibilityBatch", {})
    provider = await open_provider(scripted.endpoint, "orders")

    await provider.nack({held(1): 0.0, held(2): 0.01, held(3): 1.2, held(4): 2.0})

    [request] = scripted.asked("ChangeMessageVisibilityBatch")
    assert [entry["VisibilityTimeout"] for entry in request["Entries"]] == [0, 1, 2, 2]


async def test_nothing_is_hidden_beyond_twelve_hours_from_its_receive(scripted, open_provider, held):
    scripted.on("ChangeMessageVisibilityBatch", scripted.done)
    provider = await open_provider(scripted.endpoint, "orders")
    now = asyncio.get_running_loop().time()
    old = replace(held(1), lease_until=now + 30 - 43_000)  # received 43,000 s ago, and kept since
    over = replace(held(2), lease_until=now + 30 - 43_199)

    await provider.nack({old: 900.0})
    await provider.extend([over, held(3)])

    [nack], [extend] = [request["Entries"] for request in scripted.asked("ChangeMessageVisibilityBatch")]
    assert nack["VisibilityTimeout"] in (194, 195)
    assert (extend["ReceiptHandle"], extend["VisibilityTimeout"]) == ("handle-3", 30)


async def test_a_dead_letter_is_sent_before_the_delete_and_not_twice_when_that_fails(scripted, open_provider, held):
    scripted.on("GetQueueAttributes", {"Attributes": {"RedrivePolicy": POLICY}})

    scripted.on("SendMessageBatch", scripted.done)
    scripted.on("DeleteMessageBatch", b"")
    provider = await open_provider(scripted.endpoint, "orders")
    message = held(1)
    with pytest.raises(Unavailable):
        await provider.reject([message], "bad")

    scripted.on("DeleteMessageBatch", scripted.done)
    assert await provider.reject([message], "bad") == {message: Settled.DONE}

    order = [operation for operation, _ in scripted.calls if operation.endswith("MessageBatch")]
    assert order == ["SendMessageBatch", *["DeleteMessageBatch"] * 4]  # three tries of the first


async def test_a_message_whose_dead_letter_was_not_taken_is_not_deleted(scripted, open_provider, held):
    scripted.on("GetQueueAttributes", {"Attributes": {"RedrivePolicy": POLICY}})
    scripted.on("SendMessageBatch", {"Failed": [{"Id": "0", "SenderFault": True, "Code": "InvalidMessageContents"}]})
    provider = await open_provider(scripted.endpoint, "orders")
    message = held(1)

    answers = await provider.reject([message], "bad")

    assert answers.get(message, Settled.RETRY) is Settled.RETRY
    assert scripted.asked("DeleteMessageBatch") == []


async def test_dead_letters_are_cut_to_a_mebibyte_a_batch(scripted, open_provider, held):
    scripted.on("GetQueueAttributes", {"Attributes": {"RedrivePolicy": POLICY}})
    scripted.on("SendMessageBatch", {})
    provider = await open_provider(scripted.endpoint, "orders")

    await provider.reject([replace(held(number), body="x" * 400_000) for number in range(5)], "bad")

    sizes = [len(request["Entries"]) for request in scripted.asked("SendMessageBatch")]
    assert sorted(sizes) == [1, 2, 2]
