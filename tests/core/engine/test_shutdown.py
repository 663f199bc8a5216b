"""A stop: nothing new, unstarted work back at once, running work to its end, settlements last; all of it bounded."""

from __future__ import annotations

import asyncio
import logging
import math
import threading

import pytest
from route_rig import ack, works

from loafer_core import Message, Nack, Settled, Unavailable, current
from loafer_core.delivery.deliveries import Deliveries
from loafer_core.engine.resources import Lifecycle


def _story(rig, source, handler, story, **options):
    """Start the route, run ``story(consumer, dispatcher)``, see that everything is closed."""

    async def told():
        consumer = rig.consumer(source, handler, **options)
        dispatcher = rig.dispatcher(consumer)
        await dispatcher.start()
        await asyncio.sleep(1)
        await story(consumer, dispatcher)
        assert consumer.state == "stopped"
        assert source.calls[-1].what == "close"

    rig.run(told)


def _stubborn(end):
    """What no cancelling ends, only this event."""

    async def stubborn(*_):
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                pass

    return stubborn


def _resists(seconds):
    """What takes so long, and as long again after each cancelling."""

    async def resists():
        while True:
            try:
                return await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                pass

    return resists


def test_an_idle_route_stops_as_soon_as_its_open_receive_has_ended(rig):
    source = rig.Source()

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher) == 0
        assert [call.what for call in source.calls] == ["open", "receive", "stop", "close"]

    _story(rig, source, ack, story)


def test_a_receive_that_a_stop_does_not_end_is_waited_for(rig, caplog):
    source = rig.Source()
    source.stop_ends_receive = False

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher) == 19

    _story(rig, source, ack, story)
    assert "waiting up to 18 s for the open receive of 'orders'; Ctrl-C again abandons it" in caplog.text


def test_several_open_receives_are_waited_for_in_one_line(rig, caplog):
    sources = [rig.Source(), rig.Source()]
    for source in sources:
        source.stop_ends_receive = False

    async def told():
        consumers = [
            rig.consumer(source, ack, name=name) for source, name in zip(sources, ["orders", "refunds"], strict=True)
        ]
        async with rig.running(*consumers):
            await asyncio.sleep(1)

    rig.run(told)
    assert [r.getMessage() for r in caplog.records if "waiting up to" in r.getMessage()] == [
        "waiting up to 18 s for the open receives of 'orders', 'refunds'; Ctrl-C again abandons them (what they bring "
        "stays hidden until its lease ends)"
    ]


def test_a_stop_says_what_is_in_work(rig, caplog):
    source = rig.Source("1", "2", batch=10)

    async def story(consumer, dispatcher):
        await rig.drain(dispatcher)

    _story(rig, source, works(5), story)
    assert "in work: 2 of 'orders'" in caplog.text


def test_a_receive_that_does_not_end_at_all_is_aborted_in_time_for_the_rest(rig, caplog):
    source = rig.Source()
    source.next("receive", 1e9)

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher) == 21

    _story(rig, source, ack, story)
    assert "aborting its open receive; what it brings stays hidden until its lease ends" in caplog.text


def test_work_that_has_not_started_is_given_back_at_once(rig):
    source = rig.Source(batch=10, ordered=True, linger=5.0)
    source.send("1", "2", "3", group="g")

    async def story(consumer, dispatcher):
        await rig.drain(dispatcher)
        assert [(call.at, sorted(call.ids)) for call in source.named("release")] == [(1.0, ["2", "3"])]
        assert source.ids("ack") == ["1"]
        assert (consumer.account.acked, consumer.account.released) == (1, 2)

    _story(rig, source, works(10), story)


def test_a_message_whose_lease_is_just_being_secured_is_given_back_and_not_started(rig):
    source = rig.Source(batch=1, lease=30.0)
    source.send("1", lease=2.9)
    source.next("extend", 1.5)

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher) == 0.5
        assert consumer.account.released == 1

    _story(rig, source, ack, story)


