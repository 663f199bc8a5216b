"""Acks: batched, every answer read, asked again until the lease ends, and never turned into anything else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from route_rig import ack, gives, works

from loafer_core import Nack, Reject, Settled, Throttled, Unavailable

FAULTS = [
    Settled.RETRY,
    {"1": Settled.RETRY},
    {"1": None},
    {"1": "done"},
    Unavailable("down"),
    Throttled("slower"),
    KeyError("odd"),
    asyncio.CancelledError(),
    None,
]


def test_acks_are_sent_in_one_call_as_soon_as_a_batch_is_full(rig, ids):
    source = rig.Source(*ids(10), batch=4, linger=5.0)

    async def handle(id):
        await asyncio.sleep(100 if int(id) > 8 else int(id))

    async def story():
        async with rig.running(rig.consumer(source, handle)):
            await asyncio.sleep(10)
            assert [(call.at, len(call.ids)) for call in source.named("ack")] == [(4.0, 4), (8.0, 4)]
            await asyncio.sleep(100)

    rig.run(story)


def test_what_piles_up_while_calls_are_under_way_is_sent_in_whole_batches_and_the_rest_may_be_joined(rig, ids):
    """A request with six entries costs as much as one with ten."""
    source = rig.Source("slow", *ids(69), batch=10, linger=0.1)
    source.most = 100
    source.next("ack", 0.05, 0.05, 0.05, 0.05)

    async def handle(id):
        # Four tens, one after the other, keep four calls busy. Were nothing running, everything would be sent at once.
        await asyncio.sleep({"slow": 5, "69": 0.1}.get(id) or min((int(id) - 1) // 10, 4) / 1000)

    async def story():
        consumer = rig.consumer(source, handle, concurrency=100)
        rig.audits[0].prompt = False
        async with rig.running(consumer):
            await asyncio.sleep(10)
            assert consumer.account.acked == 70

    rig.run(story)
    assert [(call.at, len(call.ids)) for call in source.named("ack")] == [
        *[(pytest.approx(at), 10) for at in (0, 0.001, 0.002, 0.003)],
        (pytest.approx(0.05), 20),
        (pytest.approx(0.15), 9),
        (pytest.approx(5), 1),
    ]


@pytest.mark.parametrize(("receives", "calls"), [(1, 4), (6, 6)])
def test_as_many_acks_as_receives_are_under_way_at_once_so_that_those_do_not_outrun_them(rig, ids, receives, calls):
    source = rig.Source("slow", *ids(69), batch=10, linger=0.1, receives=receives)
    source.most = 100
    source.next("ack", *[1.0] * 7)

    async def handle(id):
        await asyncio.sleep(5 if id == "slow" else (int(id) - 1) // 10 / 1000)

    async def story():
        consumer = rig.consumer(source, handle, concurrency=100)
        rig.audits[0].prompt = False
        async with rig.running(consumer):
            await asyncio.sleep(0.5)
            assert [len(call.ids) for call in source.named("ack")] == [10] * calls
            await asyncio.sleep(10)
            assert consumer.account.acked == 70

    rig.run(story)


def test_acks_linger_for_others_while_something_runs_that_could_add_to_the_batch(rig, ids):
    source = rig.Source(*ids(3), batch=10, linger=0.5)

    async def handle(id):
        await asyncio.sleep({"1": 1.0, "2": 1.2, "3": 60.0}[id])

    rig.run_for(61, source, handle)

    assert [(call.at, call.ids) for call in source.named("ack")] == [(1.5, ("1", "2")), (60.0, ("3",))]


def test_acks_are_sent_at_once_when_nothing_runs_that_could_add_to_them(rig):
    source = rig.Source("1", "2", batch=10, linger=5.0)

    rig.run_for(1, source, ack)

    assert [(call.at, len(call.ids)) for call in source.named("ack")] == [(0.0, 2)]


def test_an_ack_does_not_linger_beyond_the_end_of_its_lease(rig):
    source = rig.Source(batch=10, linger=5.0)
    source.send("1", lease=8.0)
    source.send("2")

    async def handle(id):
        await asyncio.sleep(3 if id == "1" else 60)

    rig.run_for(61, source, handle)

    assert [call.at for call in source.named("ack")] == [3.0, 60.0]


def test_a_provider_without_batches_gets_its_acks_without_delay(rig, ids):
    source = rig.Source(*ids(3))

    async def handle(id):
        await asyncio.sleep(int(id))

    rig.run_for(5, source, handle)

    assert [(call.at, call.ids) for call in source.named("ack")] == [(1.0, ("1",)), (2.0, ("2",)), (3.0, ("3",))]


def test_what_comes_while_four_calls_hang_is_collected_for_the_next(rig, ids):
    source = rig.Source(*ids(20), batch=1)
    source.next("ack", 10.0, 10.0, 10.0, 10.0)

    async def handle(id):
        await asyncio.sleep(int(id) / 10)

    rig.run_for(30, source, handle, concurrency=20)

    assert [len(call.ids) for call in source.named("ack")] == [1, 1, 1, 1, 16]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_an_ack_that_was_not_confirmed_is_asked_again_until_it_is(rig, fault):
    source = rig.Source("1", "2", batch=10, lease=30.0)
    source.next("ack", *[[] if fault is None else fault] * 4)
    asked = []

    async def story():
        consumer = rig.consumer(source, ack, error_handlers=[lambda failure: asked.append(failure)])
        rig.audits[0].trusting = False
        async with rig.running(consumer):
            await asyncio.sleep(20)
            assert consumer.account.acked == 2

    rig.run(story)
    assert len([id for id in source.ids("ack") if id == "1"]) == 5
    assert asked == source.ids("nack") == source.ids("release") == []


def test_only_what_was_not_confirmed_is_asked_again(rig):
    source = rig.Source("1", "2", "3", "4", batch=10, lease=30.0)
    source.next("ack", {"1": Settled.RETRY, "2": None, "3": Settled.LOST})

    account = rig.run_for(20, source, ack)

    assert (account.acked, account.ack_lost) == (3, 1)
    assert [sorted(call.ids) for call in source.named("ack")] == [["1", "2", "3", "4"], ["1", "2"]]


def test_tries_come_ever_more_rarely_and_what_failed_together_is_tried_together(rig, ids):
    source = rig.Source(*ids(10), batch=10, lease=30.0)
    source.always["ack"] = Settled.RETRY

    async def story():
        async with rig.running(rig.consumer(source, ack)):
            await asyncio.sleep(600)
            calls = source.named("ack")
            assert {len(call.ids) for call in calls} == {10}
            assert len([call for call in calls if call.at < 10]) > 4
            assert 25 <= len(calls) <= 120
            source.always["ack"] = Settled.DONE
            await asyncio.sleep(21)

    rig.run(story)


def test_while_an_ack_is_asked_again_its_lease_is_kept(rig):
    source = rig.Source("1", batch=1, lease=30.0)
    source.always["ack"] = Settled.RETRY

    async def story(consumer):
        await asyncio.sleep(300)
        assert 20 <= len(source.named("extend")) <= 45
        source.always.clear()
        await asyncio.sleep(30)
        assert consumer.account.acked == 1

    rig.tell(story, source, ack)


def test_an_ack_is_given_up_when_the_lease_ends_and_is_no_failure_of_the_handler(rig):
    source = rig.Source("1", batch=1, lease=30.0)
    source.always["ack"] = source.always["extend"] = lambda: Unavailable("down")

    async def story(consumer):
        await asyncio.sleep(60)
        assert consumer.account.ack_lost == 1
        assert consumer.in_work == 0
        assert consumer.emptiness.unfinished == {"1"}
        assert source.named("ack")[-1].at <= 60

    rig.tell(story, source, ack)
    assert source.ids("nack") == source.ids("release") == []


def test_an_ack_of_a_message_whose_lease_was_lost_is_sent_once_and_counts_as_lost(rig):
    source = rig.Source("1", batch=1, lease=30.0)
    source.next("extend", Settled.LOST)
    source.next("ack", Settled.DONE)

    account = rig.run_for(60, source, works(20))

    assert account.ack_lost == 1
    assert source.ids("ack") == ["1"]


def test_a_call_that_hangs_is_ended_while_there_is_lease_left_for_another(rig):
    source = rig.Source("1", batch=1, lease=30.0)
    source.next("ack", 1e9)

    async def story(consumer):
        await asyncio.sleep(12)
        assert consumer.account.acked == 1
        assert 10 <= source.named("ack")[1].at <= 11

    rig.tell(story, source, ack)


def test_a_call_that_hangs_is_ended_after_a_minute_where_there_is_no_lease(rig):
    source = rig.Source("1", batch=1)
    source.next("ack", 1e9)

    async def story():
        async with rig.running(rig.consumer(source, ack)):
            await asyncio.sleep(62)
            assert 60 <= source.named("ack")[1].at <= 61

    rig.run(story)


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_a_nack_that_was_not_recorded_is_asked_again_but_its_lease_is_not_kept_for_that(rig, fault):
    source = rig.Source("1", batch=1, lease=30.0, max_delay=900)
    source.always["nack"] = [] if fault is None else (lambda: fault)

    async def story(consumer):
        await asyncio.sleep(60)
        assert consumer.account.nacked == 1
        assert consumer.in_work == 0

    rig.tell(story, source, gives(False))
    assert 4 <= len(source.named("nack")) <= 12
    assert source.named("nack")[-1].at < 30
    assert source.named("extend") == source.named("ack") == []


def test_a_lost_nack_is_final(rig):
    source = rig.Source("1", batch=1, lease=30.0, max_delay=900)
    source.next("nack", Settled.LOST)

    account = rig.run_for(60, source, gives(False))

    assert account.nacked == 1
    assert len(source.named("nack")) == 1


def test_a_nack_whose_lease_has_ended_is_not_sent(rig):
    """The end of the lease did its work, and the message may be somebody else's by now."""
    source = rig.Source(batch=1)
    source.send("1", lease=5.0)

    async def handle(id):
        await asyncio.sleep(10)
        return False

    account = rig.run_for(20, source, handle)

    assert account.nacked == 1
    assert source.named("nack") == []


