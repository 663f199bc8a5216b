"""Leases: kept while there is work, left alone otherwise, and nothing happens behind the back of one that is lost."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from route_rig import ack, works

from loafer_core import Retry, Settled, Throttled, Unavailable, current


def test_t23_a_lease_is_extended_about_every_third_of_it_while_the_handler_runs(rig):
    source = rig.Source("1", batch=1, lease=30.0)

    account = rig.run_for(160, source, works(150))

    assert account.acked == 1
    at = [0.0] + [call.at for call in source.named("extend")]
    beats = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert 13 <= len(beats) <= 16
    assert min(beats) >= 9
    assert max(beats) <= 11
    assert len(set(beats)) > 5


def test_a_short_job_costs_no_request(rig, ids):
    source = rig.Source(*ids(100), batch=10, lease=30.0, linger=0.1)

    account = rig.run_for(120, source, works(8))

    assert account.acked == 100
    assert source.named("extend") == []


def test_leases_are_extended_in_batches(rig, ids):
    source = rig.Source(*ids(50), batch=10, lease=30.0, receives=5)

    rig.run_for(110, source, works(100), concurrency=50)

    beats = len(source.named("extend"))
    assert len(source.ids("extend")) >= 50 * 9
    assert beats < 50


def test_a_message_that_comes_with_little_lease_left_is_extended_before_its_handler_starts(rig):
    source = rig.Source(batch=1, lease=30.0)
    source.send("1", lease=2.0)
    source.next("extend", 1.0)

    async def handle(id):
        assert source.named("extend")
        await asyncio.sleep(25)

    account = rig.run_for(40, source, handle)

    assert account.acked == 1


def test_a_lease_that_turns_out_lost_when_its_turn_comes_frees_its_slot_once(rig):
    source = rig.Source(batch=10, lease=30.0, ordered=True)
    source.send("1", "2", group="g")
    source.always["extend"] = {"2": Settled.RETRY}

    async def handle(id):
        await asyncio.sleep(28)
        source.always["extend"] = {"2": Settled.LOST}

    async def story(consumer):
        await asyncio.sleep(60)
        assert (consumer.account.acked, consumer.account.dropped) == (1, 1)
        assert consumer.room() == 10

    rig.tell(story, source, handle)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("others", [0, 1])
def test_a_lease_that_is_secured_when_its_turn_comes_is_kept_from_then_on(rig, others, seed):
    """The start guard's own extend takes long; meanwhile the heartbeat has something else to do, or nothing at all."""
    rig.seed = seed
    source = rig.Source(batch=10, lease=30.0, ordered=True)
    source.send("1", "2", group="g")
    source.always["extend"] = {"2": Settled.RETRY, "3": Settled.RETRY}

    async def handle(id):
        await asyncio.sleep(60 if id == "3" else 28)
        if id == "1":
            source.always["extend"] = 0.4

    async def story(consumer):
        await asyncio.sleep(5)
        source.send(*["3"] * others, group="h")
        await asyncio.sleep(115)
        assert consumer.account.acked == 2 + others
        assert source.named("extend")[-1].at > 40

    rig.tell(story, source, handle)


def test_a_stray_cancel_while_a_lease_is_secured_gives_the_message_back(rig):
    source = rig.Source(batch=1, lease=30.0)
    source.send("1", lease=2.0)
    source.next("extend", 1.0)

    async def story(consumer):
        await asyncio.sleep(0.5)
        next(task for task in asyncio.all_tasks() if task.get_name() == "orders/1").cancel()
        await asyncio.sleep(5)
        assert consumer.account.released == 1
        assert consumer.room() == 10

    rig.tell(story, source, ack)


@pytest.mark.parametrize("answer", [Settled.LOST, {"1": Settled.LOST}], ids=repr)
def test_a_message_whose_lease_is_lost_before_its_handler_starts_is_dropped(rig, answer):
    source = rig.Source(batch=1, lease=30.0)
    source.send("1", lease=2.0)
    source.next("extend", answer)

    async def story(consumer):
        await asyncio.sleep(10)
        assert consumer.account.dropped == 1
        assert consumer.room() == 10

    rig.tell(story, source, ack)
    assert [call.what for call in source.calls if call.ids] == ["extend"]


def test_a_lapsed_lease_that_cannot_be_extended_starts_no_handler(rig):
    source = rig.Source(batch=1, lease=30.0)
    source.send("1", lease=2.0)

    async def late():
        await asyncio.sleep(5)
        raise Unavailable("down")

    source.next("extend", late)

    account = rig.run_for(30, source, ack)

    assert account.dropped == 1
    assert source.named("ack") == []