def test_running_work_finishes_its_lease_is_kept_and_it_is_acked(rig, ids):
    source = rig.Source(*ids(5), batch=10, lease=6.0)
    seen = []

    async def handle(id):
        await current().stopping.wait()
        seen.append(id)
        await asyncio.sleep(15)

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher) == 15
        assert len(seen) == consumer.account.acked == 5
        assert len(source.ids("extend")) >= 5 * 6

    _story(rig, source, handle, story)


@pytest.mark.parametrize(
    ("handler_timeout", "most", "history", "handled"),
    [
        (30.0, 1.0, 0, False),  # it may take longer than what is left
        (10.0, 1.0, 0, True),
        (None, 1.0, 0, False),  # nobody knows how long it takes
        (None, 1.0, 50, True),  # it never took long
        (None, 17.0, 50, False),  # it did now and then
    ],
)
def test_what_an_open_receive_brings_late_is_handled_if_time_allows_or_given_back(
    rig, ids, handler_timeout, most, history, handled
):
    source = rig.Source(*ids(history), batch=10, linger=0.1)
    source.stop_ends_receive = False

    async def handle(id):
        await asyncio.sleep(most if id == "7" else 1.0)

    async def story(consumer, dispatcher):
        await asyncio.sleep(history * most)
        source.answers["receive"].clear()
        asyncio.get_running_loop().call_later(3, source.send, *[f"late{number}" for number in range(10)])
        before = consumer.account.acked
        took = await rig.drain(dispatcher)
        assert (consumer.account.acked - before, consumer.account.released) == ((10, 0) if handled else (0, 10))
        assert took == pytest.approx(4 if handled else 3, abs=0.2)

    _story(rig, source, handle, story, handler_timeout=handler_timeout)


def test_a_known_message_that_comes_late_is_acked_although_there_is_no_time_to_run_it(rig):
    source = rig.Source("1", batch=1, stable_ids=True)
    source.stop_ends_receive = False
    source.next("ack", Settled.LOST)

    async def story(consumer, dispatcher):
        asyncio.get_running_loop().call_later(3, source.send, "1")
        await rig.drain(dispatcher)
        assert (consumer.account.ack_lost, consumer.account.acked, consumer.account.known) == (1, 1, 1)

    _story(rig, source, ack, story, handler_timeout=60.0)


def test_what_comes_after_the_work_was_cancelled_is_given_back(rig):
    source = rig.Source("1", batch=10)
    source.stop_ends_receive = False

    async def story(consumer, dispatcher):
        asyncio.get_running_loop().call_later(18.5, source.send, "2", "3")
        took = await rig.drain(dispatcher)
        assert took == 18.5
        assert sorted(source.ids("release")) == ["1", "2", "3"]

    _story(rig, source, works(1000), story)


def test_what_an_aborted_receive_still_brings_is_given_back(rig):
    source = rig.Source(batch=10)
    hurry = asyncio.Event()

    async def brings_all_the_same():
        try:
            await asyncio.sleep(1e9)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)
        return [source._message("1", {})]

    source.next("receive", brings_all_the_same)

    async def story(consumer, dispatcher):
        asyncio.get_running_loop().call_later(3, hurry.set)
        await rig.drain(dispatcher, hurry=hurry)
        assert source.ids("release") == ["1"]

    _story(rig, source, works(60), story, handler_timeout=1.0)


def test_work_that_does_not_end_in_time_is_cancelled_and_given_back(rig, ids):
    source = rig.Source(*ids(3), batch=10, max_delay=900)
    cleaned = []

    async def handle(id):
        try:
            await asyncio.sleep(1000)
        finally:
            if id == "1":
                await asyncio.sleep(1)
            cleaned.append(id)

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher) == 19
        assert sorted(source.ids("release")) == sorted(cleaned) == ["1", "2", "3"]
        assert consumer.account.released == 3

    _story(rig, source, handle, story)


