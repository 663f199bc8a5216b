"""A stop loses nothing, hides nothing, repeats nothing, and ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

from torture.counts import PATIENCE
from torture.process import eventually

RECEIVE, CHANGE = "ReceiveMessage", "ChangeMessageVisibilityBatch"


def open_polls(fake, queue="orders"):
    return [entry for entry in fake.asked(RECEIVE, queue) if entry.is_open]


def released(fake):
    """When, and how many messages, by request."""
    return [
        (entry.arrived, len(entry.request["Entries"]))
        for entry in fake.asked(CHANGE)
        if all(one["VisibilityTimeout"] == 0 for one in entry.request["Entries"])
    ]


async def test_t10_an_idle_service_waits_for_its_open_poll_and_goes(fake, workshop):
    fake.create("orders", VisibilityTimeout="30")
    workshop.route("orders")
    process = await workshop.start()
    await eventually(lambda: open_polls(fake))
    process.send(signal.SIGTERM)

    assert await process.exit_code() == 0
    assert all(entry.delivered for entry in fake.asked(RECEIVE))  # none was hung up on
    ids = fake.send("orders", {})
    workshop.check(ids, lease=30, left=ids)
    assert fake.hidden("orders") == []


async def test_t11_what_open_polls_bring_during_a_stop_is_handled_if_there_is_time_or_else_given_back(fake, workshop):
    for queue, expected in (("long", 600), ("short", 1)):
        fake.create(queue, VisibilityTimeout="600")
        workshop.route(queue, wait_time_seconds=20, handler_timeout=expected)
    workshop.settings["shutdown_timeout"] = 25
    process = await workshop.start()
    await eventually(lambda: open_polls(fake, "long") and open_polls(fake, "short"))
    process.send(signal.SIGTERM)
    await process.says("SIGTERM: stopping")
    long, short = (fake.send(queue, *[{}] * 10) for queue in ("long", "short"))

    assert await process.exit_code() == 0
    workshop.check(long + short, lease=600, left=long)
    assert process.accounts()["long"] == {"received": 10, "released": 10}
    assert process.accounts()["short"] == {"received": 10, "acked": 10}
    assert {line.route for line in workshop.lines("start")} == {"short"}
    assert fake.hidden("long") == []
    asked = [entry.operation for entry in fake.log if entry.queue == "long"]
    assert asked[-2:] == [RECEIVE, CHANGE]  # at once, in one request


async def test_t12_handlers_that_end_within_the_drain_keep_their_leases_and_are_acked(fake, workshop):
    fake.create("orders", VisibilityTimeout="3")
    ids = fake.send("orders", *[{"until": "told"}] * 5)
    workshop.settings["shutdown_timeout"] = 60
    workshop.route("orders", wait_time_seconds=1)
    process = await workshop.start()
    await eventually(lambda: len(workshop.lines("start")) == 5)
    rival = await workshop.start(who="rival")

    begin = process.send(signal.SIGTERM)
    # Their lease of three seconds is over by then, but for these.
    await eventually(lambda: len([entry for entry in fake.asked(CHANGE) if entry.arrived > begin + 1]) >= 2)
    workshop.release("told")

    assert await process.exit_code() == 0
    assert process.accounts()["orders"] == {"received": 5, "acked": 5}
    assert await rival.stop_early() == 0
    report = workshop.check(ids, lease=3)
    assert (report.handled, report.duplicated.total(), fake.left("orders")) == (5, 0, [])


async def test_t13_a_handler_that_outlasts_the_drain_is_cancelled_and_its_message_given_back(fake, workshop):
    fake.create("orders", VisibilityTimeout="300")
    ids = fake.send("orders", {"sleep": 600})
    workshop.settings["shutdown_timeout"] = 4
    workshop.route("orders")
    process = await workshop.start()
    await eventually(lambda: workshop.lines("start"))

    begin = process.send(signal.SIGTERM)

    assert await process.exit_code() == 0
    [cancelled] = workshop.lines("end", outcome="cancelled")
    [(at, _)] = released(fake)
    assert begin + 2.5 < cancelled.at < at  # after 2.9 s, not before
    assert fake.hidden("orders") == []
    assert process.accounts()["orders"] == {"received": 1, "released": 1}
    workshop.check(ids, lease=300, left=ids)


async def test_t14_a_thread_that_cannot_be_stopped_and_t18_a_handler_that_ignores_its_cancelling_are_left_behind(
    fake, workshop
):
    for queue, handler in (("thread", "handle_in_thread"), ("stubborn", "handle")):
        fake.create(queue, VisibilityTimeout="300")
        workshop.route(queue, handler=handler)
    [thread], [stubborn] = fake.send("thread", {"block": 600}), fake.send("stubborn", {"sleep": 600, "swallow": 600})
    workshop.settings["shutdown_timeout"] = 3
    process = await workshop.start()
    await eventually(lambda: len(workshop.lines("start")) == 2)

    begin = process.send(signal.SIGTERM)

    assert await process.exit_code() == 75
    assert time.monotonic() < begin + 3 + PATIENCE / 2  # and not after ten minutes
    assert (fake.hidden("thread"), fake.hidden("stubborn"), released(fake)) == ([thread], [stubborn], [])
    for route in ("thread", "stubborn"):
        assert process.accounts()[route] == {"received": 1, "abandoned": 1}
    workshop.check([thread, stubborn], lease=300, left=[thread, stubborn])


async def test_t15_a_second_signal_cancels_what_runs_at_once(fake, workshop):
    fake.create("orders", VisibilityTimeout="300")
    ids = fake.send("orders", {"sleep": 600})
    workshop.settings["shutdown_timeout"] = 120
    workshop.route("orders", wait_time_seconds=20)
    process = await workshop.start()
    await eventually(lambda: workshop.lines("start") and open_polls(fake))
    process.send(signal.SIGTERM)
    await process.says("SIGTERM: stopping")
    process.send(signal.SIGINT)

    assert await process.exit_code() == 0  # long before the 113 s that the first one would give it
    assert len(workshop.lines("end", outcome="cancelled")) == 1
    assert [count for _, count in released(fake)] == [1]  # though the poll that was given up may get it
    assert process.accounts()["orders"] == {"received": 1, "released": 1}
    workshop.check(ids, lease=300, left=ids)


async def test_t15_a_third_signal_ends_the_process_even_while_a_handler_blocks_the_loop(fake, workshop):
    fake.create("orders", VisibilityTimeout="300")
    ids = fake.send("orders", {"block": 600})
    workshop.route("orders")
    process = await workshop.start()
    await eventually(lambda: workshop.lines("start"))

    deadline = time.monotonic() + PATIENCE
    while process.is_running and time.monotonic() < deadline:  # two that come at once count as one
        with contextlib.suppress(ProcessLookupError):
            process.send(signal.SIGTERM)
        await asyncio.sleep(0.05)

    assert await process.exit_code() == 128 + signal.SIGTERM
    workshop.check(ids, lease=300, left=ids)
