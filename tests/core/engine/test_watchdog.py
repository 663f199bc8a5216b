"""Silence is said, once and once more when it is over: receives, handlers, the loop; and everybody sees the ages."""

from __future__ import annotations

import asyncio

import pytest
from route_rig import ack, works

from loafer_core import Breaker, Throttled


def _said(caplog):
    return [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "loafer.watchdog"]


def test_a_receive_that_does_not_come_back_is_said_once_and_once_more_when_one_does(rig, caplog):
    source = rig.Source("1")
    source.next("receive", 600.0)

    async def story():
        async with rig.running(rig.consumer(source, ack, name="slow"), rig.consumer(rig.Source(), ack, name="idle")):
            await asyncio.sleep(700)

    rig.run(story)
    assert _said(caplog) == [
        (
            "WARNING",
            "slow: no receive has succeeded for 65 s, though slots are free; the newest was sent 65 s ago and may wait "
            "for 20 s",
        ),
        ("INFO", "slow: receives are silent no longer"),
    ]


def test_receives_that_keep_failing_are_silence_too(rig, caplog):
    source = rig.Source()
    source.always["receive"] = Throttled("slower")

    rig.run_for(600, source, ack)

    assert [level for level, _ in _said(caplog)] == ["WARNING"]
    assert "orders: no receive has succeeded for" in caplog.text


def test_a_short_poll_has_half_a_minute_all_the_same(rig, caplog):
    source = rig.Source()
    source.next("receive", 25.0)

    rig.run_for(60, source, ack, max_wait=1.0)

    assert _said(caplog) == []


@pytest.mark.parametrize("why", ["idle", "slots", "breaker"])
def test_a_route_that_has_nothing_to_receive_or_must_not_is_not_silent(rig, ids, caplog, why):
    source = rig.Source(*([] if why == "idle" else ids(12)), batch=10, max_delay=900)

    async def handle(id):
        if why == "breaker":
            raise ConnectionError
        await asyncio.sleep(250)

    rig.run_for(900, source, handle, concurrency=2, breaker=Breaker(failures=2, window=60))

    assert _said(caplog) == []


def test_a_handler_that_does_not_end_is_said_once_and_once_more_when_none_is_late_any_more(rig, caplog):
    source = rig.Source("1", "2", "3", batch=10)

    async def handle(id):
        await asyncio.sleep({"1": 900, "2": 800, "3": 10}[id])

    rig.run_for(1000, source, handle)

    assert _said(caplog) == [
        ("WARNING", "orders: message 1 has been in its handler for 305 s; 2 in work, last outcome 295 s ago"),
        ("INFO", "orders: no handler is late any more"),
    ]


@pytest.mark.parametrize("options", [{}, {"handler_timeout": 3600.0}])
def test_where_handlers_take_long_they_are_late_only_after_longer(rig, ids, caplog, options):
    source = rig.Source("first", batch=10)

    async def story():
        async with rig.running(rig.consumer(source, works(290 if not options else 800), **options)):
            await asyncio.sleep(850)
            source.send(*ids(3))
            await asyncio.sleep(850)

    rig.run(story)
    assert _said(caplog) == []


def test_a_sample_has_the_age_of_the_oldest_handler(rig, ids):
    source = rig.Source(*ids(3), batch=10)

    async def story():
        async with rig.running(rig.consumer(source, works(28)), sample_interval=10.0):
            await asyncio.sleep(5)
            source.send(*ids(1))
            await asyncio.sleep(26)

    rig.run(story)
    ages = [sample["routes"]["orders"]["oldest_handler_age"] for sample in rig.seen.samples]
    assert ages == pytest.approx([10, 20, 25])


@pytest.mark.parametrize(("lease", "blocked", "said"), [(30.0, 1.9, 0), (3.0, 1.9, 1), (None, 1.9, 0), (30.0, 2.1, 1)])
def test_a_loop_that_is_late_for_a_sixth_of_a_lease_is_said(rig, caplog, lease, blocked, said):
    async def handle(id):
        await asyncio.sleep(0.1)
        # What a blocking call looks like from outside: the clock goes on, the loop does not.
        asyncio.get_running_loop()._leaping.now += blocked

    rig.run_for(10, rig.Source("1", lease=lease), handle)

    assert caplog.text.count("the event loop was blocked for") == said
