"""Load and faults for some time: what a process holds does not grow."""

from __future__ import annotations

import sys

import pytest
from torture.counts import LONGEST, count
from torture.fake_faults import Reset, Status

ROUNDS = 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what a process holds from /proc")
async def test_t54_memory_files_and_threads_stay_flat_under_load_and_faults(fake, workshop):
    fake.create("orders", VisibilityTimeout="60")
    for operation, kind in (("DeleteMessageBatch", Reset()), ("ReceiveMessage", Status("InternalError", 500))):
        fake.fault(operation, kind, probability=0.02, count=10**9, seed=54)
    workshop.route("orders", handler="handle_in_thread", concurrency=20)
    process = await workshop.start()
    ids: list[str] = []
    held = []
    for _ in range(ROUNDS):
        ids += fake.send("orders", *[{}] * count(150, 10_000))
        await workshop.emptied("orders", within=LONGEST)
        held.append(process.holds())
    assert await process.stop_early() == 0

    report = workshop.check(ids, lease=60, concurrency=20)
    assert report.handled == len(ids)
    assert all(one.threads <= 20 + 10 for one in held)  # the slots', and some of the loop's own
    warm, last = held[1], held[-1]
    assert last.files <= warm.files + 10  # connections come and go
    assert last.mebibytes <= warm.mebibytes + 10  # the ledger has up to 10,000 ids