def test_a_nack_whose_lease_ends_while_its_call_waits_for_an_extend_is_not_sent(rig):
    source = rig.Source("1", batch=1, lease=6.0, max_delay=900)
    source.always["extend"] = 1e9

    async def handle(id):
        await asyncio.sleep(5.9)
        return False

    account = rig.run_for(20, source, handle)

    assert account.nacked == 1
    assert source.named("nack") == []


def test_an_extend_that_hangs_holds_up_the_settlements_of_its_own_messages_and_of_no_other(rig, ids):
    slow = ids(5)
    source = rig.Source(*slow, batch=10, lease=30.0, linger=0.1)
    source.always["extend"] = 1e9  # hangs

    async def handle(id):
        await asyncio.sleep(0 if id == "free" else 12 + int(id) / 2)

    async def story():
        consumer = rig.consumer(source, handle, concurrency=10)
        rig.audits[0].prompt = False
        async with rig.running(consumer):
            await asyncio.sleep(15)  # the beat was at ten seconds, or a little before or after; all have ended
            assert set(source.ids("extend")) == {*slow}
            source.send("free")
            await asyncio.sleep(0.2)
            assert source.ids("ack") == ["free"]
            await asyncio.sleep(10)  # the extends are given up
            assert [call.ids for call in source.named("ack")] == [("free",), tuple(slow)]

    rig.run(story)


