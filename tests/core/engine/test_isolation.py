"""One route's trouble stays in that route: slow, hanging, failing, misconfigured, or hit by somebody's stray cancel."""

from __future__ import annotations

import asyncio

import pytest
from route_rig import ack, works

from loafer_core import ConfigError, CredentialError, RouteFailed, Settled, SourceConfigError, Unavailable
from loafer_core.delivery.deliveries import Deliveries
from loafer_core.engine.resources import Lifecycle


class Latencies:
    """A fast route: how long each message took from its sending to its handler."""

    def __init__(self, rig):
        self.source = rig.Source(batch=10)
        self.consumer = rig.consumer(self.source, self._handle, name="fast", concurrency=2)
        self.seconds: list[float] = []

    async def send(self, count):
        for _ in range(count):
            self.source.send(str(asyncio.get_running_loop().time()))
            await asyncio.sleep(1)

    async def _handle(self, id):
        self.seconds.append(asyncio.get_running_loop().time() - float(id))


def test_t20_a_fast_route_does_not_wait_for_slow_handlers_nor_for_an_idle_long_poll(rig, ids):
    slow, idle = rig.Source(*ids(50), batch=10), rig.Source()

    async def story():
        fast = Latencies(rig)
        async with rig.running(
            rig.consumer(slow, works(30), name="slow"), rig.consumer(idle, ack, name="idle"), fast.consumer
        ):
            await fast.send(60)
        assert len(fast.seconds) == 60
        assert max(fast.seconds) < 0.06

    rig.run(story)


@pytest.mark.parametrize("what", ["receive", "ack", "extend", "nack"])
def test_a_fast_route_does_not_notice_a_provider_that_fails_or_hangs(rig, ids, what):
    bad = rig.Source(*ids(500), batch=10, lease=30.0, max_delay=900, receives=4)
    bad.always[what] = lambda: RuntimeError("broken") if rig.consumers[0].account.received % 2 else 1000.0

    async def handle(id):
        await asyncio.sleep(15)
        return int(id) % 3 > 0

    async def story():
        fast = Latencies(rig)
        async with rig.running(rig.consumer(bad, handle, name="bad"), fast.consumer):
            await fast.send(60)
        assert len(fast.seconds) == 60
        assert max(fast.seconds) < 0.06

    rig.run(story)


def test_a_source_that_hangs_in_open_holds_the_others_back_for_ten_seconds_only(rig, ids, caplog):
    hanging = rig.Source(*ids(1))
    hanging.next("open", 30.0)

    async def story():
        fast, late = Latencies(rig), rig.consumer(hanging, ack, name="late")
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with rig.running(late, fast.consumer):
            assert loop.time() - begin == 10
            assert (late.state, fast.consumer.state) == ("opening", "running")
            await asyncio.sleep(21)
            assert (late.state, late.account.acked) == ("running", 1)

    rig.run(story)
    assert "late: opening it takes long; the others start" in caplog.text


def test_an_opening_that_never_ends_is_begun_again_after_a_minute(rig, ids):
    hanging = rig.Source(*ids(1))
    hanging.next("open", 1e9)

    account = rig.run_for(51, hanging, ack)

    assert [call.at for call in hanging.named("open")] == [0, pytest.approx(60, abs=1)]
    assert account.acked == 1


@pytest.mark.parametrize("error", [Unavailable("down"), RuntimeError("odd"), asyncio.CancelledError()], ids=repr)
def test_a_source_that_is_out_of_reach_is_tried_again_and_its_route_starts_when_it_is_there(rig, ids, error):
    away = rig.Source(*ids(1))
    away.next("open", *[error] * 5)

    async def story():
        fast, late = Latencies(rig), rig.consumer(away, ack, name="late")
        async with rig.running(late, fast.consumer):
            assert (late.state, fast.consumer.state) == ("opening", "running")
            await asyncio.sleep(30)
            assert late.account.acked == 1
            assert 2 < away.named("open")[-1].at < 8
            # Each failed opening is closed before the next.
            assert [call.what for call in away.calls[:4]] == ["open", "close", "open", "close"]

    rig.run(story)


def test_a_source_that_is_misconfigured_after_all_is_still_tried_again(rig, ids):
    """It was unreachable at the start; then it answers, but the queue is only made later."""
    source = rig.Source(*ids(1))
    source.next("open", Unavailable("down"), SourceConfigError("no such queue"), CredentialError("who are you"))

    account = rig.run_for(60, source, ack)

    assert account.acked == 1


