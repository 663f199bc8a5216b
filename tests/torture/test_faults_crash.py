"""kill -9: what was not acked comes back, and what was is not handled again."""

from __future__ import annotations

import random

from torture.counts import LONGEST, count
from torture.fake_faults import Hang
from torture.process import eventually

DELETE = "DeleteMessageBatch"


async def test_t05_what_a_killed_process_had_in_work_is_finished_by_the_next(fake, workshop):
    fake.create("orders", VisibilityTimeout="2")
    kills = count(1, 200)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    ids = fake.send("orders", *({"sleep": rng.uniform(0.05, 0.35)} for _ in range(40 * kills)))
    workshop.route("orders")

    for _ in range(kills):
        process = await workshop.start()
        ends = len(workshop.lines("end")) + rng.randrange(1, 30)
        await eventually(lambda ends=ends: len(workshop.lines("end")) >= ends)
        await process.kill()
    await workshop.finish("orders", within=LONGEST)

    report = workshop.check(ids, lease=2)
    assert report.duplicated.total() <= 20 * kills  # in work, and acks under way


async def test_t06_a_kill_between_a_delete_and_its_answer_loses_nothing(fake, workshop):
    hanging = []
    for queue, when in (("done", "after_apply"), ("undone", "before")):
        fake.create(queue, VisibilityTimeout="2")
        hanging.append(fake.fault(DELETE, Hang(), when=when, count=1000, queue=queue))
        workshop.route(queue)
    ids = fake.send("done", {}) + fake.send("undone", {})
    process = await workshop.start()

    await eventually(lambda: fake.asked(DELETE, "done") and fake.asked(DELETE, "undone"))
    await process.kill()
    for fault in hanging:
        fault.heal()
    await workshop.finish("done", "undone")

    workshop.check(ids, lease=2)
    *both, again = [line.message_id for line in workshop.lines("end")]
    assert (sorted(both), again) == (sorted(ids), ids[1])


async def test_t53_of_two_processes_one_is_killed_again_and_again_and_the_other_goes_on(fake, workshop):
    fake.create("orders", VisibilityTimeout="3")
    kills, messages = count(2, 16), count(100, 5000)  # 16: about one every 3 s
    rng = random.Random(53)
    workshop.route("orders")
    processes = [await workshop.start(), await workshop.start()]
    ids = fake.send("orders", *({"sleep": rng.uniform(0, 0.4)} for _ in range(messages)))

    for number in range(1, kills + 1):
        ends = messages * number // (kills + 1)
        await eventually(lambda ends=ends: len(workshop.lines("end")) >= ends, within=LONGEST)
        await processes[number % 2].kill()
        processes[number % 2] = await workshop.start()
    await workshop.emptied("orders", within=LONGEST)
    assert [await process.stop_early() for process in processes] == [0, 0]

    report = workshop.check(ids, lease=3)
    assert report.handled >= messages
    assert {line.who for line in workshop.lines("end")} >= {process.who for process in workshop.processes[:2]}
