"""Receiving goes wrong: one request a step of the back-off, one route's trouble, and on again when it is over."""

from __future__ import annotations

import itertools

import pytest
from torture.fake_faults import Edit, Garbage, Hang, Reset, Slow, Status
from torture.process import eventually

JSON = {"Content-Type": "application/x-amz-json-1.0"}
HTML = b"<html><body>Please log in to the guest network</body></html>"

OUTAGE = {
    "q500": Status("InternalFailure", 500),
    "q502": Garbage(HTML, 502),
    "q503": Status("ServiceUnavailable", 503),
    "q504": Garbage(b"", 504),
}
THROTTLES = {
    "t403": Status("RequestThrottled", 403),
    "t400": Status("RequestThrottled", 400),
    "over": Status("OverLimit", 403),
    "kms": Status("KMS.ThrottlingException", 400),
}
RESETS = {"reset": Reset(), "half": Reset(after=30)}
NONSENSE = {
    "html": Garbage(HTML),
    "empty": Garbage(b""),
    "cut": Garbage(b'{"Messages": [', headers=JSON, length=1000),
    "zipped": Garbage(b"\x1f\x8b\x08\x00half", headers=JSON | {"Content-Encoding": "gzip"}),
    "utf8": Garbage(b'{"Messages": "\xff\xfe"}', headers=JSON),
}


def gaps(fake, queue):
    """Seconds from one receive's end to the next one's arrival, after each that befell a fault."""
    pairs = itertools.pairwise(fake.asked("ReceiveMessage", queue))
    return [after.arrived - (one.answered or one.arrived) for one, after in pairs if one.fault]


async def go_wrong(fake, workshop, faults, times, **options):
    """A route for each of ``faults``, which befalls its first receives; gives the process that got over them."""
    ids = []
    for queue, kind in faults.items():
        fake.create(queue, VisibilityTimeout="2")
        ids += fake.send(queue, {})
        fake.fault("ReceiveMessage", kind, queue=queue, count=times)
        workshop.route(queue, **options)
    process = await workshop.start()
    await eventually(lambda: not any(fake.left(queue) for queue in faults), within=30)
    assert await process.stop() == 0
    workshop.check(ids, lease=2)
    return process


@pytest.mark.parametrize(
    ("faults", "base"),
    [(OUTAGE, 0.25), (THROTTLES, 1.0), (RESETS | NONSENSE, 0.25)],
    ids=["t40_an_outage", "t41_throttling", "t42_resets_and_t45_nonsense"],
)
async def test_receives_that_fail_cost_one_request_a_step_and_end_with_it(fake, workshop, faults, base):
    times = 4 if base < 1 else 2
    process = await go_wrong(fake, workshop, faults, times)

    spreads = set()
    for queue in faults:
        steps = gaps(fake, queue)
        assert len(steps) == times
        for number, gap in enumerate(steps):
            span = base * 2**number
            assert span / 10 - 0.02 < gap < span + 1.0, (queue, steps)
            spreads.add(round(gap / span, 1))
    assert len(spreads) > 2  # not in step with one another
    assert process.log.count("receive failed") == times * len(faults)  # the SDK tried nothing by itself
    assert ("ERROR" in process.log) is (base < 1)  # a few throttles are no error
    assert process.log.count("receiving again") == len(faults)
    assert "guest network" not in process.log


async def test_t43_an_answer_slower_than_the_lease_starts_no_handler_and_a_delete_that_hangs_is_repeated(
    fake, workshop
):
    for queue in ("slow", "hanging"):
        fake.create(queue, VisibilityTimeout="2")
        workshop.route(queue)
    fake.fault("ReceiveMessage", Slow(3), queue="slow")
    fake.fault("DeleteMessageBatch", Hang(), queue="hanging")
    ids = fake.send("slow", {}) + fake.send("hanging", {})
    process = await workshop.start()
    await eventually(lambda: not fake.left("slow") and not fake.left("hanging"))
    assert await process.stop() == 0

    assert workshop.check(ids, lease=2).handled == 2
    assert process.accounts()["slow"] == {"received": 2, "acked": 1, "dropped": 1}


async def test_t43_a_poll_that_hangs_for_ever_is_given_up_when_a_stop_can_wait_no_longer(fake, workshop):
    fake.create("orders", VisibilityTimeout="30")
    fake.fault("ReceiveMessage", Hang(), count=1000)
    workshop.settings["shutdown_timeout"] = 3
    workshop.route("orders")
    process = await workshop.start()
    await eventually(lambda: fake.asked("ReceiveMessage"))

    assert await process.stop(within=3 + 2) == 0
    assert "aborting its open receive" in process.log


async def test_t45_entries_that_lack_something_are_left_out_and_the_good_one_is_handled(fake, workshop):
    fake.create("orders", VisibilityTimeout="2")
    fake.create("null", VisibilityTimeout="2")
    fake.fault("ReceiveMessage", Edit(messages={0: {"Body": ...}, 1: {"ReceiptHandle": ...}}), queue="orders")
    fake.fault("ReceiveMessage", Edit({"Messages": None}), queue="null")
    ids = fake.send("orders", {}, {}, {})
    nothing = fake.send("null", {})
    for queue in ("orders", "null"):
        workshop.route(queue)
    process = await workshop.start()
    await eventually(lambda: not fake.left("orders") and not fake.left("null"))
    assert await process.stop() == 0

    first = workshop.lines("start", route="orders")[0]
    assert (first.message_id, first.receive_count) == (ids[2], 1)
    starts = {line.message_id: line.receive_count for line in workshop.lines("start")}
    assert starts == {ids[0]: 2, ids[1]: 2, ids[2]: 1, nothing[0]: 2}


async def test_t46_a_server_that_does_not_wait_is_asked_five_times_a_second_at_most(fake, workshop):
    fake.create("orders", VisibilityTimeout="2")
    hasty = fake.fault("ReceiveMessage", Garbage(b"{}", headers=JSON), count=1000)
    workshop.route("orders")
    process = await workshop.start()
    await eventually(lambda: hasty.used >= 10)
    hasty.heal()
    ids = fake.send("orders", {})
    await eventually(lambda: not fake.left("orders"))
    assert await process.stop() == 0

    workshop.check(ids, lease=2)
    arrivals = [entry.arrived for entry in fake.asked("ReceiveMessage") if entry.fault]
    assert arrivals[9] - arrivals[1] > 8 * 0.2 - 0.2  # the first one had to connect