@pytest.mark.parametrize("error", [SourceConfigError("no queue 'orders'"), CredentialError("refused")], ids=repr)
def test_a_bad_route_ends_the_start_before_anything_is_received(rig, ids, error):
    bad, good = rig.Source(), rig.Source(*ids(5))

    async def later():
        await asyncio.sleep(3)
        raise error

    bad.next("open", later)

    async def story():
        dispatcher = rig.dispatcher(rig.consumer(bad, ack, name="bad"), rig.consumer(good, ack, name="good"))
        with pytest.raises(ConfigError) as raised:
            await dispatcher.start()
        assert [str(finding) for finding in raised.value.findings] == [f"routes.bad.provider: {error}"]
        await rig.drain(dispatcher)
        assert good.named("receive") == []
        assert len(good.named("close")) == len(bad.named("close")) == 1

    rig.run(story)


def test_a_bad_route_is_left_out_where_the_others_may_run_without_it(rig, ids, caplog):
    bad, good = rig.Source(), rig.Source(*ids(5))
    bad.next("open", SourceConfigError("no queue"))

    async def story():
        consumer = rig.consumer(bad, ack, name="bad")
        async with rig.running(consumer, rig.consumer(good, ack, name="good"), on_bad_route="degrade") as dispatcher:
            await asyncio.sleep(5)
            assert consumer.state == "failed"
            assert len(good.ids("ack")) == 5
            async with asyncio.timeout(60):
                await dispatcher.wait_until_empty()

    rig.run(story)
    assert "bad: goes on without this route: no queue" in caplog.text


def test_no_route_left_ends_the_start_although_the_others_might_have_run(rig):
    bad = rig.Source(), rig.Source()
    for source in bad:
        source.next("open", SourceConfigError("no queue"))

    async def story():
        dispatcher = rig.dispatcher(
            rig.consumer(bad[0], ack, name="one"), rig.consumer(bad[1], ack, name="two"), on_bad_route="degrade"
        )
        with pytest.raises(ConfigError) as raised:
            await dispatcher.start()
        assert len(raised.value.findings) == 2
        await rig.drain(dispatcher)

    rig.run(story)


@pytest.mark.parametrize("on_bad_route", ["exit", "degrade"])
def test_a_route_that_turns_out_bad_late_ends_the_run_or_is_left_out(rig, ids, on_bad_route):
    hanging, good = rig.Source(), rig.Source(*ids(3))

    async def later():
        await asyncio.sleep(20)
        raise SourceConfigError("no queue")

    hanging.next("open", later)

    async def story():
        late = rig.consumer(hanging, ack, name="late")
        async with rig.running(late, rig.consumer(good, ack, name="good"), on_bad_route=on_bad_route) as dispatcher:
            waiting = asyncio.ensure_future(dispatcher.wait())
            await asyncio.sleep(60)
            assert late.state == "failed"
            assert len(good.ids("ack")) == 3
            if on_bad_route == "exit":
                assert str(waiting.exception()) == "routes.late.provider: no queue"
            assert waiting.done() == (on_bad_route == "exit")
            waiting.cancel()

    rig.run(story)


def test_a_component_that_cannot_be_opened_late_is_a_bad_route_too(rig):
    source = rig.Source()
    source.next("open", Unavailable("down"))

    async def broken(context):
        raise KeyError("dsn")

    async def close():
        pass

    async def story():
        consumer = rig.consumer(source, ack, lifecycles=[Lifecycle("handler", broken, close)])
        async with rig.running(consumer, on_bad_route="degrade") as dispatcher:
            with pytest.raises(ConfigError, match=r"routes\.orders\.handler: opening it raised KeyError"):
                await dispatcher.wait()

    rig.run(story)


@pytest.mark.parametrize(
    ("traits", "named"), [({"lease": 30.0}, "traits.lease"), ({"rejects": True}, "traits.rejects")]
)
def test_a_provider_that_lacks_what_its_traits_promise_is_a_bad_route(rig, traits, named):
    class Bare:
        def __init__(self, source):
            self.traits = source.traits
            for method in ("open", "receive", "ack", "nack", "release", "stop", "close"):
                setattr(self, method, getattr(source, method))

    source = rig.Source(**traits)

    async def story():
        dispatcher = rig.dispatcher(rig.consumer(Bare(source), ack, audited=False))
        with pytest.raises(ConfigError, match=named):
            await dispatcher.start()
        await rig.drain(dispatcher)
        assert len(source.named("close")) == 1

    rig.run(story)


