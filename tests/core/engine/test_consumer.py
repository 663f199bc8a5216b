"""Slots and polls: a hard bound, no receive without room, no more pollers than are of use."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from contextvars import ContextVar

import pytest
from route_rig import ack, works

from loafer_core import Breaker, Message, Reject, Retry, Settled, Unavailable
from loafer_core.api.current import Current
from loafer_core.delivery.in_flight import Delivery


@pytest.mark.parametrize("concurrency", [1, 2, 3, 10, 100])
def test_slots_are_a_hard_bound_when_messages_come_in_bursts(rig, ids, concurrency):
    source = rig.Source(batch=10, linger=0.1, receives=4)
    running, most, done = 0, 0, 0

    async def handle(id):
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01 + int(id) % 7 / 10)
        running -= 1
        done += 1

    async def story():
        consumer = rig.consumer(source, handle, concurrency=concurrency)
        async with rig.running(consumer):
            for _ in range(5):
                source.send(*ids(3 * concurrency))
                await asyncio.sleep(3)
            await asyncio.sleep(30)
        assert done == consumer.account.acked == 15 * concurrency

    rig.run(story)
    assert most == concurrency


def test_t21_nothing_is_received_while_every_slot_is_taken(rig, ids):
    source = rig.Source(*ids(20), batch=10, receives=4)

    async def story():
        async with rig.running(rig.consumer(source, works(100), concurrency=10)):
            await asyncio.sleep(99)
            assert [call.more for call in source.named("receive")] == [10]
            await asyncio.sleep(150)

    rig.run(story)


def test_slots_that_came_free_are_asked_for_before_what_freed_them_is_acked(rig, ids):
    """A slot that waits is work not done; nobody waits for an ack."""
    source = rig.Source(*ids(40), batch=10, linger=0.1)

    rig.run_for(1.01, source, works(1), concurrency=10)

    assert [call.what for call in source.calls if call.at == pytest.approx(1.0)][:2] == ["receive", "ack"]


@pytest.mark.parametrize(
    ("concurrency", "batch", "enough"),
    [(1, 10, 1), (2, 10, 1), (3, 10, 1), (10, 10, 5), (100, 10, 10), (100, 1, 1)],
)
def test_a_receive_is_sent_as_soon_as_enough_slots_are_free(rig, ids, concurrency, batch, enough):
    source = rig.Source(*ids(concurrency), batch=batch)
    source.most = concurrency
    release = asyncio.Semaphore(0)

    async def handle(id):
        await release.acquire()

    async def story():
        async with rig.running(rig.consumer(source, handle, concurrency=concurrency)):
            await asyncio.sleep(1)
            before = len(source.named("receive"))
            for _ in range(enough - 1):
                release.release()
            await asyncio.sleep(0.04)
            assert len(source.named("receive")) == before
            release.release()
            await asyncio.sleep(0.001)
            receives = source.named("receive")[before:]
            assert [call.more for call in receives] == [enough]
            for _ in range(concurrency):
                release.release()

    rig.run(story)


def test_a_receive_for_few_slots_is_sent_after_50_ms(rig, ids):
    source = rig.Source(*ids(10), batch=10)
    release = asyncio.Semaphore(0)

    async def handle(id):
        await release.acquire()

    async def story():
        async with rig.running(rig.consumer(source, handle, concurrency=10)):
            await asyncio.sleep(1)
            release.release()
            await asyncio.sleep(0.02)
            release.release()
            await asyncio.sleep(1)
            assert [(call.at, call.more) for call in source.named("receive")] == [(0.0, 10), (1.05, 2)]
            for _ in range(8):
                release.release()

    rig.run(story)


def test_pollers_multiply_under_load_up_to_the_provider_s_bound_and_one_is_left_when_idle(rig, ids):
    source = rig.Source(*ids(800), batch=10, receives=4)
    at_once, most = 0, 0
    deliver = source.receive

    async def receive(limit):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.1)
        try:
            return await deliver(limit)
        finally:
            at_once -= 1

    source.receive = receive

    async def story():
        async with rig.running(rig.consumer(source, works(0.2), concurrency=100)):
            await asyncio.sleep(60)
            assert source.left == 0
            assert (most, at_once) == (4, 1)

    rig.run(story)


def test_a_source_that_takes_one_receive_at_a_time_gets_one_for_all_slots(rig, ids):
    source = rig.Source(*ids(100), receives=1)
    source.most = 1000

    async def story():
        async with rig.running(rig.consumer(source, works(1), concurrency=64)):
            await asyncio.sleep(0.5)
            assert source.named("receive")[0].more == 64

    rig.run(story)


@pytest.mark.parametrize(("concurrency", "bound"), [(1, 100), (10, 100), (150, 150)])
def test_unconfirmed_settlements_hold_no_slots_but_are_bounded(rig, ids, concurrency, bound):
    source = rig.Source(*ids(400), batch=10, receives=2)
    source.always["ack"] = Settled.RETRY

    async def story(consumer):
        await asyncio.sleep(30)
        assert consumer.account.received == bound + concurrency
        source.always["ack"] = Settled.DONE
        await asyncio.sleep(60)
        assert consumer.account.acked == 400

    rig.tell(story, source, ack, concurrency=concurrency)


def test_a_slot_comes_free_with_the_outcome_and_not_with_its_confirmation(rig, ids):
    source = rig.Source(*ids(3), batch=1)
    source.next("ack", 4.0, 4.0, 4.0)
    started = []

    async def handle(id):
        started.append(asyncio.get_running_loop().time())

    rig.run_for(30, source, handle, concurrency=1)

    assert max(started) - min(started) < 0.5


def test_what_a_handler_leaves_in_its_contextvars_is_not_seen_by_the_next(rig):
    tenant = ContextVar("tenant", default="nobody")
    source = rig.Source(ordered=True, batch=10)
    source.send("1", "2", "3", group="g")
    seen = []
    settle = source.ack

    async def ack(messages):
        seen.append(tenant.get())
        return await settle(messages)

    source.ack = ack

    async def handle(id):
        seen.append(tenant.get())
        tenant.set(id)

    rig.run_for(5, source, handle)

    assert seen == ["nobody"] * 6


def test_what_a_handler_leaves_in_its_contextvars_is_not_seen_by_the_receive_for_its_slot(rig, ids):
    tenant = ContextVar("tenant", default="nobody")
    source = rig.Source(*ids(5))
    receive, seen = source.receive, []

    async def noted(limit):
        seen.append(tenant.get())
        return await receive(limit)

    source.receive = noted

    async def handle(id):
        tenant.set(id)
        await asyncio.sleep(0.1)

    rig.run_for(5, source, handle, concurrency=1)

    assert len(seen) > 5
    assert set(seen) == {"nobody"}


def test_every_slot_is_free_again_after_every_kind_of_ending(rig, ids):
    """Raise, time out, nack, reject, ack lost, ack given up, lease lost before the start: no slot leaks."""
    source = rig.Source(lease=30.0, batch=2, max_delay=900)
    consumer = None

    async def handle(id):
        kind = int(id) % 5
        if kind == 0:
            raise ValueError(id)
        if kind == 1:
            await asyncio.sleep(50)
        if kind == 2:
            return False
        return None

    async def story():
        nonlocal consumer
        consumer = rig.consumer(source, handle, concurrency=4, handler_timeout=5.0)
        async with rig.running(consumer):
            for _ in range(10):
                source.next("ack", {id: Settled.LOST for id in map(str, range(1, 1000, 2))}, ValueError("no"))
                source.send(*ids(10))
                source.send(*ids(2), lease=0.001)
                source.next("extend", Settled.LOST)
                await asyncio.sleep(40)
            await asyncio.sleep(60)
            assert source.left == 0
            assert consumer.room() == 4
            words = Counter(word for _, word in rig.seen.done)
            assert set(words) == {"acked", "nacked", "ack_lost", "dropped"}

    rig.run(story)


def test_what_is_settled_is_gone_at_once_and_not_only_when_the_garbage_collector_comes(rig, ids):
    """Circles would keep every body for a while, and cost a sixth of all that a message costs."""
    source = rig.Source(*ids(100), batch=10, lease=30.0, rejects=True, max_delay=900)

    async def handle(id):
        if int(id) % 5 == 0:
            raise ValueError(id)
        if int(id) % 5 == 1:
            await asyncio.sleep(50)  # handler_timeout ends it
        return [None, False, Reject("no")][int(id) % 3]

    async def story():
        async with rig.running(rig.consumer(source, handle, concurrency=20, handler_timeout=1.0)):
            await asyncio.sleep(60)
            gc.collect()

            gc.set_debug(gc.DEBUG_SAVEALL)
            source.send(*ids(100))
            await asyncio.sleep(60)
            gc.collect()
        assert Counter(word for _, word in rig.seen.done) == {"acked": 40, "nacked": 120, "rejected": 40}

    try:
        rig.run(story)
        left = Counter(map(type, gc.garbage))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert {Delivery, Current, Message, asyncio.Task}.isdisjoint(left), left


def test_a_breaker_pauses_receiving_probes_one_at_a_time_and_closes(rig, ids):
    source = rig.Source(*ids(100), batch=10, max_delay=900)
    is_down = True

    async def handle(id):
        await asyncio.sleep(0.01)
        if is_down:
            raise ConnectionError("down")

    async def story(consumer):
        nonlocal is_down
        await asyncio.sleep(60)
        # All ten of the first answer fail at once; that counts as one opening, not as failed probes.
        receives = [(round(call.at), call.more) for call in source.named("receive")]
        assert receives == [(0, 10), (5, 1), (15, 1), (35, 1)]
        is_down = False
        await asyncio.sleep(30)
        assert source.left == 0
        assert consumer.account.nacked == 13
        assert consumer.account.acked == 87

    rig.tell(story, source, handle, concurrency=10, breaker=Breaker(failures=5, window=60))


def test_a_breaker_probes_no_second_message_while_a_probe_takes_long(rig, ids):
    source = rig.Source(*ids(100), batch=1, max_delay=900, receives=4)
    running = 0

    async def handle(id):
        nonlocal running
        running += 1
        assert running == 1 or rig.consumers[0].account.received <= 10
        await asyncio.sleep(20)
        running -= 1
        raise ConnectionError("down")

    async def story(consumer):
        await asyncio.sleep(200)
        assert 12 <= consumer.account.received <= 15
        assert running <= 1

    rig.tell(story, source, handle, concurrency=10, breaker=Breaker(failures=5, window=60))


def test_a_breaker_probes_although_failed_messages_are_parked_here(rig, ids):
    """A source that keeps no delays: what failed waits in our hands for its delay, and must not keep the probe away."""
    source = rig.Source(*ids(30), batch=10, max_delay=0.0)
    is_down = True

    async def handle(id):
        if is_down:
            raise Unavailable("down")

    async def story(consumer):
        nonlocal is_down
        await asyncio.sleep(3)
        assert consumer.account.received == 10
        is_down = False
        await asyncio.sleep(10)
        assert consumer.account.acked == 20

    rig.tell(
        story, source, handle, concurrency=10, breaker=Breaker(failures=3, window=60), retry=Retry(base=600, cap=600)
    )


def test_the_snapshot_says_what_is_in_work(rig, ids):
    source = rig.Source(*ids(3), batch=10)

    async def story():
        consumer = rig.consumer(source, works(25))
        async with rig.running(consumer, sample_interval=10.0) as dispatcher:
            await asyncio.sleep(11)
            orders = rig.seen.samples[0]["routes"]["orders"]
            assert (orders["state"], orders["in_work"]) == ("running", 3)
            assert orders["last_progress_age"] is None
            assert orders["last_receive_age"] == pytest.approx(10)
            assert orders["account"]["received"] == 3
            assert dispatcher.threads_running == 0
            await asyncio.sleep(20)
            orders = dispatcher.watchdog.snapshot()["routes"]["orders"]
            assert orders["last_progress_age"] == pytest.approx(6)
            assert orders["in_work"] == 0

    rig.run(story)
    assert rig.seen.batches[:2] == [3, 0]


def test_a_blocked_loop_is_said(rig, ids, caplog):
    source = rig.Source(*ids(1))

    async def handle(id):
        # What a blocking call looks like from outside: the clock goes on, the loop does not.
        asyncio.get_running_loop()._leaping.now += 5.5

    async def story():
        async with rig.running(rig.consumer(source, handle), sample_interval=10.0) as dispatcher:
            await asyncio.sleep(30)
            assert [sample["loop_lag"] for sample in rig.seen.samples] == [pytest.approx(4.5), pytest.approx(0)]
            assert dispatcher.watchdog.snapshot()["loop_lag"] < 0.1

    rig.run(story)
    assert caplog.text.count("the event loop was blocked") == 1
    assert "blocked for 4.5 s: does an async handler call blocking code?" in caplog.text
