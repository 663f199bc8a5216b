"""Each fault does what it says, where it says; and the log tells what the server did and what the client saw."""

from __future__ import annotations

import json
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from torture.clients import sqs_client
from torture.fake_faults import Edit, Garbage, Hang, Late, Partial, Reset, Slow, Status, Twice
from torture.fake_sqs import FakeSQS


@pytest.fixture
def url(fake):
    fake.create("orders")
    return f"{fake.endpoint}/000000000000/orders"


async def send(client, url):
    return await client.send_message(QueueUrl=url, MessageBody="a")


@pytest.mark.parametrize(("when", "there"), [("before", 0), ("after_apply", 1)])
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (Reset(), BotoCoreError),
        (Reset(after=40), BotoCoreError),
        (Status("InternalError", 500), ClientError),
        (Garbage(b"\xff", headers={"Content-Type": "application/x-amz-json-1.0"}), UnicodeDecodeError),
        (Garbage(b"{}", length=100), BotoCoreError),
    ],
)
async def test_a_fault_befalls_a_request_before_it_is_applied_or_after(fake, client, url, kind, error, when, there):
    fake.fault("SendMessage", kind, when=when)

    with pytest.raises(error):
        await send(client, url)

    assert len(fake.left("orders")) == there
    [entry] = fake.asked("SendMessage")
    assert (entry.applied is not None, entry.who, entry.queue) == (bool(there), "test", "orders")
    assert entry.delivered is isinstance(kind, Status)
    assert (await send(client, url))["MessageId"] in fake.left("orders")


async def test_a_hanging_request_is_never_answered(fake, url):
    fake.fault("SendMessage", Hang())
    async with sqs_client(fake.endpoint, read_timeout=0.3) as client:
        with pytest.raises(ReadTimeoutError):
            await send(client, url)
    assert fake.left("orders") == []


@pytest.mark.parametrize("kind", [Slow(0.4), Late(0.4)])
async def test_a_slow_answer_comes_whole_in_the_end(fake, client, url, kind):
    fake.fault("SendMessage", kind)
    begin = time.monotonic()

    assert (await send(client, url))["MessageId"] in fake.left("orders")
    assert time.monotonic() - begin > 0.3
    assert fake.asked("SendMessage")[0].delivered


@pytest.mark.parametrize(("when", "left"), [("before", 2), ("after_apply", 0)])
async def test_entries_of_a_batch_fail_or_are_passed_over(fake, client, url, when, left):
    fake.send("orders", "a", "b", "c")
    messages = (await client.receive_message(QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
    entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
    fake.fault("DeleteMessageBatch", Partial({0: "InternalError", 2: None}), when=when)

    answer = await client.delete_message_batch(QueueUrl=url, Entries=entries)

    assert [one["Id"] for one in answer["Successful"]] == ["1"]
    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("0", "InternalError")]
    assert len(fake.left("orders")) == left


async def test_what_is_delivered_twice_stays_visible(fake, client, url):
    fake.send("orders", "a")
    fake.fault("ReceiveMessage", Twice())
    found = [(await client.receive_message(QueueUrl=url)).get("Messages", []) for _ in range(3)]

    assert [len(messages) for messages in found] == [1, 1, 0]
    assert found[0][0]["ReceiptHandle"] != found[1][0]["ReceiptHandle"]


async def test_an_answer_is_edited_by_key_and_by_message(fake, client, url):
    fake.send("orders", "a", "b")
    edit = Edit({"Extra": 1}, {0: {"Body": ..., "MessageId": "x"}, 5: {"Body": "y"}})
    fake.fault("ReceiveMessage", edit)
    first, second = (await client.receive_message(QueueUrl=url, MaxNumberOfMessages=2))["Messages"]

    assert ("Body" in first, first["MessageId"], second["Body"]) == (False, "x", "b")


async def test_a_fault_is_chosen_by_operation_queue_number_and_chance(fake, client, url):
    fake.create("others")
    fake.fault("SendMessage", Status("Second"), queue="orders", nth=2)
    fake.fault("SendMessage", Status("Chance"), queue="others", count=1000, probability=0.5, seed=7)
    fake.fault("DeleteMessage", Status("Never"))

    async def outcome(queue):
        try:
            await send(client, url.replace("orders", queue))
        except ClientError as error:
            return error.response["Error"]["Code"]
        return ""

    assert [await outcome("orders") for _ in range(4)] == ["", "Second", "", ""]
    chances = [await outcome("others") for _ in range(30)]
    assert set(chances) == {"", "Chance"}
    fake.faults[1].heal()
    assert [await outcome("others") for _ in range(10)] == [""] * 10


async def test_the_log_can_be_kept(fake, client, url, tmp_path):
    await send(client, url)
    fake.dump(tmp_path / "log.jsonl")

    [line] = (tmp_path / "log.jsonl").read_text().splitlines()
    assert (json.loads(line)["operation"], json.loads(line)["status"]) == ("SendMessage", 200)


async def test_a_closed_server_refuses_and_listens_again_on_its_port(fake, client, url):
    fake.close()
    with pytest.raises(BotoCoreError):
        await send(client, url)
    await fake.listen()
    await send(client, url)


async def test_it_ends_by_itself():
    async with FakeSQS(lifetime=0.01) as fake, sqs_client(fake.endpoint) as client:
        fake.create("orders")
        while fake._server.is_serving():
            with pytest.raises(BotoCoreError):
                await client.get_queue_url(QueueName="x")
