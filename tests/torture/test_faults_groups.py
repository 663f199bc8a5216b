"""A group of a FIFO queue goes one after the other, whatever happens to one of it."""

from __future__ import annotations

import random

from torture.counts import LONGEST, count
from torture.fake_faults import Reset
from torture.process import eventually

QUEUE = "steps.fifo"


def successes(workshop):
    return [line.message_id for line in workshop.lines("end", outcome="ok")]


async def test_t30_five_groups_are_each_handled_in_order(fake, workshop):
    fake.create(QUEUE, VisibilityTimeout="60")
    rng = random.Random(30)
    sent = {}
    for _ in range(count(12, 50)):
        for group in "abcde":
            sent |= dict.fromkeys(fake.send(QUEUE, {"sleep": rng.uniform(0, 0.02)}, group=group), group)
    workshop.route(QUEUE, concurrency=8)
    await workshop.finish(QUEUE, within=LONGEST)

    report = workshop.check(sent, lease=60, concurrency=8)  # the order, too
    assert (report.handled, report.duplicated.total()) == (len(sent), 0)


async def test_t31_a_failure_stops_the_rest_of_its_group_until_it_succeeds_and_no_other_group(fake, workshop):
    fake.create(QUEUE, VisibilityTimeout="60")
    one = fake.send(QUEUE, {}, {}, {"fails": 1}, {}, {}, group="a")
    two = fake.send(QUEUE, {}, {}, group="b")
    workshop.route(QUEUE)
    await workshop.finish(QUEUE)

    workshop.check(dict.fromkeys(one, "a") | dict.fromkeys(two, "b"), lease=60)
    assert [id for id in successes(workshop) if id in one] == one
    [failed, again] = workshop.lines("start", message_id=one[2])
    assert again.at - failed.at > 0.5
    assert all(line.at < again.at for id in two for line in workshop.lines("end", message_id=id))
    counts = [line.receive_count for id in one for line in workshop.lines("end", message_id=id, outcome="ok")]
    assert counts == [1, 1, 2, 2, 2]  # those behind it were given back and came again


async def test_t32_an_ack_that_fails_for_good_stops_its_group_until_the_message_is_back(fake, workshop):
    fake.create(QUEUE, VisibilityTimeout="2")
    lost = [fake.fault("DeleteMessageBatch", Reset(), nth=3, count=1000)]
    lost.append(fake.fault("ChangeMessageVisibilityBatch", Reset(), count=1000))
    ids = fake.send(QUEUE, *[{}] * 4, group="g")
    workshop.route(QUEUE)
    process = await workshop.start()

    third = fake.backend.queues[QUEUE].messages[ids[2]]
    await eventually(lambda: third.count == 2)
    assert successes(workshop) == ids[:3]
    for fault in lost:
        fault.heal()
    await workshop.emptied(QUEUE)
    assert await process.stop_early() == 0

    report = workshop.check(dict.fromkeys(ids, "g"), lease=2)
    assert (successes(workshop), report.duplicated.total()) == (ids, 0)
    [start] = workshop.lines("start", message_id=ids[3])
    acked = [entry.arrived for entry in fake.asked("DeleteMessageBatch") if entry.delivered]
    assert start.at > acked[2]  # of the third, by then


async def test_t33_a_lost_answer_of_a_receive_is_asked_for_again_and_not_waited_for(fake, workshop):
    fake.create(QUEUE, VisibilityTimeout="300")
    fake.fault("ReceiveMessage", Reset(after=20), when="after_apply", count=2)
    ids = fake.send(QUEUE, *[{}] * 3, group="g")
    workshop.route(QUEUE)
    process = await workshop.start()
    await workshop.emptied(QUEUE)
    assert await process.stop_early() == 0

    workshop.check(dict.fromkeys(ids, "g"), lease=300)
    assert [line.receive_count for line in workshop.lines("end")] == [1, 1, 1]
    attempts = [entry.request["ReceiveRequestAttemptId"] for entry in fake.asked("ReceiveMessage")]
    assert len(set(attempts[:3])) == 1
    assert attempts[2] not in attempts[3:]
