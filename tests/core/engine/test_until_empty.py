"""Until empty: an empty receive counts only when nothing of ours can come back any more."""

from __future__ import annotations

import asyncio

import pytest
from route_rig import ack, works

from loafer_core import ConfigError, MemoryProvider, MemoryQueue, Nack, Reject, Retry, RouteFailed, Settled, Unavailable
from loafer_core.delivery.deliveries import Deliveries


def _ends(rig, *consumers, **options):
    """Run until empty; gives the moment, in seconds since the start."""
    took = []

    async def story():
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with rig.running(*[consumer() for consumer in consumers], **options) as dispatcher:
            await dispatcher.wait_until_empty()
            took.append(loop.time() - begin)

    rig.run(story)
    return took[0]


def test_an_empty_source_is_empty_after_one_receive(rig):
    assert _ends(rig, lambda: rig.consumer(rig.Source(), ack, max_wait=1.0)) == 1.0


def test_it_ends_after_an_empty_receive_that_began_two_seconds_after_the_last_settlement(rig, ids):
    source = rig.Source(*ids(3), batch=10)

    async def handle(id):
        await asyncio.sleep(int(id))

    took = _ends(rig, lambda: rig.consumer(source, handle, max_wait=1.0))
    last = max(call.at for call in source.named("ack"))
    began = max(call.at for call in source.named("receive") if call.at + 1 <= took)
    assert last == 3
    assert last + 2 <= began <= last + 3
    assert took == pytest.approx(began + 1)


def test_it_does_not_end_while_something_is_in_work(rig):
    source = rig.Source("1", batch=10)

    assert 502 <= _ends(rig, lambda: rig.consumer(source, works(500), max_wait=1.0)) < 505


@pytest.mark.parametrize("max_delay", [900.0, 60.0, 0.0])
def test_it_waits_for_the_delays_of_nacked_messages(rig, max_delay):
    source = rig.Source("1", batch=10, max_delay=max_delay)
    loop_time, second = [], []

    async def handle(id):
        now = asyncio.get_running_loop().time()
        if not loop_time:
            loop_time.append(now)
            # What the source does: it comes again, at the last moment of its delay.
            asyncio.get_running_loop().call_later(100.9, source.send, "1")
            return Nack(delay=100.0)
        second.append(now)
        return True

    assert 103 <= _ends(rig, lambda: rig.consumer(source, handle, max_wait=1.0)) < 107
    assert len(second) == 1


@pytest.mark.parametrize("how", ["leave", "ack given up", "nack given up"])
def test_it_waits_for_leases_that_were_left_to_end(rig, how):
    source = rig.Source("1", batch=10, lease=60.0, max_delay=900)
    if how != "leave":
        source.always["ack"] = source.always["nack"] = source.always["extend"] = lambda: Unavailable("down")
    runs = []

    async def handle(id):
        runs.append(id)
        if len(runs) == 1:
            asyncio.get_running_loop().call_later(59.5, source.always.update, {"extend": Settled.LOST})
            asyncio.get_running_loop().call_later(61.5, source.always.clear)
            asyncio.get_running_loop().call_later(61.5, source.send, "1")
        return how == "ack given up" or len(runs) == 2

    consumers = []

    def consumer():
        consumers.append(rig.consumer(source, handle, max_wait=1.0, retry="leave" if how == "leave" else Retry()))
        return consumers[0]

    took = _ends(rig, consumer)
    assert 62 < took < 70
    assert len(runs) == 2
    assert consumers[0].emptiness.unfinished == set()


def test_the_exit_goes_by_the_last_outcome_of_every_id(rig):
    source = rig.Source("good", "bad", "rejected", "lost", batch=10, max_delay=900, rejects=True)
    source.next("ack", {"lost": Settled.LOST})
    source.always["ack"] = {"lost": Settled.LOST}

    async def handle(id):
        return {"bad": Nack(delay=5.0), "rejected": Reject("x")}.get(id, True)

    consumers = []

    def consumer():
        consumers.append(rig.consumer(source, handle, max_wait=1.0))
        return consumers[0]

    _ends(rig, consumer)
    assert consumers[0].emptiness.unfinished == {"bad", "lost"}


def test_it_ends_when_every_route_is_empty_at_once(rig, ids):
    """The forwarder's route is empty first, then its target's; what is forwarded late wakes the target again."""
    first, second = rig.Source(*ids(3), batch=10), rig.Source(batch=10)

    async def forward(id):
        await asyncio.sleep(int(id) * 3)
        second.send(f"forwarded {id}")

    consumers = []

    def forwarder():
        return rig.consumer(first, forward, name="first", max_wait=1.0)

    async def slow(id):
        await asyncio.sleep(20)

    def target():
        consumers.append(rig.consumer(second, slow, name="second", max_wait=1.0))
        return consumers[0]

    assert _ends(rig, forwarder, target) > 9 + 20 + 2
    assert consumers[0].account.acked == 3


def test_samples_that_are_published_after_the_start_are_waited_for(rig):
    source = rig.Source(batch=10)

    async def story():
        consumer = rig.consumer(source, ack, max_wait=1.0)
        async with rig.running(consumer) as dispatcher:
            await asyncio.sleep(2)
            assert consumer.emptiness.is_empty
            await consumer.publish(["a", "b"])
            assert not consumer.emptiness.is_empty
            await dispatcher.wait_until_empty()
            assert consumer.account.acked == 2

    rig.run(story)


def test_a_provider_that_cannot_publish_takes_no_samples(rig):
    async def story():
        class Bare:
            traits = rig.Source().traits

        consumer = rig.consumer(Bare(), ack, audited=False)
        with pytest.raises(ConfigError, match=r"routes\.orders\.provider: it cannot publish"):
            await consumer.publish(["a"])

    rig.run(story)


def test_a_route_that_ends_by_itself_ends_the_waiting(rig, monkeypatch):
    source = rig.Source("1")
    monkeypatch.setattr(Deliveries, "accept", lambda deliveries, messages: 1 / 0)

    async def story():
        consumer = rig.consumer(source, ack)
        async with rig.running(consumer) as dispatcher:
            with pytest.raises(RouteFailed):
                await dispatcher.wait_until_empty()

    rig.run(story)


def test_a_route_whose_source_is_away_is_waited_for(rig, ids):
    source = rig.Source(*ids(2), batch=10)
    source.next("open", *[Unavailable("down")] * 4)
    consumers = []

    def consumer():
        consumers.append(rig.consumer(source, ack, max_wait=1.0))
        return consumers[0]

    _ends(rig, consumer, rig_lane_that_is_empty(rig))
    assert consumers[0].account.acked == 2


def rig_lane_that_is_empty(rig):
    return lambda: rig.consumer(rig.Source(), ack, name="other", max_wait=1.0)


def test_a_memory_queue_with_failures_ends_empty_or_dead_lettered(rig):
    dead = MemoryQueue()
    queue = MemoryQueue(lease=20.0, max_receives=3, dead_letter=dead)
    consumers, runs = [], []

    async def handle(id):
        runs.append(id)
        if id in bad:
            raise ValueError("poison")

    def consumer():
        nonlocal bad
        sent = [queue.send(str(number)) for number in range(30)]
        bad = set(sent[::10])
        consumers.append(rig.consumer(MemoryProvider(queue=queue), handle, max_wait=1.0))
        return consumers[0]

    bad: set[str] = set()
    _ends(rig, consumer)
    assert queue.messages() == []
    assert len(dead.messages()) == 3
    assert consumers[0].emptiness.unfinished == bad
    assert len(runs) == 27 + 3 * 3