@pytest.mark.parametrize(("asked", "kept"), [(100.0, 30.0), (100.0, 0.0), (20.0, 30.0)])
def test_a_delay_beyond_what_the_source_keeps_is_waited_for_here(rig, asked, kept):
    source = rig.Source("1", batch=1, lease=30.0, max_delay=kept)

    async def handle(id):
        return Nack(delay=asked)

    async def story(consumer):
        await asyncio.sleep(150)
        parked = max(0.0, asked - kept)
        assert [(call.at, call.more) for call in source.named("nack")] == [(parked, {"1": min(asked, kept)})]
        assert len(source.named("extend")) == pytest.approx(parked / 10, abs=1)
        assert len(source.named("receive")) > 1  # and holds no slot meanwhile

    rig.tell(story, source, handle, concurrency=1)


def test_rejects_go_with_their_reasons_and_one_that_fails_holds_no_other_back(rig):
    source = rig.Source("1", "2", "3", "4", batch=10, lease=30.0, rejects=True)
    source.next("reject", RuntimeError("no"))

    async def handle(id):
        return Reject("odd" if int(id) % 2 else "even")

    async def story(consumer):
        await asyncio.sleep(20)
        assert consumer.account.rejected == 4
        assert consumer.emptiness.unfinished == set()

    rig.tell(story, source, handle)
    calls = source.named("reject")
    assert len(calls) == 3
    assert {call.more: {int(id) % 2 for id in call.ids} for call in calls} == {"odd": {1}, "even": {0}}