def test_a_lapsed_lease_starts_no_handler_where_leases_cannot_be_extended_at_all(rig):
    source = rig.Source(batch=1)
    source.send("1", lease=-1.0)

    account = rig.run_for(10, source, ack)

    assert account.dropped == 1


def test_a_lease_that_cannot_be_extended_at_all_ends_and_the_handler_is_told(rig):
    source = rig.Source(batch=1)
    source.send("1", lease=20.0)
    told = []

    async def handle(id):
        await current().lease_lost.wait()
        told.append(asyncio.get_running_loop().time())

    async def story():
        consumer = rig.consumer(source, handle)
        begin = asyncio.get_running_loop().time()
        async with rig.running(consumer):
            await asyncio.sleep(60)
            assert told == [begin + 20]
            assert consumer.account.ack_lost == 1

    rig.run(story)
    assert source.ids("ack") == ["1"]


def test_the_start_guard_and_the_heartbeat_do_not_get_in_each_other_s_way(rig):
    """Both want to extend the same message at the same time: one call, and the loop is not blocked."""
    source = rig.Source(batch=1, lease=30.0)
    source.send("1", lease=2.0)
    source.send("2")
    source.always["extend"] = 5.0

    account = rig.run_for(60, source, works(30), concurrency=2)

    assert account.dropped + account.acked == 2


def test_a_message_that_waits_behind_its_siblings_keeps_its_lease(rig):
    source = rig.Source(batch=10, lease=30.0, ordered=True)
    source.send("1", "2", "3", group="g")

    account = rig.run_for(130, source, works(40))

    assert account.acked == 3
    assert source.ids("extend").count("3") >= 10


def test_a_lease_is_kept_while_an_error_handler_thinks(rig):
    source = rig.Source("1", batch=1, lease=15.0, max_delay=900)

    async def handle(id):
        raise ValueError

    async def ask(failure):
        await asyncio.sleep(25)

    account = rig.run_for(60, source, handle, error_handlers=[ask])

    assert account.nacked == 1
    assert 4 <= len(source.named("extend")) <= 5


FAULTS = [Unavailable("503"), Throttled("slower"), Settled.RETRY, {"1": None}, [], KeyError(), asyncio.CancelledError()]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
def test_t24_a_beat_that_failed_is_repeated_in_time(rig, fault):
    source = rig.Source("1", batch=1, lease=30.0)
    source.next("extend", *[fault] * 3, None, *[fault] * 3)

    account = rig.run_for(70, source, works(60))

    assert account.acked == 1
    at = [call.at for call in source.named("extend")]
    assert at[3] < 20
    assert at[1] - at[0] > 2


def test_a_beat_that_hangs_is_ended_in_time_for_another(rig):
    source = rig.Source("1", batch=1, lease=30.0)
    source.next("extend", 1e9)

    account = rig.run_for(70, source, works(60))

    assert account.acked == 1
    assert source.named("extend")[1].at < 22


def test_a_lease_that_could_not_be_kept_is_lost_and_the_handler_may_finish(rig, caplog):
    source = rig.Source("1", batch=1, lease=30.0)
    source.always["extend"] = lambda: Unavailable("down")
    told = []

    async def handle(id):
        await current().lease_lost.wait()
        told.append(asyncio.get_running_loop().time())
        await asyncio.sleep(10)

    async def story():
        consumer = rig.consumer(source, handle)
        begin = asyncio.get_running_loop().time()
        async with rig.running(consumer):
            await asyncio.sleep(60)
            assert told[0] - begin == pytest.approx(30)
            assert (consumer.account.ack_lost, consumer.account.leases_lost) == (1, 1)

    rig.run(story)
    assert "message 1 is not ours any more: its lease could not be kept" in caplog.text
    assert source.ids("ack") == ["1"]  # late, but some sources take it
    assert source.named("extend")[-1].at < 34


def test_the_end_of_a_lease_is_noticed_although_extending_it_hangs(rig):
    source = rig.Source("1", batch=1, lease=30.0, ordered=True)
    source.always["extend"] = Settled.RETRY

    async def handle(id):
        await asyncio.sleep(25)
        source.always["extend"] = 1e9
        await asyncio.sleep(1000)

    account = rig.run_for(31.1, source, handle)

    assert account.dropped == 1


@pytest.mark.parametrize("outcome", [False, ValueError("no")], ids=repr)
def test_after_its_lease_is_lost_a_message_is_neither_nacked_nor_extended(rig, outcome):
    source = rig.Source("1", batch=1, lease=30.0, max_delay=900)
    source.next("extend", Settled.LOST)

    async def handle(id):
        await asyncio.sleep(50)
        if outcome is False:
            return False
        raise outcome

    account = rig.run_for(60, source, handle)

    assert account.nacked == 1
    assert [call.what for call in source.calls if call.ids] == ["extend"]