def test_a_handler_that_finishes_when_it_is_cancelled_is_acked(rig):
    source = rig.Source("1", batch=10)

    async def handle(id):
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            return True

    async def story(consumer, dispatcher):
        await rig.drain(dispatcher)
        assert consumer.account.acked == 1

    _story(rig, source, handle, story)


def test_an_error_handler_that_resists_its_cancelling_is_left_behind_and_its_message_given_back(rig):
    source = rig.Source("1", batch=10, lease=30.0)
    end = asyncio.Event()
    rig.left_behind = True

    async def handle(id):
        raise ValueError

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher) == 18
        assert consumer.account.released == 1
        end.set()

    _story(rig, source, handle, story, error_handlers=[_stubborn(end)])


def test_work_that_resists_its_cancelling_is_abandoned_and_not_waited_for(rig, caplog):
    source = rig.Source("1", "2", batch=10, lease=30.0)
    end = asyncio.Event()
    rig.left_behind = True

    async def handle(id):
        if id == "1":
            await _stubborn(end)()

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher) == 20
        assert (consumer.account.abandoned, consumer.account.acked) == (1, 1)
        assert consumer.emptiness.unfinished == {"1"}
        before = len(source.calls)
        end.set()
        await asyncio.sleep(1)
        assert len(source.calls) == before  # what it comes to after all is nobody's business any more
        assert consumer.account.abandoned == 1

    _story(rig, source, handle, story)
    assert "cancelling 1 deliveries that did not end in time" in caplog.text


def test_a_plain_function_that_still_runs_is_abandoned_and_never_given_back(rig):
    """Given back, it would run a second time at the same time."""
    source = rig.Source("1", batch=10, lease=30.0)
    end, began = threading.Event(), threading.Event()
    rig.left_behind = True

    def handle(id):
        began.set()
        end.wait(30)

    async def told():
        consumer = rig.consumer(source, handle)
        dispatcher = rig.dispatcher(consumer)
        await dispatcher.start()
        await asyncio.sleep(0)
        while not began.is_set():
            await asyncio.sleep(0.001)
        assert dispatcher.threads_running == 1
        assert await rig.drain(dispatcher) == pytest.approx(20)
        assert consumer.account.abandoned == 1
        assert dispatcher.threads_running == 1
        end.set()

    rig.run(told, grace=0.0005)
    assert source.ids("release") == source.ids("ack") == []


def test_what_waits_behind_a_handler_that_resists_is_given_back(rig):
    source = rig.Source(batch=10, ordered=True)
    source.stop_ends_receive = False
    end = asyncio.Event()
    rig.left_behind = True

    async def story(consumer, dispatcher):
        asyncio.get_running_loop().call_later(1, lambda: source.send("1", "2", group="g"))
        await rig.drain(dispatcher)
        assert source.ids("release") == ["2"]
        assert consumer.account.abandoned == 1
        end.set()

    _story(rig, source, _stubborn(end), story, handler_timeout=1.0)


# --- settlements at the end


def test_settlements_are_flushed_also_through_a_failing_flush(rig, ids):
    source = rig.Source(*ids(7), batch=10, linger=60.0)

    async def handle(id):
        await asyncio.sleep(2 if id == "7" else 0.5)

    async def story(consumer, dispatcher):
        source.next("ack", Unavailable("503"), {"1": Settled.RETRY}, Unavailable("503"))
        assert await rig.drain(dispatcher) < 5
        assert consumer.account.acked == 7

    _story(rig, source, handle, story)


def test_nacks_that_are_parked_here_are_handed_over(rig, ids):
    source = rig.Source(*ids(3), batch=10, max_delay=10.0)

    async def handle(id):
        return Nack(delay=600.0)

    async def story(consumer, dispatcher):
        assert source.named("nack") == []
        assert await rig.drain(dispatcher) == 0
        assert [call.more for call in source.named("nack")] == [{"1": 10.0, "2": 10.0, "3": 10.0}]
        assert consumer.account.nacked == 3

    _story(rig, source, handle, story)


