"""A lease is kept while there is work, its loss is noticed, and no handler starts without one."""

from __future__ import annotations

import itertools
import time

from torture.fake_faults import Partial, Status
from torture.process import eventually

RECEIVE, DELETE, CHANGE = "ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"


def beats(fake, queue="orders"):
    return [
        entry for entry in fake.asked(CHANGE, queue) for one in entry.request["Entries"] if one["VisibilityTimeout"]
    ]


async def test_t22_an_ack_does_not_wait_behind_the_open_polls_of_twelve_routes(fake, workshop):
    queues = [f"q{number}" for number in range(12)]
    for queue in queues:
        fake.create(queue, VisibilityTimeout="60")
        workshop.route(queue, wait_time_seconds=20)
    workshop.settings["shutdown_timeout"] = 25
    process = await workshop.start()
    await eventually(lambda: sum(entry.is_open for entry in fake.asked(RECEIVE)) == len(queues))
    polls = [entry for entry in fake.asked(RECEIVE) if entry.is_open and entry.queue != queues[0]]

    ids = fake.send(queues[0], {})
    await workshop.emptied(queues[0])

    assert all(entry.is_open for entry in polls)
    assert await process.stop_early() == 0
    workshop.check(ids, lease=60)


async def test_t22_plain_functions_that_are_busy_leave_the_loops_own_threads_alone(fake, workshop):
    for queue in ("plain", "borrowing"):
        fake.create(queue, VisibilityTimeout="60")
    busy = fake.send("plain", *[{"until": "told"}] * 10)  # more than the default executor has on a small machine
    workshop.route("plain", handler="handle_in_thread")
    workshop.route("borrowing")
    process = await workshop.start()
    await eventually(lambda: len(workshop.lines("start")) == 10)

    borrower = fake.send("borrowing", {"borrow": True})
    await workshop.emptied("borrowing")
    assert len(workshop.lines("end")) == 1
    workshop.release("told")
    await workshop.emptied("plain")

    assert await process.stop_early() == 0
    workshop.check(busy + borrower, lease=60)


async def test_t23_a_handler_that_takes_longer_than_the_lease_keeps_it_and_no_longer_and_t24_through_errors(
    fake, workshop
):
    for queue in ("orders", "others"):
        fake.create(queue, VisibilityTimeout="4")
        workshop.route(queue)
    faults = [
        fake.fault(CHANGE, Status("ServiceUnavailable", 503), queue="others"),  # the SDK asks again
        fake.fault(CHANGE, Partial({0: "RequestThrottled"}), queue="others", nth=2, count=2),  # and here we do
    ]
    ids = fake.send("orders", {"until": "told"}) + fake.send("others", {"until": "told"})
    process = await workshop.start()
    await eventually(lambda: len(beats(fake)) >= 4 and len(beats(fake, "others")) >= 6)
    workshop.release("told")
    await workshop.emptied("orders", "others")
    assert await process.stop_early() == 0

    workshop.check(ids, lease=4)  # nor is a lease extended once its message is settled
    assert [(line.receive_count, line.lost) for line in workshop.lines("end")] == [(1, False), (1, False)]
    assert [fault.used for fault in faults] == [1, 2]
    gaps = [after.arrived - one.arrived for one, after in itertools.pairwise(beats(fake))]
    assert min(gaps) > 0.8  # a third of the lease and a tenth less, which a busy machine may seem to shorten


async def test_t25_a_lost_lease_is_told_once_and_acked_late_or_on_a_fifo_queue_cancelled(fake, workshop):
    fake.create("orders", VisibilityTimeout="3")
    fake.create("steps.fifo", VisibilityTimeout="3")
    gone = [
        fake.fault(CHANGE, Partial({0: "ReceiptHandleIsInvalid"}), queue="orders", count=9),
        fake.fault(CHANGE, Partial({0: "MessageNotInflight"}), queue="steps.fifo", count=1),
    ]
    [order] = fake.send("orders", {"until": "told"})
    steps = fake.send("steps.fifo", {"sleep": 600, "once": True}, {}, {}, group="g")
    workshop.route("orders")
    workshop.route("steps.fifo")
    process = await workshop.start()
    await process.says(f"message {order} is not ours any more")
    workshop.release("told")
    await workshop.emptied("orders", "steps.fifo")
    assert await process.stop_early() == 0

    workshop.check({order: ""} | dict.fromkeys(steps, "g"), lease=3)
    [end] = workshop.lines("end", message_id=order)
    assert (end.outcome, end.lost, gone[0].used, len(beats(fake))) == ("ok", True, 1, 1)
    assert process.accounts()["orders"] == {"received": 1, "ack_lost": 1}  # the server took it, but need not have
    runs = [(line.message_id, line.outcome, line.lost) for line in workshop.lines("end", route="steps")]
    assert runs == [(steps[0], "cancelled", True), *((id, "ok", False) for id in steps)]


async def test_t26_a_process_that_stood_still_starts_nothing_on_a_lapsed_lease(fake, workshop):
    """Neither of what an answer brought that it reads late, nor of what a poll brought within its wait."""
    for queue in ("orders", "patient", "steps.fifo"):
        fake.create(queue, VisibilityTimeout="2")
        workshop.route(queue, wait_time_seconds=20 if queue == "patient" else 1)
    workshop.settings["shutdown_timeout"] = 25
    steps = fake.send("steps.fifo", {"sleep": 600, "once": True}, {}, {}, group="g")
    process = await workshop.start()
    await eventually(lambda: workshop.lines("start"))

    orders = await _sent_to_one_that_stands_still(fake, process, "orders", "patient")
    await workshop.emptied("orders", "patient", "steps.fifo")
    assert await process.stop_early() == 0

    workshop.check(dict.fromkeys(orders, "") | dict.fromkeys(steps, "g"), lease=2)
    runs = [(line.message_id, line.outcome, line.lost) for line in workshop.lines("end", route="steps")]
    assert runs == [(steps[0], "cancelled", True), *((id, "ok", False) for id in steps)]
    for route, id in zip(("orders", "patient"), orders, strict=True):
        assert [line.receive_count for line in workshop.lines("start", message_id=id)] == [2]
        assert process.accounts()[route] == {"received": 2, "acked": 1, "dropped": 1}


async def _sent_to_one_that_stands_still(fake, process, *queues):
    """Into its open polls; it stands until every lease of two seconds has been over for one."""
    sent: list[str] = []

    def every_lease_is_over():
        sent[:] = sent or [id for queue in queues for id in fake.send(queue, {})]
        answers = [entry.answered for entry in fake.log if entry.answer.get("Messages")]
        polls = [fake.asked(RECEIVE, queue)[-1] for queue in queues]
        return all(entry.answer for entry in polls) and time.monotonic() > max(answers) + 3

    await eventually(lambda: all(fake.asked(RECEIVE, queue)[-1].is_open for queue in queues))
    await process.pause(until=every_lease_is_over)
    return sent


async def test_t27_a_handler_that_blocks_the_loop_is_told_and_what_it_cost_is_made_good(fake, workshop):
    fake.create("orders", VisibilityTimeout="2")
    ids = fake.send("orders", {"sleep": 1}, {"block": 3.5})
    workshop.settings["sample_interval"] = 0.5
    workshop.route("orders")
    process = await workshop.start()
    await process.says(r"the event loop was blocked for \d")
    await workshop.emptied("orders")
    assert await process.stop_early() == 0

    workshop.check(ids, lease=2, excused=ids)
