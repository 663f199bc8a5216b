"""kill -9: what was not acked comes back, and what was is not handled again."""

from __future__ import annotations

import random

import pytest
from torture.fake_faults import Hang
from torture.process import eventually


async def test_t05_what_a_killed_process_had_in_work_is_finished_by_the_next(fake, workshop):
    fake.create("orders", VisibilityTimeout="2")
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    ids = fake.send("orders", *({"sleep": rng.uniform(0.05, 0.35)} for _ in range(40)))
    workshop.route("orders")

    process = await workshop.start()
    ends = rng.randrange(1, 30)
    await eventually(lambda: len(workshop.lines("end")) >= ends)
    await process.kill()
    await workshop.finish("orders")

    report = workshop.check(ids, lease=2)
    assert report.duplicated.total() <= 20  # in work, and acks under way


@pytest.mark.parametrize(("when", "handled"), [("after_apply", 1), ("before", 2)])
async def test_t06_a_kill_between_the_delete_and_its_answer_loses_nothing(fake, workshop, when, handled):
    fake.create("orders", VisibilityTimeout="2")
    hanging = fake.fault("DeleteMessageBatch", Hang(), when=when, count=1000)
    ids = fake.send("orders", {})
    workshop.route("orders")
    process = await workshop.start()

    await eventually(lambda: fake.asked("DeleteMessageBatch"))
    await process.kill()
    hanging.heal()
    await workshop.finish("orders")

    assert workshop.check(ids, lease=2).handled == handled