@pytest.mark.parametrize("trouble", [1e9, Settled.RETRY, Unavailable("down")], ids=repr)
def test_settlements_that_cannot_be_flushed_are_given_up_in_time(rig, trouble):
    source = rig.Source("1", "2", batch=10, lease=30.0)
    source.always["ack"] = trouble if not isinstance(trouble, Exception) else lambda: trouble

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher) == 23
        assert consumer.account.ack_lost == 2
        assert consumer.emptiness.unfinished == {"1", "2"}

    _story(rig, source, ack, story)


def test_a_provider_whose_ack_resists_its_cancelling_keeps_nobody_waiting(rig):
    source = rig.Source("1", batch=10)
    rig.left_behind = True

    source.next("ack", _resists(100))

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher) == 23.5
        assert consumer.account.ack_lost == 1

    _story(rig, source, ack, story)


def test_what_a_receive_brings_after_everything_ended_is_accounted_for(rig):
    source = rig.Source(batch=10)
    rig.left_behind = True

    async def stubborn():
        try:
            await asyncio.sleep(1e9)
        except asyncio.CancelledError:
            await asyncio.sleep(100)
        return [source._message("1", {})]

    source.next("receive", stubborn)

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher) == 22
        await asyncio.sleep(200)
        assert consumer.account.released == 1

    _story(rig, source, ack, story)


# --- in a hurry


def test_hurry_cancels_what_runs_and_aborts_open_receives_now(rig, ids):
    source = rig.Source(*ids(3), batch=10)
    source.stop_ends_receive = False
    hurry = asyncio.Event()

    async def story(consumer, dispatcher):
        asyncio.get_running_loop().call_later(3, hurry.set)
        assert await rig.drain(dispatcher, hurry=hurry) == 3
        assert consumer.account.released == 3

    _story(rig, source, works(1000), story)


def test_hurry_leaves_two_seconds_each_for_stubborn_work_for_the_flush_and_for_closing(rig):
    source = rig.Source("1", "2", batch=10)
    source.always["ack"] = source.always["close"] = 1e9
    source.always["stop"] = 1e9
    rig.left_behind = True
    hurry, end = asyncio.Event(), asyncio.Event()

    async def handle(id):
        if id == "2":
            await _stubborn(end)()

    async def story(consumer, dispatcher):
        asyncio.get_running_loop().call_later(3, hurry.set)
        assert await rig.drain(dispatcher, hurry=hurry) <= 3 + 3 * 2
        assert (consumer.account.abandoned, consumer.account.ack_lost) == (1, 1)
        end.set()

    _story(rig, source, handle, story)


def test_hurry_from_the_start_still_tells_the_provider_and_settles(rig):
    source = rig.Source("1", "2", batch=10)
    hurry = asyncio.Event()
    hurry.set()

    async def handle(id):
        await asyncio.sleep(0 if id == "1" else 100)

    async def story(consumer, dispatcher):
        source.always["stop"] = 0.05
        assert await rig.drain(dispatcher, hurry=hurry) < 0.2
        assert len(source.named("stop")) == 1
        assert (consumer.account.acked, consumer.account.released) == (1, 1)

    _story(rig, source, handle, story)


def test_hurry_while_settlements_are_flushed_shortens_that(rig):
    source = rig.Source("1", batch=10)
    source.always["ack"] = Settled.RETRY
    hurry = asyncio.Event()

    async def story(consumer, dispatcher):
        asyncio.get_running_loop().call_later(5, hurry.set)
        assert await rig.drain(dispatcher, hurry=hurry) == 7

    _story(rig, source, ack, story)


# --- providers and components that do not stop


