"""Ordered sources: groups side by side, one at a time within a group, and nothing after a failure."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict

import pytest
from route_rig import ack, works

from loafer_core import MemoryProvider, MemoryQueue, Reject, Retry, Settled
from loafer_core.delivery.deliveries import Deliveries


def _ordered(rig, **traits):
    return rig.Source(**{"batch": 10, "ordered": True, "max_delay": 900, **traits})


def test_groups_are_handled_side_by_side_and_each_in_its_order(rig):
    source = _ordered(rig)
    running, order, at_once = set(), defaultdict(list), 0
    for number in range(3):
        for group in "abc":
            source.send(f"{group}{number}", group=group)

    async def handle(id):
        nonlocal at_once
        assert id[0] not in running
        running.add(id[0])
        at_once = max(at_once, len(running))
        await asyncio.sleep(1)
        order[id[0]].append(id)
        running.remove(id[0])

    async def story():
        async with rig.running(rig.consumer(source, handle)):
            await asyncio.sleep(3.6)
            assert at_once == 3
            assert all(len(done) == 3 for done in order.values())

    rig.run(story)
    assert all(done == sorted(done) for done in order.values())


def test_messages_without_a_group_wait_for_nobody(rig):
    source = _ordered(rig)
    source.send("1", "2", "3")

    account = rig.run_for(11, source, works(10))

    assert account.acked == 3


def test_a_group_on_a_source_without_order_is_only_a_fact(rig):
    source = rig.Source(batch=10)
    source.send("1", "2", "3", group="tenant")

    account = rig.run_for(11, source, works(10))

    assert account.acked == 3


def test_the_next_of_a_group_waits_until_the_ack_of_the_one_before_is_confirmed(rig):
    source = _ordered(rig)
    source.send("1", "2", group="g")
    source.next("ack", 5.0, Settled.RETRY)
    started = {}

    async def handle(id):
        started[id] = asyncio.get_running_loop().time()

    rig.run_for(30, source, handle)

    assert started["2"] - started["1"] >= 5


@pytest.mark.parametrize("trouble", ["raises", "nacks", "ack lost", "ack given up", "left to its lease"])
def test_after_one_that_was_not_confirmed_the_rest_of_its_group_goes_back(rig, trouble):
    source = _ordered(rig, lease=30.0)
    source.send("1", "2", "3", "4", group="g")
    source.send("5", group="other")
    handled = []

    async def handle(id):
        handled.append(id)
        if id == "2" and trouble == "raises":
            raise ValueError
        return not (id == "2" and trouble in ("nacks", "left to its lease"))

    if trouble == "ack lost":
        source.always["ack"] = {"2": Settled.LOST}
    elif trouble == "ack given up":
        source.always["ack"] = {"2": Settled.RETRY}
        source.always["extend"] = {"2": Settled.RETRY}

    async def story(consumer):
        await asyncio.sleep(60)
        assert (consumer.account.acked, consumer.account.released) == (2, 2)
        assert consumer.room() == 10

    rig.tell(story, source, handle, retry="leave" if trouble == "left to its lease" else Retry())
    assert sorted(handled) == ["1", "2", "5"]
    assert sorted(source.ids("release")) == ["3", "4"]


def test_after_a_reject_that_was_recorded_the_group_goes_on(rig):
    source = _ordered(rig, rejects=True)
    source.send("1", "2", group="g")

    async def handle(id):
        return Reject("bad") if id == "1" else None

    account = rig.run_for(5, source, handle)

    assert (account.rejected, account.acked) == (1, 1)


def test_a_known_message_takes_its_place_in_the_order(rig):
    """Its ack was lost: it comes again with its siblings, which wait until this time it is confirmed."""
    source = _ordered(rig, stable_ids=True)
    source.send("1", group="g")
    source.next("ack", Settled.LOST, 3.0)
    handled = []

    async def handle(id):
        handled.append((id, len(source.ids("ack"))))

    async def story(consumer):
        await asyncio.sleep(1)
        source.send("1", "2", group="g")
        await asyncio.sleep(1)
        assert handled == [("1", 0)]
        await asyncio.sleep(5)
        assert handled == [("1", 0), ("2", 2)]
        assert consumer.account.known == 1

    rig.tell(story, source, handle)


def test_siblings_that_wait_hold_slots(rig, ids):
    source = _ordered(rig)
    source.send(*ids(10), group="g")
    source.send(*ids(5))

    async def story():
        async with rig.running(rig.consumer(source, works(10), concurrency=10)):
            await asyncio.sleep(9)
            assert [call.more for call in source.named("receive")] == [10]
            await asyncio.sleep(100)

    rig.run(story)


def test_a_delivery_that_a_stray_cancel_hits_unstarted_goes_back_with_those_behind_it(rig, monkeypatch):
    source = _ordered(rig)
    source.send("1", "2", group="g")
    source.send("3")

    accept = Deliveries.accept

    def accept_and_cancel(deliveries, messages):
        accept(deliveries, messages)
        for task in asyncio.all_tasks():
            if task.get_name() in ("orders/1", "orders/3"):
                task.cancel()

    monkeypatch.setattr(Deliveries, "accept", accept_and_cancel)

    async def story(consumer):
        await asyncio.sleep(5)
        assert consumer.account.released == 3
        assert consumer.room() == 10

    rig.tell(story, source, ack)


def test_acks_within_a_group_do_not_linger(rig, ids):
    source = _ordered(rig, linger=0.5)
    source.send(*ids(10), group="g")

    account = rig.run_for(1.1, source, works(0.1))

    assert account.acked == 10


@pytest.mark.parametrize("seed", range(5))
def test_order_holds_over_failures_and_redeliveries(rig, seed):
    rng = random.Random(seed)
    queue = MemoryQueue(ordered=True, lease=30.0)
    bodies = [f"{group}{number:02}" for number in range(12) for group in "abcde"]
    first_success, running = defaultdict(list), set()
    by_id = {}

    async def handle(id):
        body = by_id[id]
        assert body[0] not in running
        running.add(body[0])
        try:
            await asyncio.sleep(rng.uniform(0, 3))
            if rng.random() < 0.2:
                raise ConnectionError
            first_success[body[0]].append(body)
        finally:
            running.remove(body[0])

    async def story():
        for body in bodies:
            by_id[queue.send(body, group=body[0])] = body
        provider = MemoryProvider(queue=queue)
        provider.fail_next("ack", Settled.LOST, times=2)
        provider.fail_next("ack", RuntimeError("lost answer"), times=2, after=True)
        consumer = rig.consumer(provider, handle, concurrency=8, retry=Retry(base=2, cap=5))
        async with rig.running(consumer) as dispatcher:
            await dispatcher.wait_until_empty()
            assert queue.messages() == []
            assert consumer.emptiness.unfinished == set()

    rig.run(story)
    for group in "abcde":
        assert first_success[group] == [body for body in bodies if body[0] == group]