@pytest.mark.parametrize(("ordered", "ended"), [(True, 0.9), (False, 20.0)])
def test_where_order_counts_a_handler_ends_with_its_lease_though_an_extend_is_under_way(rig, ordered, ended):
    """The next of its group may start elsewhere then. Without order nothing is won by it: the work goes on."""
    source = rig.Source(batch=1, lease=6.0, ordered=ordered)
    source.send("1", group="g", lease=0.9)
    source.always["extend"] = 1e9  # hangs
    lasted = 0.0

    async def handle(id):
        nonlocal lasted
        began = asyncio.get_running_loop().time()
        try:
            await asyncio.sleep(20)
        finally:
            lasted = asyncio.get_running_loop().time() - began

    rig.run_for(30, source, handle)

    assert lasted == pytest.approx(ended)
    assert source.named("extend")[0].at == 0


def test_on_an_ordered_source_a_lost_lease_cancels_the_handler_and_ends_the_group(rig):
    source = rig.Source(batch=10, lease=30.0, ordered=True)
    source.send("1", "2", "3", group="g")
    source.send("4", group="other")
    source.next("extend", {"1": Settled.LOST})
    cancelled = []

    async def handle(id):
        try:
            await asyncio.sleep(25)
        except asyncio.CancelledError:
            cancelled.append(id)
            raise

    async def story(consumer):
        await asyncio.sleep(60)
        assert cancelled == ["1"]
        assert (consumer.account.dropped, consumer.account.released, consumer.account.acked) == (1, 2, 1)

    rig.tell(story, source, handle)
    assert sorted(source.ids("release")) == ["2", "3"]


def test_on_an_ordered_source_a_lease_lost_while_waiting_takes_those_behind_it_along_at_once(rig):
    source = rig.Source(batch=10, lease=30.0, ordered=True)
    source.send("1", "2", "3", "4", group="g")
    source.next("extend", {"3": Settled.LOST})

    async def story(consumer):
        await asyncio.sleep(20)
        assert source.ids("release") == ["4"]
        assert consumer.account.dropped == 1
        await asyncio.sleep(60)
        assert consumer.account.acked == 2

    rig.tell(story, source, works(25))


def test_on_an_ordered_source_an_ack_is_not_tried_any_more_once_the_lease_is_lost(rig):
    source = rig.Source(batch=10, lease=30.0, ordered=True)
    source.send("1", "2", group="g")
    source.always["ack"] = Settled.RETRY
    source.next("extend", Settled.DONE, {"1": Settled.LOST})

    async def story(consumer):
        await asyncio.sleep(60)
        assert (consumer.account.ack_lost, consumer.account.released) == (1, 1)
        assert source.named("ack")[-1].at <= source.named("extend")[1].at

    rig.tell(story, source, ack)


def test_t28_no_extend_is_sent_once_settling_began_and_settling_waits_for_one_under_way(rig):
    source = rig.Source("1", "2", batch=1, lease=30.0, max_delay=900)
    source.next("extend", 5.0)
    source.next("nack", 20.0)

    async def handle(id):
        await asyncio.sleep(12 if id == "1" else 100)
        return id == "2"

    rig.run_for(120, source, handle)

    extend, nack = source.named("extend")[0], source.named("nack")[0]
    assert extend.at + 5 == pytest.approx(nack.at)
    assert source.ids("extend").count("1") == 1


def test_t29_a_message_is_held_no_longer_than_the_source_allows_in_all(rig, caplog):
    source = rig.Source("1", batch=1, lease=30.0, lease_total=100.0)
    told = []

    async def handle(id):
        await current().lease_lost.wait()
        told.append(asyncio.get_running_loop().time())

    async def story():
        begin = asyncio.get_running_loop().time()
        consumer = rig.consumer(source, handle)
        async with rig.running(consumer):
            await asyncio.sleep(200)
            assert consumer.account.ack_lost == 1
            assert 75 < told[0] - begin < 100

    rig.run(story)
    assert source.named("extend")[-1].at <= 65
    assert caplog.text.count("the source allows 100 s in all") == 1


def test_a_settlement_that_is_asked_again_does_not_begin_a_new_total(rig):
    source = rig.Source("1", batch=1, lease=30.0, lease_total=100.0)
    source.always["ack"] = Settled.RETRY

    account = rig.run_for(300, source, ack)

    assert account.ack_lost == 1
    assert source.named("extend")[-1].at <= 65
    assert source.named("ack")[-1].at <= 120


# --- taken away by the source


