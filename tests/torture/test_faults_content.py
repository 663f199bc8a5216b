"""Whatever a queue can deliver ends in a handler or as a failure, and nothing of it harms the process or its log."""

from __future__ import annotations

import hashlib
import json
import sys

import pytest
from torture.process import eventually

CHANGE = "ChangeMessageVisibilityBatch"
KIBIBYTE, MEBIBYTE = 1024, 1024 * 1024
FORGED = "12:00:00 ERROR   forged by a message"
BODIES = [
    "",
    " \t\r\n ",
    "\x00",
    "\ud800",
    "\ufeff{}",
    "".join(map(chr, range(32))),
    "null",
    "0",
    "{}",
    '""',
    f"\n{FORGED}\r\n{FORGED}\x1b[31mred\x1b[0m\u2028{FORGED}\x85{FORGED}",
    "x" * MEBIBYTE,
]
ATTRIBUTES = {"__class__": "object", "../../x": "\x00\ud800", f"a\n{FORGED}": f"\n{FORGED}", "": "nameless"}


async def test_t60_a_message_that_comes_again_after_its_delete_in_any_order_is_handled_once(fake, workshop):
    queue = fake.create("orders", VisibilityTimeout="60")
    ids = fake.send("orders", *[{}] * 20)
    workshop.route("orders")
    process = await workshop.start()
    await workshop.emptied("orders")
    for _ in range(2):
        queue.revive(ids)
        await workshop.emptied("orders")
    assert await process.stop_early() == 0

    report = workshop.check(ids, lease=60)
    assert (report.handled, report.duplicated.total()) == (20, 0)
    assert process.accounts()["orders"] == {"received": 60, "acked": 60, "known": 40}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory of a process from /proc")
async def test_t61_ten_bodies_of_a_mebibyte_at_once_are_handled_in_bounded_memory_and_keep_their_leases(fake, workshop):
    fake.create("orders", VisibilityTimeout="10")
    order = {"until": "told", "padding": ""}
    order["padding"] = "x" * (MEBIBYTE - len(json.dumps(order)))
    ids = fake.send("orders", *[order] * 10)
    workshop.route("orders", concurrency=10)
    process = await workshop.start()
    await eventually(lambda: len(workshop.lines("start")) == 10)
    await eventually(lambda: sum(len(entry.request["Entries"]) for entry in fake.asked(CHANGE)) >= 10)
    workshop.release("told")
    await workshop.emptied("orders")
    memory = process.holds().most_mebibytes
    assert await process.stop_early() == 0

    workshop.check(ids, lease=10)
    assert [(line.receive_count, line.lost) for line in workshop.lines("end")] == [(1, False)] * 10
    assert memory < 400


async def test_t65_odd_bodies_and_t66_odd_attributes_arrive_as_they_are_and_t68_forge_no_line_of_the_log(
    fake, workshop
):
    queue = fake.create("orders", VisibilityTimeout="60")
    ids = fake.send("orders", *BODIES, "odd names", "heavy")
    odd, heavy = (queue.messages[id] for id in ids[-2:])
    odd.attributes = ATTRIBUTES
    heavy.attributes = {f"a{number}": "x" * 100 * KIBIBYTE for number in range(10)}
    contents = [[one.body, dict(one.attributes)] for one in queue.messages.values()]
    for one in (odd, heavy):
        one.attributes = {name: {"DataType": "String", "StringValue": text} for name, text in one.attributes.items()}
    workshop.route("orders", handler="look", error_handler="service:note_failure")
    process = await workshop.start("--log-level", "debug")
    await workshop.emptied("orders")
    assert await process.stop_early() == 0

    assert workshop.check(ids, lease=60).handled == len(ids)
    digests = [hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest() for one in contents]
    assert {line.message_id: line.outcome for line in workshop.lines("content")} == dict(zip(ids, digests, strict=True))
    assert len(workshop.lines("failure")) == len(ids)
    for trace in (FORGED, "\x1b", "\u2028", "x" * 50):
        assert trace not in process.log