def test_an_observer_is_told_the_last_word_once(rig, ids):
    source = rig.Source(*ids(4), batch=10, lease=30.0, max_delay=900)
    source.next("ack", {"1": Settled.RETRY, "2": Settled.LOST})

    async def handle(id):
        return id != "4"

    rig.run_for(20, source, handle)

    assert sorted(rig.seen.done) == [("1", "acked"), ("2", "ack_lost"), ("3", "acked"), ("4", "nacked")]


# --- the ledger


def test_a_finished_message_that_comes_back_is_acked_with_its_newest_receipt_and_not_run_again(rig):
    source = rig.Source(stable_ids=True, batch=1, lease=30.0)
    source.send("1", receipt="first")
    source.next("ack", Settled.LOST)
    runs, receipts = [], []
    ack = source.ack

    async def noting(messages):
        receipts.extend(message.receipt for message in messages)
        return await ack(messages)

    source.ack = noting

    async def handle(id):
        runs.append(id)

    async def story(consumer):
        await asyncio.sleep(5)
        assert consumer.emptiness.unfinished == {"1"}
        source.send("1", receipt="second", receive_count=2)
        await asyncio.sleep(5)
        assert (consumer.account.ack_lost, consumer.account.acked, consumer.account.known) == (1, 1, 1)
        assert consumer.emptiness.unfinished == set()

    rig.tell(story, source, handle)
    assert (runs, receipts) == (["1"], ["first", "second"])


@pytest.mark.parametrize(("traits", "options"), [({}, {}), ({"stable_ids": True}, {"ledger": False})])
def test_without_stable_ids_or_with_the_ledger_off_it_is_run_again(rig, traits, options):
    source = rig.Source("1", "1", batch=1, **traits)
    runs = []

    async def handle(id):
        runs.append(id)

    account = rig.run_for(5, source, handle, concurrency=1, **options)

    assert account.known == 0
    assert runs == ["1", "1"]


def test_a_message_that_failed_or_was_rejected_is_run_again_when_it_comes_back(rig):
    source = rig.Source("1", "2", "1", "2", stable_ids=True, batch=1, max_delay=900, rejects=True)
    runs = []

    async def handle(id):
        runs.append(id)
        return False if id == "1" else Reject("bad")

    rig.run_for(5, source, handle, concurrency=1)

    assert runs == ["1", "2", "1", "2"]


class _Broken(Mapping):
    """Answers that cannot be read."""

    def __getitem__(self, message):
        raise RuntimeError("no answer")

    def __iter__(self):
        raise RuntimeError("no answers")

    def __len__(self):
        return 1


def test_answers_that_cannot_be_read_are_no_answers(rig, ids, caplog):
    source = rig.Source(*ids(2), lease=30.0, batch=10)
    source.next("ack", _Broken())
    source.next("extend", _Broken())

    async def story():
        consumer = rig.consumer(source, works(12.0), audited=False)
        rig.audits.clear()  # the auditor reads the answers, too
        async with rig.running(consumer):
            await asyncio.sleep(60.0)
            assert consumer.account.acked == 2

    rig.run(story)
    assert "orders: ack of 2 messages failed (RuntimeError: no answers); tried again" in caplog.text
    assert "orders: extending the lease of 2 messages failed (RuntimeError: no answers); tried again" in caplog.text