@pytest.mark.parametrize("trouble", [1e9, RuntimeError("no"), asyncio.CancelledError()], ids=repr)
@pytest.mark.parametrize("method", ["stop", "close"])
def test_t19_a_provider_that_does_not_stop_or_close_is_not_waited_for_for_ever(rig, method, trouble, caplog):
    source = rig.Source("1", batch=10)
    source.next(method, trouble)
    source.stop_ends_receive = False
    closed = []

    async def close():
        closed.append(True)

    async def nothing(context):
        pass

    async def told():
        consumer = rig.consumer(source, works(5), lifecycles=[Lifecycle("handler", nothing, close)], max_wait=2.0)
        dispatcher = rig.dispatcher(consumer)
        await dispatcher.start()
        await asyncio.sleep(1)
        assert await rig.drain(dispatcher) <= (18.2 if method == "stop" else 12)
        assert closed == [True]
        assert consumer.account.acked == 1
        assert len(source.named("close")) == 1

    rig.run(told)
    assert f"orders: {'stopping' if method == 'stop' else 'closing'} its provider" in caplog.text


def test_a_component_that_resists_being_closed_takes_no_time_from_the_others(rig):
    source = rig.Source()
    rig.left_behind = True
    closed = []

    async def nothing(context):
        pass

    async def close():
        closed.append(True)

    async def told():
        lifecycles = [Lifecycle("translator", nothing, close), Lifecycle("handler", nothing, _resists(1000))]
        dispatcher = rig.dispatcher(rig.consumer(source, ack, lifecycles=lifecycles))
        await dispatcher.start()
        assert await rig.drain(dispatcher) < 7
        assert closed == [True]
        assert len(source.named("close")) == 1

    rig.run(told)


def test_a_route_that_takes_long_to_stop_keeps_no_other_from_closing(rig):
    slow, quick = rig.Source("1", batch=10), rig.Source(batch=10)

    async def told():
        consumers = rig.consumer(slow, works(15), name="slow"), rig.consumer(quick, ack, name="quick")
        dispatcher = rig.dispatcher(*consumers)
        await dispatcher.start()
        await asyncio.sleep(1)
        draining = asyncio.ensure_future(rig.drain(dispatcher))
        await asyncio.sleep(1)
        assert [consumer.state for consumer in consumers] == ["draining", "stopped"]
        assert quick.named("close")
        await draining

    rig.run(told)


def test_a_drain_that_breaks_is_said_and_breaks_no_other(rig, caplog):
    one, other = rig.Source(), rig.Source()

    async def told():
        consumers = rig.consumer(one, ack, name="one"), rig.consumer(other, ack, name="other")
        dispatcher = rig.dispatcher(*consumers)
        await dispatcher.start()
        consumers[0].drain = lambda plan: asyncio.sleep(1e9)
        await rig.drain(dispatcher)
        assert consumers[1].state == "stopped"
        assert "one: a bug in Loafer broke its drain" in caplog.text
        del consumers[0].drain
        await rig.drain(dispatcher)

    rig.run(told)


# --- odd moments


def test_t17_a_drain_twice_does_nothing_the_second_time(rig):
    source = rig.Source("1", batch=10)

    async def story(consumer, dispatcher):
        await rig.drain(dispatcher)
        before = len(source.calls)
        assert await rig.drain(dispatcher) == 0
        assert len(source.calls) == before

    _story(rig, source, ack, story)


def test_a_drain_that_was_cancelled_can_be_begun_again(rig):
    source = rig.Source("1", batch=10)

    async def story(consumer, dispatcher):
        draining = asyncio.ensure_future(rig.drain(dispatcher))
        await asyncio.sleep(3)
        draining.cancel()
        await asyncio.wait([draining])
        await rig.drain(dispatcher)
        assert consumer.account.acked == 1

    _story(rig, source, works(10), story)


def test_a_drain_before_the_start_touches_no_provider(rig):
    source = rig.Source()

    async def told():
        consumer = rig.consumer(source, ack)
        assert await rig.drain(rig.dispatcher(consumer)) == 0
        assert consumer.state == "stopped"

    rig.run(told)
    assert source.calls == []


