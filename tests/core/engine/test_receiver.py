"""Trouble with receiving: back off by its kind, never spin, come back within a step, and say so."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest
from route_rig import ack, works

from loafer_core import CredentialError, SourceConfigError, Throttled, Unavailable
from loafer_core.engine.receiver import back_off


@pytest.mark.parametrize(
    ("error", "base", "cap"),
    [
        (Throttled("slower"), 1.0, 30.0),
        (Unavailable("down"), 0.25, 20.0),
        (RuntimeError("odd"), 0.25, 20.0),
        (CredentialError("who"), 1.0, 60.0),
        (SourceConfigError("where"), 1.0, 60.0),
    ],
)
def test_t40_back_off_doubles_up_to_its_cap_and_is_spread_over_the_whole_step(error, base, cap):
    rng = random.Random(7)
    for failures in (1, 2, 3, 5, 10, 100_000):
        span = min(cap, base * 2 ** min(failures - 1, 20))
        delays = [back_off(error, failures, rng) for _ in range(300)]
        assert span / 10 <= min(delays) < span * 0.2
        assert span * 0.9 < max(delays) <= span


def test_a_receive_that_always_fails_is_tried_ever_more_rarely_and_recovers_within_a_step(rig, ids):
    source = rig.Source(batch=10, receives=4)
    source.always["receive"] = lambda: Unavailable("down")

    async def story(consumer):
        await asyncio.sleep(60)
        assert 5 <= len(source.named("receive")) <= 20
        await asyncio.sleep(600)
        before = len(source.named("receive"))
        await asyncio.sleep(600)
        assert 30 <= len(source.named("receive")) - before <= 300
        source.always.clear()
        source.send(*ids(5))
        await asyncio.sleep(20.1)
        assert consumer.account.acked == 5

    rig.tell(story, source, ack, concurrency=100)
    assert ("Unavailable", pytest.approx(10, abs=10)) in rig.seen.errors


@pytest.mark.parametrize("nonsense", [None, "text", (1, 2)], ids=str)
def test_an_answer_that_is_no_list_of_messages_is_trouble_like_any_other(rig, caplog, nonsense):
    source = rig.Source(batch=10)

    async def receive(limit):
        return nonsense

    source.receive = receive

    rig.run_for(60, source, ack)

    assert 5 <= len(rig.seen.errors) <= 30
    assert "TypeError: receive() returned" in caplog.text


def test_an_unknown_exception_is_logged_with_its_traceback_and_survived(rig, ids, caplog):
    source = rig.Source(*ids(1))
    source.next("receive", ZeroDivisionError("a plugin's bug"), Unavailable("expected"))

    account = rig.run_for(5, source, ack)

    assert account.acked == 1
    odd, expected = (record for record in caplog.records if "receive failed" in record.getMessage())
    assert odd.exc_info is not None
    assert expected.exc_info is None
    assert "orders: receiving again" in caplog.text


def test_a_provider_s_own_cancelled_error_is_trouble_and_no_reason_to_spin(rig, ids):
    source = rig.Source(*ids(1))
    source.next("receive", *(asyncio.CancelledError() for _ in range(5)))

    async def story(consumer):
        await asyncio.sleep(30)
        assert consumer.account.acked == 1
        assert len(rig.seen.errors) == 5
        assert source.named("receive")[4].at > 0.3

    rig.tell(story, source, ack)


def test_t46_a_source_that_answers_empty_at_once_is_asked_five_times_a_second_at_most(rig, ids):
    source = rig.Source(*ids(300), batch=10, receives=4)
    source.most = 1
    source.always["receive"] = None
    deliver, turn = source.receive, 0

    async def receive(limit):
        nonlocal turn
        turn += 1
        return [] if turn % 2 else await deliver(limit)

    source.receive = receive
    empty = []

    async def handle(id):
        await asyncio.sleep(0.01)  # slots come free all the time, which is no reason to ask sooner

    async def story(consumer):
        await asyncio.sleep(20)
        empty.extend(count for count in rig.seen.batches if count == 0)
        assert consumer.account.acked > 50

    rig.tell(story, source, handle, concurrency=10)
    assert 90 <= len(empty) <= 100


def test_throttling_is_no_error_until_the_fifth_in_a_row(rig, caplog):
    source = rig.Source()
    source.next("receive", *(Throttled("slower") for _ in range(6)))

    rig.run_for(100, source, ack)

    levels = [record.levelno for record in caplog.records if "receive failed" in record.getMessage()]
    assert levels == [logging.INFO] * 4 + [logging.ERROR] * 2


def test_three_refused_credentials_in_a_row_reopen_the_provider(rig, ids):
    source = rig.Source(*ids(1))
    source.next("receive", *(CredentialError("expired") for _ in range(3)))

    async def story(consumer):
        await asyncio.sleep(20)
        assert consumer.account.acked == 1
        assert [call.what for call in source.calls[:7]] == ["open", *["receive"] * 3, "close", "open", "receive"]

    rig.tell(story, source, ack)


def test_after_a_reopening_it_takes_three_refusals_again(rig, ids):
    source = rig.Source(*ids(1))
    source.next("receive", *[CredentialError("expired")] * 3, *[Unavailable("down")] * 3, CredentialError("expired"))

    async def story(consumer):
        await asyncio.sleep(60)
        assert consumer.account.acked == 1
        assert len(source.named("open")) == 2

    rig.tell(story, source, ack)


def test_two_refused_credentials_and_something_else_do_not_reopen_it(rig, ids):
    source = rig.Source(*ids(1))
    source.next("receive", CredentialError("1"), CredentialError("2"), Unavailable("3"), CredentialError("4"))

    async def story(consumer):
        await asyncio.sleep(60)
        assert consumer.account.acked == 1
        assert len(source.named("open")) == 1

    rig.tell(story, source, ack)


def test_a_reopening_that_fails_or_hangs_is_tried_until_it_works_with_back_off(rig, ids):
    """The provider is closed by then: were it not opened again, the route would be silent for good."""
    source = rig.Source(*ids(1))
    source.next("receive", *(CredentialError("expired") for _ in range(3)))
    source.next("open", None, Unavailable("not yet"), 100.0, ValueError("odd"), CredentialError("still"))
    source.next("close", 1000.0)

    async def story(consumer):
        await asyncio.sleep(300)
        assert consumer.account.acked == 1
        assert len(source.named("open")) == 6
        assert len(source.named("receive")) < 20

    rig.tell(story, source, ack)
    assert [name for name, _ in rig.seen.errors[3:]] == ["Unavailable", "Unavailable", "Unavailable", "CredentialError"]


def test_a_stop_does_not_wait_for_a_reopening(rig):
    source = rig.Source()
    source.always["receive"] = lambda: CredentialError("expired")
    source.next("open", None, 50.0)

    async def story():
        consumer = rig.consumer(source, ack)
        dispatcher = rig.dispatcher(consumer)
        await dispatcher.start()
        while len(source.named("open")) < 2:
            await asyncio.sleep(1)
        assert await rig.drain(dispatcher) < 1

    rig.run(story)


def test_a_route_in_trouble_is_degraded_until_it_receives_again(rig):
    source = rig.Source()
    source.next("receive", *(Unavailable("down") for _ in range(4)), 5.0, SourceConfigError("deleted"))

    rig.run_for(60, source, ack, max_wait=1.0)

    states = [state for _, state in rig.seen.states]
    assert states == ["opening", "running", "degraded", "running", "degraded", "running", "draining", "stopped"]


def test_trouble_of_one_poller_holds_the_others_back_too(rig, ids):
    source = rig.Source(*ids(1000), batch=10, receives=4)
    at: list[float] = []

    async def slow(limit):
        at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.05)
        if len(at) > 8:
            raise Throttled("slower")
        return await deliver(limit)

    deliver, source.receive = source.receive, slow

    rig.run_for(30, source, works(0.01), concurrency=100)

    # At most the three that were open with the first that failed, then one for each step.
    late = [time for time in at if time > at[8] + 0.1]
    assert len(at) - len(late) <= 12
    assert len(late) <= 15


def test_under_load_every_receive_asks_for_a_whole_batch_and_one_poller_waits_for_its_slots(rig, ids):
    source = rig.Source(*ids(400), batch=10, linger=0.1, receives=4)
    source.always["receive"] = lambda: asyncio.sleep(0.005)

    async def handle(id):
        await asyncio.sleep(0.03 + int(id) % 17 / 400)  # they end one by one

    async def story(consumer):
        while consumer.account.acked < 400:
            await asyncio.sleep(0.01)
            pollers = [task for task in asyncio.all_tasks() if task.get_name() == "orders/receive"]
            assert len(pollers) <= 4

    rig.tell(story, source, handle, concurrency=40)
    assert len(source.named("receive")) <= 40 + 4
