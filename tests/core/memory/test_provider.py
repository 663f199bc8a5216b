"""The provider ``memory`` as the core and users meet it. Time is virtual unless a test says otherwise."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import time
from dataclasses import dataclass

import pytest
from pydantic import ValidationError

from loafer_core import (
    ConfigError,
    Leases,
    Measures,
    MemoryProvider,
    MemoryQueue,
    Publishes,
    Rejects,
    Settled,
    SourceConfigError,
    Throttled,
    Unavailable,
)
from loafer_core.memory.provider import MemoryOptions
from loafer_core.testing import run_virtual

DONE, RETRY, LOST = Settled.DONE, Settled.RETRY, Settled.LOST


@dataclass
class FakeContext:
    max_wait: float = 20.0
    route: str = "orders"
    concurrency: int = 10
    client_id: str = "test"
    payload_type: object = None


@pytest.fixture(autouse=True)
def _no_named_queues():
    yield
    MemoryQueue.forget_named()


def virtual(story):
    """Run the test in virtual time."""

    @functools.wraps(story)
    def run(*args, **kwargs):
        run_virtual(story(*args, **kwargs))

    run.__signature__ = inspect.signature(story)
    return run


async def opened(queue=None, /, *, max_wait=20.0, **options):
    provider = MemoryProvider(queue=queue) if queue else MemoryProvider(MemoryOptions(**options))
    await provider.open(FakeContext(max_wait=max_wait))
    return provider


def now():
    return asyncio.get_running_loop().time()


async def begun(coroutine):
    """Start it and let it come to its first real wait."""
    task = asyncio.ensure_future(coroutine)
    for _ in range(5):
        await asyncio.sleep(0)
    return task


def bodies(messages):
    return [message.body for message in messages]


def settled(answers):
    return {message.body: answer for message, answer in answers.items()}


# What it is


@virtual
async def test_it_tells_after_opening_what_its_queue_can_do():
    dead = MemoryQueue("dead")
    provider = await opened(MemoryQueue(lease=7.0, ordered=True, max_receives=3, dead_letter=dead))
    plain = await opened(MemoryQueue())

    assert (provider.traits.lease, provider.traits.ordered, provider.traits.rejects) == (7.0, True, True)
    assert (plain.traits.lease, plain.traits.ordered, plain.traits.rejects) == (30.0, False, False)
    assert plain.traits.stable_ids
    for protocol in Leases, Rejects, Publishes, Measures:
        assert isinstance(provider, protocol)


@virtual
async def test_a_message_brings_every_fact_along():
    provider = await opened(MemoryQueue("orders", lease=7.0))
    before = time.time()
    id_ = await provider.publish(b"\0", {"tenant": "a"}, "group")

    (message,) = await provider.receive(1)

    assert (message.id, message.body, message.attributes, message.group) == (id_, b"\0", {"tenant": "a"}, "group")
    assert (message.receive_count, message.metadata) == (1, {"queue": "orders"})
    assert message.lease_until == now() + 7.0
    assert before <= message.sent_at <= time.time()


@virtual
async def test_measure_counts_what_waits_what_is_out_and_what_is_delayed():
    provider = await opened(MemoryQueue())
    for body in "abc":
        provider.queue.send(body)
    provider.queue.send("delayed", delay=60)
    await provider.receive(2)
    await asyncio.sleep(5)

    assert await provider.measure() == {"depth": 1, "in_flight": 2, "delayed": 1, "oldest_age": 5.0}


# Receiving


@virtual
async def test_a_receive_waits_until_a_message_is_sent():
    provider = await opened(MemoryQueue())
    receiving = await begun(provider.receive(10))
    began = now()

    await asyncio.sleep(3)
    provider.queue.send("a")

    assert bodies(await receiving) == ["a"]
    assert now() - began == 3


@pytest.mark.parametrize(("wait", "max_wait", "seconds"), [(20, 5, 5), (3, 20, 3), (20, 20, 20)])
@virtual
async def test_an_empty_receive_ends_after_the_shorter_of_both_limits(wait, max_wait, seconds):
    provider = await opened(wait=wait, max_wait=max_wait)
    began = now()

    assert list(await provider.receive(10)) == []
    assert now() - began == pytest.approx(seconds)


@virtual
async def test_the_limit_of_an_earlier_opening_is_forgotten():
    provider = await opened(max_wait=1)
    await provider.close()
    await provider.open(FakeContext(max_wait=10))
    began = now()

    await provider.receive(10)

    assert now() - began == pytest.approx(10)


@virtual
async def test_what_another_consumer_left_to_expire_wakes_a_waiting_receive_to_the_second():
    queue = MemoryQueue(lease=7.0)
    queue.send("a")
    first, second = await opened(queue), await opened(queue)
    (stale,) = await first.receive(10)
    began = now()

    (fresh,) = await second.receive(10)

    assert now() - began == pytest.approx(7.0)
    assert (fresh.id, fresh.receive_count) == (stale.id, 2)
    assert await first.ack([stale]) == {stale: LOST}


@virtual
async def test_a_nack_wakes_a_waiting_receive_when_its_delay_is_over_not_when_the_lease_would_have_been():
    queue = MemoryQueue(lease=19.0)
    queue.send("a")
    provider = await opened(queue)
    (message,) = await provider.receive(10)
    receiving = await begun(provider.receive(10))
    began = now()

    assert await provider.nack({message: 4.0}) == {message: DONE}

    assert bodies(await receiving) == ["a"]
    assert now() - began == pytest.approx(4.0)


@virtual
async def test_a_lease_that_is_cut_short_wakes_a_waiting_receive_in_time():
    provider = await opened(MemoryQueue(lease=19.0))
    provider.queue.send("a")
    (message,) = await provider.receive(1)
    receiving = await begun(provider.receive(1))
    began = now()

    provider.queue.extend(message.receipt, 2.0)

    assert bodies(await receiving) == ["a"]
    assert now() - began == pytest.approx(2.0)


@virtual
async def test_a_settled_message_lets_its_group_go_on_at_once():
    queue = MemoryQueue(ordered=True)
    queue.send("1", group="a")
    queue.send("2", group="a")
    provider = await opened(queue)
    (first,) = await provider.receive(1)
    receiving = await begun(provider.receive(1))
    began = now()

    await provider.ack([first])

    assert bodies(await receiving) == ["2"]
    assert now() == began


@virtual
async def test_two_consumers_share_a_queue_without_sharing_a_message():
    queue = MemoryQueue()
    seen = []

    async def consume(provider):
        while messages := await provider.receive(3):
            seen.extend(bodies(messages))
            await asyncio.sleep(0.01)
            await provider.ack(messages)

    consumers = [consume(await opened(queue)) for _ in range(2)]
    for number in range(50):
        queue.send(str(number))
    await asyncio.gather(*consumers)

    assert sorted(seen, key=int) == [str(number) for number in range(50)]
    assert queue.messages() == []


@virtual
async def test_a_cancelled_receive_takes_no_message_along():
    provider = await opened(MemoryQueue())
    receiving = await begun(provider.receive(10))

    provider.queue.send("a")  # the receive is about to wake up
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving

    assert (provider.queue.depth, provider.queue.in_flight) == (1, 0)


@pytest.mark.parametrize("operation", ["receive", "extend"])
@virtual
async def test_a_busy_consumer_does_not_keep_others_from_the_loop(operation):
    provider = await opened(MemoryQueue())
    for _ in range(100):
        provider.queue.send("a")
    messages = await provider.receive(50)
    other = asyncio.ensure_future(asyncio.sleep(0))

    for _ in range(50):
        await (provider.receive(1) if operation == "receive" else provider.extend(messages))
        if other.done():
            break

    assert other.done()
    assert provider.queue.depth > 40


@virtual
async def test_a_closed_provider_leaves_nothing_behind_in_its_queue():
    provider = MemoryProvider(queue=MemoryQueue())

    def events():
        gc.collect()
        return sum(isinstance(thing, asyncio.Event) for thing in gc.get_objects())

    before = events()
    for _ in range(20):
        await provider.open(FakeContext())
        await provider.close()

    assert events() <= before


# Beginning and end


async def test_stop_ends_an_open_receive_at_once_in_real_time():
    provider = await opened(MemoryQueue())
    receiving = await begun(provider.receive(10))
    began = time.monotonic()

    await provider.stop()
    await provider.stop()

    assert list(await receiving) == []
    assert time.monotonic() - began < 5


@virtual
async def test_nothing_new_is_handed_out_after_a_stop_while_settling_goes_on():
    provider = await opened(MemoryQueue())
    for body in "abc":
        provider.queue.send(body)
    acked, released = await provider.receive(2)
    await provider.stop()

    assert list(await provider.receive(10)) == []
    assert await provider.extend([acked]) == {acked: DONE}
    assert await provider.ack([acked]) == {acked: DONE}
    assert await provider.release([released]) == {released: DONE}
    assert (bodies(provider.queue.messages()), provider.queue.depth) == (["b", "c"], 2)


@virtual
async def test_a_provider_can_be_opened_again_after_a_close():
    provider = await opened(MemoryQueue())
    await provider.stop()
    await provider.close()
    await provider.close()
    with pytest.raises(Unavailable, match="not open"):
        await provider.receive(1)

    await provider.open(FakeContext())
    receiving = await begun(provider.receive(1))
    provider.queue.send("a")

    assert bodies(await receiving) == ["a"]


@virtual
async def test_opening_anew_ends_a_receive_that_began_before():
    provider = await opened(MemoryQueue())
    receiving = await begun(provider.receive(1))
    began = now()

    await provider.open(FakeContext())

    assert list(await receiving) == []
    assert now() == began


def test_one_provider_serves_one_event_loop_after_the_other():
    provider = MemoryProvider(queue=MemoryQueue())

    async def life(body):
        await provider.open(FakeContext())
        receiving = await begun(provider.receive(1))
        provider.queue.send(body)
        messages = await receiving
        await provider.ack(messages)
        await provider.close()
        return bodies(messages)

    assert [asyncio.run(life("first")), asyncio.run(life("second"))] == [["first"], ["second"]]
    assert provider.queue.messages() == []


def test_what_was_sent_before_there_was_a_loop_is_received_on_any():
    queue = MemoryQueue()
    queue.send("early")

    async def life():
        return bodies(await (await opened(queue)).receive(1))

    assert run_virtual(life()) == ["early"]


# Settling


@virtual
async def test_a_release_is_no_attempt_and_a_nack_is_one():
    provider = await opened(MemoryQueue())
    provider.queue.send("a")

    (message,) = await provider.receive(1)
    await provider.release([message])
    (released,) = await provider.receive(1)
    await provider.nack({released: 0.0})
    (nacked,) = await provider.receive(1)

    assert [message.receive_count, released.receive_count, nacked.receive_count] == [1, 1, 2]


@virtual
async def test_an_extended_lease_counts_from_the_call_and_a_lapsed_one_is_not_stolen_back():
    provider = await opened(MemoryQueue(lease=10.0), max_wait=1.0)
    provider.queue.send("a")
    (message,) = await provider.receive(1)

    await asyncio.sleep(8)
    assert await provider.extend([message]) == {message: DONE}
    await asyncio.sleep(8)
    assert provider.queue.in_flight == 1
    await asyncio.sleep(2)

    assert await provider.extend([message]) == {message: LOST}
    assert await provider.nack({message: 5.0}) == {message: LOST}
    assert bodies(await provider.receive(1)) == ["a"]


@virtual
async def test_what_is_rejected_is_dead_lettered_for_another_consumer_to_see():
    dead = MemoryQueue("dead")
    provider, undertaker = await opened(MemoryQueue("orders", dead_letter=dead)), await opened(dead)
    provider.queue.send("a", {"tenant": "x"})
    (message,) = await provider.receive(1)
    receiving = await begun(undertaker.receive(1))

    assert await provider.reject([message], "no such tenant") == {message: DONE}

    (buried,) = await receiving
    assert (buried.id, buried.body, buried.attributes) == (message.id, "a", {"tenant": "x"})
    assert buried.metadata == {"queue": "dead", "reason": "no such tenant"}
    assert provider.queue.messages() == []


@virtual
async def test_without_a_dead_letter_queue_nothing_can_be_rejected():
    provider = await opened(MemoryQueue("orders"))
    provider.queue.send("a")
    messages = await provider.receive(1)

    with pytest.raises(SourceConfigError, match="'orders'"):
        await provider.reject(messages, "why")

    assert provider.queue.in_flight == 1


# Going wrong on request


async def _two(queue=None):
    provider = await opened(queue or MemoryQueue())
    provider.queue.send("a")
    provider.queue.send("b")
    return provider, await provider.receive(2)


@virtual
async def test_a_failing_call_does_nothing_and_the_next_one_works():
    provider, messages = await _two()
    provider.fail_next("ack", Unavailable("down"))

    with pytest.raises(Unavailable, match="down"):
        await provider.ack(messages)
    assert provider.queue.in_flight == 2

    assert settled(await provider.ack(messages)) == {"a": DONE, "b": DONE}


@virtual
async def test_a_lost_answer_leaves_the_work_done():
    provider, messages = await _two()
    provider.fail_next("ack", Unavailable("lost"), after=True)

    with pytest.raises(Unavailable, match="lost"):
        await provider.ack(messages)
    assert provider.queue.messages() == []

    assert settled(await provider.ack(messages)) == {"a": DONE, "b": DONE}


@pytest.mark.parametrize("answer", [RETRY, LOST])
@pytest.mark.parametrize("operation", ["ack", "release", "extend"])
@virtual
async def test_an_answer_for_all_is_given_without_doing_anything(operation, answer):
    provider, messages = await _two()
    provider.fail_next(operation, answer)

    assert settled(await getattr(provider, operation)(messages)) == {"a": answer, "b": answer}
    assert (provider.queue.in_flight, provider.queue.next_change()) == (2, 30.0)


@virtual
async def test_single_messages_fail_while_the_others_are_settled():
    provider, (a, b) = await _two()
    provider.fail_next("nack", {a.id: RETRY})
    assert await provider.nack({a: 5.0, b: 5.0}) == {a: RETRY, b: DONE}

    provider.fail_next("nack", {a.id: None})
    assert await provider.nack({a: 5.0}) == {}

    assert (provider.queue.in_flight, provider.queue.delayed) == (1, 1)


@virtual
async def test_a_single_message_may_be_settled_although_the_answer_says_otherwise():
    provider, (a, b) = await _two()
    provider.fail_next("ack", {a.id: RETRY}, after=True)

    assert await provider.ack([a, b]) == {a: RETRY, b: DONE}

    assert provider.queue.messages() == []


@virtual
async def test_a_failure_of_one_message_waits_for_a_call_with_that_message():
    provider, (a, b) = await _two()
    provider.fail_next("ack", {b.id: RETRY})

    assert await provider.ack([a]) == {a: DONE}
    assert await provider.ack([b]) == {b: RETRY}
    assert await provider.ack([b]) == {b: DONE}


@virtual
async def test_failures_strike_one_after_the_other_as_often_as_asked():
    provider, messages = await _two()
    provider.fail_next("extend", Throttled("slower"), times=2)
    provider.fail_next("extend", RETRY)

    for _ in range(2):
        with pytest.raises(Throttled):
            await provider.extend(messages)
    assert settled(await provider.extend(messages)) == {"a": RETRY, "b": RETRY}
    assert settled(await provider.extend(messages)) == {"a": DONE, "b": DONE}


@virtual
async def test_an_answer_of_receive_that_got_lost_hides_its_messages_for_a_lease():
    queue = MemoryQueue(lease=10.0)
    queue.send("a")
    provider = await opened(queue)
    provider.fail_next("receive", Unavailable("reset"), after=True)
    began = now()

    with pytest.raises(Unavailable, match="reset"):
        await provider.receive(1)
    (message,) = await provider.receive(1)

    assert (message.receive_count, now() - began) == (2, pytest.approx(10.0))


@virtual
async def test_opening_receiving_and_publishing_fail_before_or_after_the_fact():
    provider = MemoryProvider(MemoryOptions(messages=["a"]))
    provider.fail_next("open", SourceConfigError("no such queue"))
    with pytest.raises(SourceConfigError):
        await provider.open(FakeContext())
    assert provider.queue.messages() == []
    await provider.open(FakeContext())

    provider.fail_next("receive", Unavailable("down"))
    with pytest.raises(Unavailable):
        await provider.receive(1)
    assert provider.queue.depth == 1

    provider.fail_next("publish", Unavailable("down"))
    provider.fail_next("publish", Unavailable("lost"), after=True)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await provider.publish("b")
    assert bodies(provider.queue.messages()) == ["a", "b"]


@pytest.mark.parametrize(
    ("operation", "error", "times", "says"),
    [
        ("delete", Unavailable(), 1, "one of open, receive, ack"),
        ("receive", RETRY, 1, "an exception"),
        ("ack", Unavailable(), 0, "1 or more"),
    ],
)
def test_a_failure_that_cannot_happen_is_refused(operation, error, times, says):
    with pytest.raises((ValueError, TypeError), match=says):
        MemoryProvider().fail_next(operation, error, times=times)


# Options


@virtual
async def test_a_forwarder_and_a_consumer_meet_by_the_name_of_the_queue():
    consumer = await opened(queue="destination", lease=5.0, max_receives=2, dead_letter="dead")
    forwarder = await opened(queue="destination")

    await forwarder.publish("a")

    assert bodies(await consumer.receive(1)) == ["a"]
    assert forwarder.traits == consumer.traits
    assert consumer.queue.dead_letter is MemoryQueue.named("dead")


def test_two_routes_that_disagree_about_a_queue_are_told_so():
    MemoryProvider(MemoryOptions(queue="orders", lease=5.0))

    with pytest.raises(ConfigError, match=r"memory queue 'orders': lease is 5\.0 already"):
        MemoryProvider(MemoryOptions(queue="orders", lease=6.0))


@virtual
async def test_without_a_name_each_provider_has_a_queue_of_its_own():
    first, second = await opened(lease=5.0, messages=["a"]), await opened()

    assert (bodies(first.queue.messages()), second.queue.messages()) == (["a"], [])
    assert (first.traits.lease, second.traits.lease) == (5.0, 30.0)


@virtual
async def test_the_first_messages_are_sent_once_however_often_it_is_opened():
    options = MemoryOptions(messages=["a", "b"])
    provider = MemoryProvider(options)
    assert provider.queue.messages() == []

    for _ in range(2):
        await provider.open(FakeContext())

    assert bodies(provider.queue.messages()) == ["a", "b"]
    assert options.messages == ["a", "b"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"lease": 0},
        {"lease": 43_201},
        {"wait": 0.1},
        {"max_receives": 0, "dead_letter": "dead"},
        {"max_receives": 3},
        {"queue": "orders", "dead_letter": "orders"},
        {"queue": ""},
        {"colour": "blue"},
    ],
)
def test_options_that_cannot_work_are_refused(wrong):
    with pytest.raises(ValidationError):
        MemoryOptions(**wrong)


def test_options_and_a_queue_at_once_are_refused():
    with pytest.raises(TypeError, match="not both"):
        MemoryProvider(MemoryOptions(), queue=MemoryQueue())