@pytest.mark.parametrize("opening", [5.0, 1e9, Unavailable("down")], ids=repr)
@pytest.mark.parametrize("after", [1.0, 30.0])
def test_t17_a_stop_while_opening_ends_it_closes_it_and_receives_nothing(rig, opening, after):
    source = rig.Source("1")
    source.always["open"] = opening if isinstance(opening, float) else lambda: opening

    async def told():
        consumer = rig.consumer(source, ack, max_wait=1.0)
        dispatcher = rig.dispatcher(consumer)
        starting = asyncio.ensure_future(dispatcher.start())
        await asyncio.sleep(after)
        starting.cancel()
        await asyncio.wait([starting])
        assert await rig.drain(dispatcher) < 1
        assert consumer.state == "stopped"
        assert source.calls[-1].what == "close"
        opened = opening == 5.0 and after == 30.0
        assert bool(source.named("receive")) == opened
        await asyncio.sleep(100)
        assert source.calls[-1].what == "close"

    rig.run(told)


def test_a_start_that_goes_on_after_the_stop_starts_nothing(rig):
    source = rig.Source("1")
    source.next("open", 5.0)

    async def told():
        dispatcher = rig.dispatcher(rig.consumer(source, ack))
        starting = asyncio.ensure_future(dispatcher.start())
        await asyncio.sleep(1)
        assert await rig.drain(dispatcher) < 1
        await asyncio.wait([starting])
        await asyncio.sleep(20)
        assert [call.what for call in source.calls] == ["open", "close"]

    rig.run(told)


@pytest.mark.parametrize("before", [0, 1])
def test_an_opening_that_resists_its_cancelling_starts_nothing_after_the_stop(rig, before):
    source = rig.Source("1")
    source.next("open", *[Unavailable("down")] * before)
    rig.left_behind = True

    source.next("open", _resists(100))

    async def told():
        dispatcher = rig.dispatcher(rig.consumer(source, ack))
        await dispatcher.start()
        await asyncio.sleep(5)
        assert await rig.drain(dispatcher) < 3
        await asyncio.sleep(200)
        assert source.named("receive") == []

    rig.run(told)


def test_a_drain_says_what_it_waits_for(rig, ids, caplog):
    caplog.set_level(logging.INFO)
    source = rig.Source(*ids(2), batch=10)

    async def story(consumer, dispatcher):
        await rig.drain(dispatcher)

    _story(rig, source, works(15), story)
    assert "still in work: 2 of 'orders'; cancelled in 12 s" in caplog.text
    assert "still in work: 2 of 'orders'; cancelled in 7 s" in caplog.text


@pytest.mark.parametrize("timeout", [0.5, 5.0, 120.0])
def test_every_phase_is_a_share_of_the_time_there_is(rig, timeout):
    source = rig.Source("1", "2", batch=10)
    source.always["ack"] = source.always["close"] = source.always["stop"] = 1e9
    source.stop_ends_receive = False
    source.next("receive", None, 1e9)

    async def handle(id):
        await asyncio.sleep(1e9 if id == "2" else 0)

    async def story(consumer, dispatcher):
        assert await rig.drain(dispatcher, timeout) <= timeout + 0.6
        assert (consumer.account.released, consumer.account.ack_lost) == (1, 1)

    _story(rig, source, handle, story)


def test_a_message_that_comes_in_the_moment_that_a_stop_ends_is_no_bug_of_ours(rig, caplog, monkeypatch):
    source = rig.Source("1")
    abandon = Deliveries.abandon_running

    def abandon_what_comes_just_now(deliveries):
        deliveries._takes_until = math.inf  # as for a message that the ledger knows: it is started also in a stop
        deliveries.accept([Message("late", "late", object())])
        abandon(deliveries)

    monkeypatch.setattr(Deliveries, "abandon_running", abandon_what_comes_just_now)

    async def story():
        consumer = rig.consumer(source, ack, audited=False)
        rig.audits.clear()  # the auditor knows nothing of a message that no receive brought
        async with rig.running(consumer):
            await asyncio.sleep(1.0)
        assert (consumer.account.acked, consumer.account.abandoned) == (1, 1)
        assert consumer.state == "stopped"
        assert not consumer.failed.done()

    rig.run(story)
    assert "a bug in Loafer" not in caplog.text