def test_what_the_source_says_is_lost_is_dropped_or_told_and_never_settled(rig, ids):
    source = rig.Source(*ids(4), batch=10, lease=30.0, max_delay=900)
    source.next("extend", 2.0)
    told = []

    async def handle(id):
        if id > "2":
            await current().lease_lost.wait()
            told.append(id)
            await asyncio.sleep(30)
        return id != "2"

    async def story():
        consumer = rig.consumer(source, handle)
        source.always["ack"] = source.always["nack"] = Settled.RETRY
        async with rig.running(consumer):
            await asyncio.sleep(1)
            source.send("5", lease=1.0)
            await asyncio.sleep(0.5)
            context = source.context
            assert sorted(message.id for message in context.outstanding()) == ["1", "2", "3", "4", "5"]
            before = len(source.ids("ack")), len(source.ids("nack"))
            context.lost(context.outstanding(), "channel closed")
            await asyncio.sleep(60)
            assert sorted(told) == ["3", "4"]
            assert (len(source.ids("ack")), len(source.ids("nack"))) == before
            assert (consumer.account.ack_lost, consumer.account.nacked, consumer.account.dropped) == (3, 1, 1)
            assert not context.outstanding()
            assert len(source.named("extend")) == 1

    rig.run(story)


def test_on_an_ordered_source_what_is_lost_is_cancelled(rig):
    source = rig.Source(batch=10, ordered=True)
    source.send("1", "2", "3", group="g")
    source.send("4", group="h")

    async def story(consumer):
        await asyncio.sleep(1)
        source.context.lost(source.context.outstanding(), "channel closed")
        await asyncio.sleep(1)
        assert consumer.account.dropped == 4
        source.send("1", "2", "3", group="g")
        await asyncio.sleep(1)
        assert consumer.in_work == 3  # the group goes on with what comes again

    rig.tell(story, source, works(1000))


@pytest.mark.parametrize("ordered", [True, False])
def test_what_is_going_to_be_revoked_gets_its_time_and_is_settled_before_that_returns(rig, ordered):
    source = rig.Source(batch=10, linger=60.0, ordered=ordered)
    source.send("quick", group="a")
    source.send(*["next"] * ordered, group="a")
    source.send("slow", group="b")
    source.send("other", group="c")
    source.send("behind", group="b" if ordered else "d")
    started, lost = [], []

    async def handle(id):
        started.append(id)
        try:
            async with asyncio.timeout({"quick": 2, "slow": 50, "behind": 50, "other": 20}[id]):
                await current().lease_lost.wait()
                lost.append(id)
        except TimeoutError:
            pass

    async def story():
        loop = asyncio.get_running_loop()
        consumer = rig.consumer(source, handle)
        async with rig.running(consumer):
            await asyncio.sleep(1)
            begin = loop.time()
            going = [message for message in source.context.outstanding() if message.id != "other"]
            await source.context.revoke(going, within=5.0)
            assert loop.time() - begin == 5
            assert source.ids("ack") == ["quick"]
            await asyncio.sleep(30)
            assert source.ids("ack") == ["quick", "other"]
            assert lost == ([] if ordered else ["slow", "behind"])
            assert "next" not in started
            assert consumer.account.dropped + consumer.account.ack_lost == 2 + ordered

    rig.run(story)


def test_what_is_parked_is_handed_over_before_it_is_revoked_and_nothing_else_is(rig):
    source = rig.Source("parked", "late", "other", batch=10, linger=60.0)

    async def handle(id):
        await asyncio.sleep(2 if id == "late" else 0)
        return False

    async def story():
        async with rig.running(rig.consumer(source, handle, retry=Retry(base=600))):
            await asyncio.sleep(1)
            going = [message for message in source.context.outstanding() if message.id != "other"]
            await source.context.revoke(going, within=5.0)
            assert source.ids("nack") == ["parked", "late"]

    rig.run(story)


def test_a_revocation_returns_as_soon_as_everything_is_settled(rig):
    source = rig.Source("1", "2", batch=10, linger=3.0)

    async def story():
        loop = asyncio.get_running_loop()
        async with rig.running(rig.consumer(source, works(4))):
            await asyncio.sleep(1)
            begin = loop.time()
            await source.context.revoke(source.context.outstanding(), within=20.0)
            assert loop.time() - begin == 3
            assert sorted(source.ids("ack")) == ["1", "2"]

    rig.run(story)


def test_losing_or_revoking_before_the_route_runs_or_what_is_settled_already_does_nothing(rig):
    source = rig.Source("1", batch=10)

    async def story():
        consumer = rig.consumer(source, ack)
        assert not consumer.context.outstanding()
        consumer.context.lost([], "nothing")
        await consumer.context.revoke([], 1.0)
        messages = []
        async with rig.running(consumer):
            await asyncio.sleep(0.01)
            messages.extend(rig.audits[0]._final)
            consumer.context.lost(messages, "late")
            await consumer.context.revoke(messages, 1.0)
            assert consumer.account.acked == 1

    rig.run(story)
