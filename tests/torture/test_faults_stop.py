"""A stop loses nothing, hides nothing, repeats nothing, and ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

from torture.process import eventually


def open_polls(fake, queue="orders"):
    return [entry for entry in fake.asked("ReceiveMessage", queue) if entry.is_open]


def released(fake):
    """When, and how many messages, by request."""
    return [
        (entry.arrived, len(entry.request["Entries"]))
        for entry in fake.asked("ChangeMessageVisibilityBatch")
        if all(one["VisibilityTimeout"] == 0 for one in entry.request["Entries"])
    ]


async def test_t10_an_idle_service_waits_for_its_open_poll_and_goes(fake, workshop):
    fake.create("orders", VisibilityTimeout="30")
    workshop.route("orders", wait_time_seconds=2)
    process = await workshop.start()
    await eventually(lambda: open_polls(fake))

    begin = process.send(signal.SIGTERM)

    assert await process.exit_code() == 0
    assert time.monotonic() - begin < 2 + 2
    assert all(entry.delivered for entry in fake.asked("ReceiveMessage"))  # none was hung up on
    ids = fake.send("orders", {})
    workshop.check(ids, lease=30, left=ids)
    assert fake.hidden("orders") == []


async def test_t11_what_an_open_poll_brings_during_a_stop_is_given_back_when_there_is_no_time_for_it(fake, workshop):
    ids, process = await _sent_into_the_last_poll(fake, workshop, handler_timeout=30)

    [(at, count)] = released(fake)
    [arrival] = [entry.answered for entry in fake.asked("ReceiveMessage") if entry.answer.get("Messages")]
    assert (count, fake.hidden("orders"), workshop.lines("start")) == (10, [], [])
    assert at - arrival < 1
    assert process.accounts()["orders"] == {"received": 10, "released": 10}
    workshop.check(ids, lease=30, left=ids)


async def test_t11_what_an_open_poll_brings_during_a_stop_is_handled_when_there_is_time(fake, workshop):
    ids, process = await _sent_into_the_last_poll(fake, workshop, handler_timeout=1)

    assert process.accounts()["orders"] == {"received": 10, "acked": 10}
    assert workshop.check(ids, lease=30).handled == 10


async def _sent_into_the_last_poll(fake, workshop, **options):
    fake.create("orders", VisibilityTimeout="30")
    workshop.route("orders", wait_time_seconds=5, **options)
    process = await workshop.start()
    await eventually(lambda: open_polls(fake))
    process.send(signal.SIGTERM)
    await process.says("SIGTERM: stopping")
    ids = fake.send("orders", *[{}] * 10)
    assert await process.exit_code() == 0
    return ids, process


async def test_t12_handlers_that_end_within_the_drain_keep_their_leases_and_are_acked(fake, workshop):
    fake.create("orders", VisibilityTimeout="2")
    ids = fake.send("orders", *[{"sleep": 3.5}] * 5)
    workshop.route("orders", wait_time_seconds=1)
    process = await workshop.start()
    await eventually(lambda: len(workshop.lines("start")) == 5)
    rival = await workshop.launch(who="rival")

    begin = process.send(signal.SIGTERM)

    assert await process.exit_code() == 0
    assert process.accounts()["orders"] == {"received": 5, "acked": 5}
    assert any(entry.arrived > begin + 1.5 for entry in fake.asked("ChangeMessageVisibilityBatch"))
    assert await rival.stop() == 0
    report = workshop.check(ids, lease=2)
    assert (report.handled, report.duplicated.total(), fake.left("orders")) == (5, 0, [])


async def test_t13_a_handler_that_outlasts_the_drain_is_cancelled_and_its_message_given_back(fake, workshop):
    fake.create("orders", VisibilityTimeout="30")
    ids = fake.send("orders", {"sleep": 60})
    workshop.settings["shutdown_timeout"] = 4
    workshop.route("orders", wait_time_seconds=1)
    process = await workshop.start()
    await eventually(lambda: workshop.lines("start"))

    begin = process.send(signal.SIGTERM)

    assert await process.exit_code() == 0
    assert time.monotonic() - begin < 4 + 1.5
    [cancelled] = workshop.lines("end", outcome="cancelled")
    [(at, _)] = released(fake)
    assert 2.5 < cancelled.at - begin < 4
    assert at - cancelled.at < 1
    assert fake.hidden("orders") == []
    assert process.accounts()["orders"] == {"received": 1, "released": 1}
    workshop.check(ids, lease=30, left=ids)


async def test_t14_a_thread_that_cannot_be_stopped_is_left_and_its_message_not_given_back(fake, workshop):
    fake.create("orders", VisibilityTimeout="3")
    ids = fake.send("orders", {"block": 600})
    workshop.settings["shutdown_timeout"] = 3
    workshop.route("orders", handler="handle_in_thread", wait_time_seconds=1)
    process = await workshop.start()
    await eventually(lambda: workshop.lines("start"))

    begin = process.send(signal.SIGTERM)

    assert await process.exit_code() == 75
    end = time.monotonic()
    assert end - begin < 3 + 2.5
    assert (fake.hidden("orders"), released(fake)) == (ids, [])
    await eventually(lambda: not fake.hidden("orders"), within=4)
    assert process.accounts()["orders"] == {"received": 1, "abandoned": 1}
    workshop.check(ids, lease=3, left=ids)


async def test_t18_a_handler_that_ignores_being_cancelled_is_left_behind(fake, workshop):
    fake.create("orders", VisibilityTimeout="30")
    ids = fake.send("orders", {"sleep": 60, "swallow": 60})
    workshop.settings["shutdown_timeout"] = 3
    workshop.route("orders")
    process = await workshop.start()
    await eventually(lambda: workshop.lines("start"))

    begin = process.send(signal.SIGTERM)

    assert await process.exit_code() == 75
    assert time.monotonic() - begin < 3 + 2.5
    assert (fake.hidden("orders"), released(fake)) == (ids, [])
    assert process.accounts()["orders"] == {"received": 1, "abandoned": 1}


async def test_t15_a_second_signal_cancels_what_runs_at_once(fake, workshop):
    fake.create("orders", VisibilityTimeout="30")
    ids = fake.send("orders", {"sleep": 60})
    workshop.settings["shutdown_timeout"] = 25
    workshop.route("orders", wait_time_seconds=20)
    process = await workshop.start()
    await eventually(lambda: workshop.lines("start") and open_polls(fake))
    process.send(signal.SIGTERM)
    await process.says("SIGTERM: stopping")

    begin = process.send(signal.SIGINT)

    assert await process.exit_code() == 0
    assert time.monotonic() - begin < 3
    assert len(workshop.lines("end", outcome="cancelled")) == 1
    assert [count for _, count in released(fake)] == [1]  # though the poll that was given up may get it
    assert process.accounts()["orders"] == {"received": 1, "released": 1}
    workshop.check(ids, lease=30, left=ids)


async def test_t15_a_third_signal_ends_the_process_even_while_a_handler_blocks_the_loop(fake, workshop):
    fake.create("orders", VisibilityTimeout="30")
    ids = fake.send("orders", {"block": 600})
    workshop.route("orders")
    process = await workshop.start()
    await eventually(lambda: workshop.lines("start"))

    begin = time.monotonic()
    while process.is_running and time.monotonic() < begin + 5:  # two that come at once count as one
        with contextlib.suppress(ProcessLookupError):
            process.send(signal.SIGTERM)
        await asyncio.sleep(0.05)

    assert await process.exit_code() == 128 + signal.SIGTERM
    assert time.monotonic() - begin < 3
    workshop.check(ids, lease=30, left=ids)
