"""Outcomes reach the server once, whatever becomes of the requests that carry them."""

from __future__ import annotations

import signal

from torture.fake_faults import Garbage, Partial, Reset, Status
from torture.process import eventually

LEASE = 3


async def test_t01_three_hundred_messages_are_each_handled_and_deleted_once(fake, workshop):
    fake.create("orders", VisibilityTimeout="10")
    ids = fake.send("orders", *({"n": number} for number in range(300)))
    workshop.route("orders", concurrency=50)

    process = await workshop.launch("--until-empty")

    assert await process.exit_code(30) == 0
    report = workshop.check(ids, lease=10, concurrency=50)
    assert (report.handled, report.duplicated.total(), fake.left("orders")) == (300, 0, [])
    assert process.accounts()["orders"] == {"received": 300, "acked": 300}
    assert len(fake.asked("DeleteMessageBatch")) < 100  # acks go in batches


async def test_t02_what_always_fails_is_dead_lettered_in_the_end_and_t03_what_is_dropped_is_deleted(fake, workshop):
    fake.create("orders", dead_letters_after=3, VisibilityTimeout=str(LEASE))
    failing = fake.send("orders", {"fails": 9}, {"fails": 9})
    good = fake.send("orders", {"fails": 1}, {"drop": True})
    workshop.route("orders", error_handler="service:note_failure")
    process = await workshop.start()

    await eventually(lambda: not fake.left("orders"))
    assert await process.stop() == 0

    workshop.check(failing + good, lease=LEASE, dead="orders-dead")
    assert sorted(fake.left("orders-dead")) == failing
    counts = [[line.receive_count for line in workshop.lines("start", message_id=id)] for id in failing + good]
    assert counts == [[1, 2, 3], [1, 2, 3], [1, 2], [1]]
    nacks = [one["VisibilityTimeout"] for entry in changes(fake, "orders") for one in entry.request["Entries"]]
    assert len(workshop.lines("failure")) == 7  # a DeleteMessage is none
    assert nacks == [1] * 7  # 0.5 to 1 s, and SQS takes whole seconds


def changes(fake, queue):
    return fake.asked("ChangeMessageVisibilityBatch", queue)


async def test_t07_the_server_applies_the_delete_and_the_answer_is_lost(fake, workshop):
    fake.create("orders", VisibilityTimeout="30")
    fake.fault("DeleteMessageBatch", Reset(), when="after_apply", count=3)  # all that the SDK tries by itself
    ids = fake.send("orders", {})
    workshop.route("orders")
    process = await workshop.start()

    await eventually(lambda: any(entry.delivered for entry in fake.asked("DeleteMessageBatch")))
    assert await process.stop() == 0

    assert workshop.check(ids, lease=30).duplicated.total() == 0
    assert process.accounts()["orders"] == {"received": 1, "acked": 1}
    assert changes(fake, "orders") == []  # no nack, no release


async def test_t08_a_redelivery_of_what_could_not_be_acked_is_acked_and_not_handled_again(fake, workshop):
    fake.create("orders", VisibilityTimeout="2")
    lost = [fake.fault(operation, Reset(), count=1000) for operation in ("DeleteMessageBatch", CHANGE)]
    ids = fake.send("orders", {})
    workshop.route("orders")
    process = await workshop.start("--log-level", "debug")

    await eventually(lambda: fake.backend.queues["orders"].messages[ids[0]].count == 2)
    await process.says("ack_lost|is not ours any more")
    for fault in lost:
        fault.heal()
    await eventually(lambda: not fake.left("orders"))
    assert await process.stop() == 0

    assert workshop.check(ids, lease=2).handled == 1
    account = process.accounts()["orders"]
    assert account == account | {"ack_lost": 1, "acked": account["received"] - 1, "known": account["received"] - 1}
    handles = {one["ReceiptHandle"] for entry in fake.asked("DeleteMessageBatch") for one in entry.request["Entries"]}
    assert len(handles) == account["received"]


CHANGE = "ChangeMessageVisibilityBatch"


async def test_t09_only_the_entries_of_a_batch_that_failed_or_are_unknown_are_deleted_again(fake, workshop):
    fake.create("orders", VisibilityTimeout="10")
    fake.fault("DeleteMessageBatch", Partial({0: "InternalError", 4: None, 7: "InternalError"}))
    fake.fault("DeleteMessageBatch", Garbage(b"<html>log in</html>"))
    ids = fake.send("orders", *[{"sleep": 0.3}] * 10)
    workshop.route("orders", error_handler="service:note_failure")
    process = await workshop.start()

    await eventually(lambda: not fake.left("orders"))
    assert await process.stop() == 0

    workshop.check(ids, lease=10)
    first, garbled, last = fake.asked("DeleteMessageBatch")
    assert [len(entry.request["Entries"]) for entry in (first, garbled, last)] == [10, 3, 3]
    failed = {first.request["Entries"][place]["ReceiptHandle"] for place in (0, 4, 7)}
    for entry in (garbled, last):
        assert {one["ReceiptHandle"] for one in entry.request["Entries"]} == failed
    assert (changes(fake, "orders"), workshop.lines("failure")) == ([], [])
    assert process.accounts()["orders"] == {"received": 10, "acked": 10}


async def test_t16_acks_that_linger_when_the_stop_comes_are_sent_and_sent_again(fake, workshop):
    fake.create("orders", VisibilityTimeout="10")
    fake.fault("DeleteMessageBatch", Status("ServiceUnavailable", 503), count=4)  # more than the SDK tries by itself
    ids = fake.send("orders", *[{"sleep": 0.3}] * 7, {"sleep": 1.5})
    workshop.route("orders")
    process = await workshop.start()

    await eventually(lambda: len(workshop.lines("end")) == 7)
    process.send(signal.SIGTERM)

    assert await process.exit_code() == 0
    workshop.check(ids, lease=10)
    assert fake.left("orders") == []
    assert process.accounts()["orders"] == {"received": 8, "acked": 8}
