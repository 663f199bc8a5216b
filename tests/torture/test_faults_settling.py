"""Outcomes reach the server once, whatever becomes of the requests that carry them."""

from __future__ import annotations

import signal

from torture.counts import LONGEST, count
from torture.fake_faults import Garbage, Partial, Reset, Status
from torture.process import eventually

DELETE, CHANGE = "DeleteMessageBatch", "ChangeMessageVisibilityBatch"


async def test_t01_every_message_is_handled_and_deleted_once(fake, workshop):
    fake.create("orders", VisibilityTimeout="60")
    ids = fake.send("orders", *({"n": number} for number in range(count(300, 10_000))))
    workshop.route("orders", concurrency=50)
    process = await workshop.start()
    await workshop.emptied("orders", within=LONGEST)
    assert await process.stop_early() == 0

    report = workshop.check(ids, lease=60, concurrency=50)
    assert (report.handled, report.duplicated.total()) == (len(ids), 0)
    assert process.accounts()["orders"] == {"received": len(ids), "acked": len(ids)}
    assert len(fake.asked(DELETE)) < len(ids) / 3  # acks go in batches


async def test_t02_what_always_fails_is_dead_lettered_in_the_end_and_t03_what_is_dropped_is_deleted(fake, workshop):
    fake.create("orders", dead_letters_after=3, VisibilityTimeout="60")
    failing = fake.send("orders", {"fails": 9}, {"fails": 9})
    good = fake.send("orders", {"fails": 1}, {"drop": True})
    workshop.route("orders", error_handler="service:note_failure")
    process = await workshop.start()
    await workshop.emptied("orders")
    assert await process.stop_early() == 0

    workshop.check(failing + good, lease=60, dead="orders-dead")
    assert sorted(fake.left("orders-dead")) == failing
    counts = [[line.receive_count for line in workshop.lines("start", message_id=id)] for id in failing + good]
    assert counts == [[1, 2, 3], [1, 2, 3], [1, 2], [1]]
    nacks = [one["VisibilityTimeout"] for entry in fake.asked(CHANGE) for one in entry.request["Entries"]]
    assert len(workshop.lines("failure")) == 7  # a DeleteMessage is none
    assert nacks == [1] * 7  # 0.5 to 1 s, and SQS takes whole seconds


async def test_t07_a_delete_whose_answer_is_lost_is_sent_again_and_t08_what_comes_back_after_all_is_not_run_again(
    fake, workshop
):
    fake.create("answers", VisibilityTimeout="60")
    fake.create("orders", VisibilityTimeout="2")
    fake.fault(DELETE, Reset(), when="after_apply", count=3, queue="answers")  # all that the SDK tries by itself
    lost = [fake.fault(operation, Reset(), count=1000, queue="orders") for operation in (DELETE, CHANGE)]
    [answered], [order] = fake.send("answers", {}), fake.send("orders", {})
    for queue in ("answers", "orders"):
        workshop.route(queue)
    process = await workshop.start("--log-level", "debug")
    await eventually(lambda: fake.backend.queues["orders"].messages[order].count == 2)
    await process.says("ack_lost|is not ours any more")
    for fault in lost:
        fault.heal()
    await workshop.emptied("orders")
    await eventually(lambda: any(entry.delivered for entry in fake.asked(DELETE, "answers")))
    assert await process.stop_early() == 0

    report = workshop.check([answered, order], lease=2)
    assert (report.handled, report.duplicated.total()) == (2, 0)
    assert process.accounts()["answers"] == {"received": 1, "acked": 1}
    assert fake.asked(CHANGE, "answers") == []  # no nack, no release
    account = process.accounts()["orders"]
    again = account["received"] - 1
    assert account == account | {"ack_lost": 1, "acked": again, "known": again}
    handles = {one["ReceiptHandle"] for entry in fake.asked(DELETE, "orders") for one in entry.request["Entries"]}
    assert len(handles) == account["received"]  # each time the newest


async def test_t09_only_the_entries_of_a_batch_that_failed_or_are_unknown_are_deleted_again(fake, workshop):
    fake.create("orders", VisibilityTimeout="60")
    faults = [
        fake.fault(DELETE, Partial({0: "InternalError", 4: None, 7: "InternalError"})),
        fake.fault(DELETE, Garbage(b"<html>log in</html>")),
    ]
    ids = fake.send("orders", *[{"until": "told"}] * 10)
    workshop.route("orders", error_handler="service:note_failure")
    process = await workshop.start()
    await eventually(lambda: len(workshop.lines("start")) == 10)
    workshop.release("told")
    await workshop.emptied("orders")
    assert await process.stop_early() == 0

    workshop.check(ids, lease=60)
    assert [fault.used for fault in faults] == [1, 1]
    confirmed: set[str] = set()
    for entry in fake.asked(DELETE):
        handles = {one["Id"]: one["ReceiptHandle"] for one in entry.request["Entries"]}
        assert confirmed.isdisjoint(handles.values())
        confirmed |= {handles[one["Id"]] for one in entry.answer.get("Successful", ()) if entry.delivered}
    assert len(confirmed) == 10
    assert (fake.asked(CHANGE), workshop.lines("failure")) == ([], [])
    assert process.accounts()["orders"] == {"received": 10, "acked": 10}


async def test_t16_acks_that_linger_when_the_stop_comes_are_sent_and_sent_again(fake, workshop):
    fake.create("orders", VisibilityTimeout="60")
    fake.fault(DELETE, Status("ServiceUnavailable", 503), count=4)  # more than the SDK tries by itself
    ids = fake.send("orders", *[{"until": "seven"}] * 7, {"until": "last"})
    workshop.route("orders")
    process = await workshop.start()
    await eventually(lambda: len(workshop.lines("start")) == 8)
    workshop.release("seven")
    await eventually(lambda: len(workshop.lines("end")) == 7)
    process.send(signal.SIGTERM)
    await process.says("SIGTERM: stopping")
    workshop.release("last")

    assert await process.ends_early() == 0
    workshop.check(ids, lease=60)
    assert fake.left("orders") == []
    assert process.accounts()["orders"] == {"received": 8, "acked": 8}