def test_t38_a_handler_that_cancels_every_task_it_finds_silences_no_route(rig, ids):
    """Whatever of ours it hits, poller, heartbeat, ack, another delivery: the route goes on and nothing is lost."""
    source = rig.Source(*ids(40), batch=10, lease=30.0, max_delay=900, receives=2)
    source.always["ack"] = 0.2
    other = rig.Source(batch=10, lease=30.0, receives=2)

    async def vandal(id):
        await asyncio.sleep(int(id) / 10)
        if int(id) % 4 == 0:
            own = asyncio.current_task()
            for task in asyncio.all_tasks():
                if task is not own and not task.get_name().startswith("Task-"):
                    task.cancel()

    async def long(id):
        await asyncio.sleep(100)

    async def story():
        consumer, calm = rig.consumer(source, vandal, name="vandal"), rig.consumer(other, long, name="calm")
        async with rig.running(consumer, calm):
            await asyncio.sleep(100)
            assert source.left == 0
            assert consumer.in_work == 0
            assert consumer.account.received == 40
            source.send("401")
            other.send("1")
            await asyncio.sleep(200)
            assert "401" in source.ids("ack")
            assert consumer.room() == 10
            assert other.ids("ack") == ["1"]
            assert 9 <= len(other.ids("extend")) <= 11

    rig.run(story)


def test_a_stray_cancel_does_not_keep_a_route_from_starting_late(rig, ids):
    away, good = rig.Source(*ids(1)), rig.Source(*ids(1))
    away.next("open", *[Unavailable("down")] * 4)

    async def story():
        late = rig.consumer(away, ack, name="late")
        async with rig.running(late, rig.consumer(good, ack, name="good"), sample_interval=1.0):
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(30)
            assert late.account.acked == 1
            assert len(rig.seen.samples) >= 29

    rig.run(story)


def test_an_opening_that_a_stray_cancel_ends_is_closed_before_the_next(rig, ids):
    away = rig.Source(*ids(1))
    away.next("open", Unavailable("down"), 50.0)

    async def story():
        late = rig.consumer(away, ack, name="late")
        async with rig.running(late):
            await asyncio.sleep(5)
            next(task for task in asyncio.all_tasks() if task.get_name() == "late/open").cancel()
            await asyncio.sleep(5)
            assert late.account.acked == 1
            assert [call.what for call in away.calls[:5]] == ["open", "close", "open", "close", "open"]

    rig.run(story)


def test_a_poller_that_is_cancelled_alone_is_replaced_although_another_one_lives(rig, ids):
    source = rig.Source(*ids(400), batch=10, receives=4)
    source.always["receive"] = 0.1
    cancelled = []

    def pollers():
        return [task for task in asyncio.all_tasks() if task.get_name() == "orders/receive"]

    async def handle(id):
        await asyncio.sleep(0.5)
        if int(id) % 50 == 0:
            while not (open := pollers()):
                await asyncio.sleep(0.05)
            open[0].cancel()
            cancelled.append(len(open))

    async def story(consumer):
        await asyncio.sleep(60)
        assert consumer.account.acked == 400
        assert len(cancelled) == 8
        assert max(cancelled) > 1

    rig.tell(story, source, handle, concurrency=40)


def test_a_bug_of_ours_ends_the_run_and_says_whose_route_it_was(rig, ids, caplog, monkeypatch):
    source = rig.Source(*ids(1))
    monkeypatch.setattr(Deliveries, "accept", lambda deliveries, messages: 1 / 0)

    async def story():
        consumer = rig.consumer(source, ack)
        dispatcher = rig.dispatcher(consumer)
        await dispatcher.start()
        with pytest.raises(RouteFailed, match="route 'orders': ended by itself: ZeroDivisionError"):
            await dispatcher.wait()
        assert consumer.state == "failed"
        await rig.drain(dispatcher)

    rig.run(story)
    assert "orders: a bug in Loafer ended a part of this route" in caplog.text


def test_a_provider_that_answers_acks_with_nonsense_wedges_nothing(rig, ids, caplog):
    source = rig.Source(*ids(3), batch=1, lease=30.0)
    source.next("ack", [], "done", 7, {"1": True, "2": "done", "3": Settled.DONE})
    source.next("extend", [], "done")

    async def handle(id):
        await asyncio.sleep(40 if id == "3" else 0)

    account = rig.run_for(60, source, handle)

    assert account.acked == 3
    assert "TypeError: ack() returned list, not a mapping" in caplog.text
    assert "TypeError: extend() returned list, not a mapping" in caplog.text
