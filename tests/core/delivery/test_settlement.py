"""From outcome to settlement and account: delays by policy, rejects with and without a target, what is left alone."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from route_rig import gives

from loafer_core import Ack, DeleteMessage, Nack, Reject, Retry, Settle
from loafer_core.delivery import emptiness


@pytest.mark.parametrize(
    ("outcome", "verb", "word"),
    [
        (None, "ack", "acked"),
        (True, "ack", "acked"),
        (Ack(), "ack", "acked"),
        (DeleteMessage(), "ack", "acked"),
        ("odd", "ack", "acked"),
        (False, "nack", "nacked"),
        (Nack(), "nack", "nacked"),
        (ValueError(), "nack", "nacked"),
        (SystemExit(3), "nack", "nacked"),
        (Reject("bad"), "reject", "rejected"),
        (Settle(Reject("bad")), "reject", "rejected"),
    ],
    ids=repr,
)
def test_every_outcome_becomes_its_settlement(rig, outcome, verb, word):
    source = rig.Source("1", batch=1, max_delay=900, rejects=True)

    async def story(consumer):
        await asyncio.sleep(5)
        assert consumer.emptiness.unfinished == (set() if word != "nacked" else {"1"})

    rig.tell(story, source, gives(outcome))
    assert [call.what for call in source.calls if call.ids] == [verb]
    assert rig.seen.done == [("1", word)]


@pytest.mark.parametrize(
    ("traits", "retry", "receive_count", "longest"),
    [
        ({}, Retry(), 1, 30),
        ({}, Retry(), 2, 60),
        ({}, Retry(), 6, 900),
        ({}, Retry(), 5000, 900),
        ({}, Retry(), None, 30),
        ({"lease": 120.0}, Retry(), 1, 120),
        ({"lease": 120.0, "ordered": True}, Retry(), 4, 120),
        ({}, Retry(base=2, cap=5), 1, 2),
        ({}, Retry(base=2, cap=5), 3, 5),
    ],
    ids=str,
)
def test_a_nack_hides_the_message_between_half_and_the_whole_of_what_the_policy_says(
    rig, ids, traits, retry, receive_count, longest
):
    source = rig.Source(batch=10, max_delay=43_200, **traits)
    source.send(*ids(200), receive_count=receive_count)

    rig.run_for(5, source, gives(False), retry=retry)

    delays = [delay for call in source.named("nack") for delay in call.more.values()]
    assert len(delays) == 200
    assert longest / 2 <= min(delays) < longest * 0.55
    assert longest * 0.95 < max(delays) <= longest


@pytest.mark.parametrize("retry", [Retry(), "leave"])
def test_a_handler_s_own_delay_is_taken_as_it_is(rig, retry):
    source = rig.Source("1", batch=1, max_delay=900)

    rig.run_for(5, source, gives(Nack(7.0)), retry=retry)

    assert source.named("nack")[0].more == {"1": 7.0}


def test_with_retry_leave_nothing_is_sent_and_the_lease_runs_out(rig):
    source = rig.Source("1", batch=1, lease=30.0, max_delay=900)

    async def story(consumer):
        await asyncio.sleep(60)
        assert consumer.account.nacked == 1
        assert consumer.room() == 10

    rig.tell(story, source, gives(False), retry="leave")
    assert [call for call in source.calls if call.ids] == []


@pytest.mark.parametrize(
    ("traits", "retry", "delay"),
    [
        ({}, Retry(), 900),
        ({}, Retry(cap=60), 60),
        ({}, "leave", 900),
        ({"lease": 45.0, "ordered": True}, Retry(), 45),
    ],
    ids=str,
)
def test_a_reject_without_a_target_is_a_nack_at_the_cap_and_an_error(rig, caplog, traits, retry, delay):
    source = rig.Source("1", batch=1, max_delay=900, **traits)

    rig.run_for(5, source, gives(Reject("bad")), retry=retry)

    assert source.named("nack")[0].more == {"1": delay}
    assert rig.seen.done == [("1", "nacked")]
    assert [record.levelname for record in caplog.records if "no dead-letter target" in record.getMessage()] == [
        "ERROR"
    ]


def test_what_the_source_forgets_without_success_is_said_by_its_id_alone(rig, caplog):
    source = rig.Source("1", batch=1, rejects=True)

    rig.run_for(5, source, gives(Reject("card 4111-1111 is not valid")))

    assert ("INFO", "orders: message 1 is rejected: dead-lettered, not to come again") in [
        (record.levelname, record.getMessage()) for record in caplog.records
    ]
    assert "4111-1111" not in caplog.text


def test_error_handlers_decide_what_becomes_of_a_failure(rig):
    source = rig.Source("1", "2", "3", "4", batch=1, max_delay=900, rejects=True)
    decisions = {"1": True, "2": False, "3": Reject("poison"), "4": None}

    async def handle(id):
        raise ValueError(id)

    async def decide(failure):
        return decisions[failure.message.id]

    rig.run_for(5, source, handle, error_handlers=[decide])

    assert dict(rig.seen.done) == {"1": "acked", "2": "nacked", "3": "rejected", "4": "nacked"}


def test_the_account_counts_deliveries_and_the_unfinished_ids_go_by_the_last_outcome(rig):
    source = rig.Source("1", "2", "3", batch=1, max_delay=900)
    fail = {"1", "2"}

    async def handle(id):
        return id not in fail

    async def story(consumer):
        await asyncio.sleep(1)
        assert consumer.emptiness.unfinished == {"1", "2"}
        fail.clear()
        source.send("1", receive_count=2)
        await asyncio.sleep(1)
        assert consumer.emptiness.unfinished == {"2"}
        assert str(consumer.account) == "4 received = 2 acked + 2 nacked"

    rig.tell(story, source, handle)
    assert Counter(word for _, word in rig.seen.done) == {"acked": 2, "nacked": 2}


def test_the_unfinished_ids_are_bounded(rig, ids, monkeypatch):
    monkeypatch.setattr(emptiness, "MOST_UNFINISHED", 20)
    source = rig.Source(*ids(50), batch=10, max_delay=900)

    async def story(consumer):
        await asyncio.sleep(5)
        assert consumer.account.nacked == 50
        assert len(consumer.emptiness.unfinished) == 20

    rig.tell(story, source, gives(False))
