"""Receiving goes wrong: one request a step of the back-off, one route's trouble, and on again when it is over."""

from __future__ import annotations

import itertools
import re

from torture.fake_faults import Edit, Garbage, Hang, Reset, Slow, Status
from torture.process import eventually

RECEIVE = "ReceiveMessage"
JSON = {"Content-Type": "application/x-amz-json-1.0"}
HTML = b"<html><body>Please log in to the guest network</body></html>"

OUTAGES = {
    "t40-500": Status("InternalFailure", 500),
    "t40-502": Garbage(HTML, 502),
    "t40-503": Status("ServiceUnavailable", 503),
    "t40-504": Garbage(b"", 504),
}
THROTTLES = {
    "t41-403": Status("RequestThrottled", 403),
    "t41-400": Status("RequestThrottled", 400),
    "t41-over": Status("OverLimit", 403),
    "t41-kms": Status("KMS.ThrottlingException", 400),
}
RESETS = {"t42-reset": Reset(), "t42-half": Reset(after=30)}
NONSENSE = {
    "t45-html": Garbage(HTML),
    "t45-empty": Garbage(b""),
    "t45-cut": Garbage(b'{"Messages": [', headers=JSON, length=1000),
    "t45-zipped": Garbage(b"\x1f\x8b\x08\x00half", headers=JSON | {"Content-Encoding": "gzip"}),
    "t45-utf8": Garbage(b'{"Messages": "\xff\xfe"}', headers=JSON),
}


def gaps(fake, queue):
    """Seconds from one receive's end to the next one's arrival, after each that befell a fault."""
    pairs = itertools.pairwise(fake.asked(RECEIVE, queue))
    return [after.arrived - (one.answered or one.arrived) for one, after in pairs if one.fault]


async def test_t40_outages_t41_throttling_t42_resets_and_t45_nonsense_cost_one_request_a_step_and_end_with_it(
    fake, workshop
):
    faults, ids = OUTAGES | THROTTLES | RESETS | NONSENSE, []
    times = {queue: 2 if queue in THROTTLES else 3 for queue in faults}
    for queue, kind in faults.items():
        fake.create(queue, VisibilityTimeout="2")
        ids += fake.send(queue, {})
        fake.fault(RECEIVE, kind, queue=queue, count=times[queue])
        workshop.route(queue)
    process = await workshop.start()
    await workshop.emptied(*faults)
    assert await process.stop_early() == 0

    workshop.check(ids, lease=2)
    shares = set()
    for queue in faults:
        said = re.findall(rf"(\w+) +{queue}: receive failed .*; next try in ([\d.]+) s", process.log)
        levels, waits = [level for level, _ in said], [float(seconds) for _, seconds in said]
        assert len(waits) == times[queue], queue  # so the SDK tried nothing by itself
        assert levels == ["INFO" if queue in THROTTLES else "ERROR"] * times[queue]  # a few throttles are no error
        for number, (wait, gap) in enumerate(zip(waits, gaps(fake, queue), strict=True)):
            span = (1.0 if queue in THROTTLES else 0.25) * 2**number
            assert span / 10 - 0.05 <= wait <= span + 0.05
            assert gap > wait - 0.2
            shares.add(round(wait / span, 1))
    assert len(shares) > 4  # not in step with one another
    assert process.log.count("receiving again") == len(faults)
    assert "guest network" not in process.log


async def test_t43_an_answer_slower_than_the_lease_starts_no_handler_and_a_delete_that_hangs_is_repeated(
    fake, workshop
):
    for queue in ("slow", "hanging"):
        fake.create(queue, VisibilityTimeout="2")
        workshop.route(queue)
    fake.fault(RECEIVE, Slow(3), queue="slow")
    fake.fault("DeleteMessageBatch", Hang(), queue="hanging")
    ids = fake.send("slow", {}) + fake.send("hanging", {})
    process = await workshop.start()
    await workshop.emptied("slow", "hanging")
    assert await process.stop_early() == 0

    assert workshop.check(ids, lease=2).handled == 2
    [start] = workshop.lines("start", route="slow")
    assert start.receive_count > 1
    account = process.accounts()["slow"]
    assert account == {"received": start.receive_count, "acked": 1, "dropped": start.receive_count - 1}


async def test_t43_a_poll_that_hangs_for_ever_is_given_up_when_a_stop_can_wait_no_longer(fake, workshop):
    fake.create("orders", VisibilityTimeout="30")
    fake.fault(RECEIVE, Hang(), count=1000)
    workshop.settings["shutdown_timeout"] = 3
    workshop.route("orders")
    process = await workshop.start()
    await eventually(lambda: fake.asked(RECEIVE))

    assert await process.stop() == 0
    assert "aborting its open receive" in process.log


async def test_t45_entries_that_lack_something_are_left_out_and_t46_a_server_that_does_not_wait_is_not_overrun(
    fake, workshop
):
    for queue in ("odd", "null", "hasty"):
        fake.create(queue, VisibilityTimeout="2")
        workshop.route(queue)
    fake.fault(RECEIVE, Edit(messages={0: {"Body": ...}, 1: {"ReceiptHandle": ...}}), queue="odd")
    fake.fault(RECEIVE, Edit({"Messages": None}), queue="null")
    hasty = fake.fault(RECEIVE, Garbage(b"{}", headers=JSON), queue="hasty", count=1000)
    odd, null = fake.send("odd", {}, {}, {}), fake.send("null", {})
    process = await workshop.start()
    await eventually(lambda: hasty.used >= 10)
    hasty.heal()
    late = fake.send("hasty", {})
    await workshop.emptied("odd", "null", "hasty")
    assert await process.stop_early() == 0

    workshop.check(odd + null + late, lease=2)
    first = workshop.lines("start", route="odd")[0]
    assert (first.message_id, first.receive_count) == (odd[2], 1)
    starts = {line.message_id: line.receive_count for line in workshop.lines("start")}
    assert starts == {odd[0]: 2, odd[1]: 2, odd[2]: 1, null[0]: 2, late[0]: 1}
    arrivals = [entry.arrived for entry in fake.asked(RECEIVE, "hasty") if entry.fault]
    assert arrivals[9] - arrivals[0] > 1.0  # nine times 0.2 s, some of which the network may seem to take away
