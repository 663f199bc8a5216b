"""The rules of the memory queue, on a clock that only the test moves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from loafer_core import ConfigError, MemoryQueue, Message, Settled

DONE, LOST = Settled.DONE, Settled.LOST


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def _no_named_queues():
    yield
    MemoryQueue.forget_named()


def bodies(messages):
    return [message.body for message in messages]


# Leases


def test_a_received_message_is_hidden_until_its_lease_ends(clock):
    queue = MemoryQueue(lease=30, clock=clock)
    queue.send("a")

    (first,) = queue.receive()
    clock.now = 29.9
    hidden = queue.receive()
    clock.now = 30.0
    (again,) = queue.receive()

    assert hidden == []
    assert (again.id, again.body) == (first.id, "a")
    assert (first.receive_count, again.receive_count) == (1, 2)
    assert first.receipt is not again.receipt
    assert (first.lease_until, again.lease_until) == (30.0, 60.0)


def test_extend_counts_from_the_call_and_is_not_remembered_for_the_next_receive(clock):
    queue = MemoryQueue(lease=30, clock=clock)
    queue.send("a")
    (message,) = queue.receive()

    clock.now = 20.0
    assert queue.extend(message.receipt, 100) is DONE
    clock.now = 119.0
    assert queue.receive() == []
    clock.now = 120.0
    (again,) = queue.receive()

    assert again.lease_until == 150.0


def test_a_lease_that_ran_out_is_not_stolen_back_by_extending(clock):
    queue = MemoryQueue(lease=30, clock=clock)
    queue.send("a")
    (message,) = queue.receive()

    clock.now = 30.0

    assert queue.extend(message.receipt) is LOST
    assert queue.nack(message.receipt) is LOST
    assert queue.release(message.receipt) is LOST
    assert queue.depth == 1


def test_a_delivery_is_held_for_twelve_hours_at_most(clock):
    queue = MemoryQueue(lease=30, clock=clock)
    queue.send("a")
    (message,) = queue.receive()

    clock.now = 20.0
    assert queue.extend(message.receipt, 43_200) is DONE
    clock.now = 43_199.0
    assert queue.extend(message.receipt) is DONE
    clock.now = 43_200.0

    assert queue.extend(message.receipt) is LOST
    assert bodies(queue.receive()) == ["a"]


# Stale receipts


def test_a_late_delete_still_counts_as_long_as_nobody_else_received_the_message(clock):
    queue = MemoryQueue(lease=30, clock=clock)
    queue.send("a")
    (message,) = queue.receive()

    clock.now = 1000.0

    assert queue.delete(message.receipt) is DONE
    assert queue.messages() == []


def test_a_stale_receipt_settles_nothing_when_the_message_was_received_again(clock):
    dead = MemoryQueue("dead", clock=clock)
    queue = MemoryQueue(lease=30, dead_letter=dead, clock=clock)
    queue.send("a")
    (stale,) = queue.receive()
    clock.now = 30.0
    (fresh,) = queue.receive()

    for settle in queue.delete, queue.reject, queue.nack, queue.release, queue.extend:
        assert settle(stale.receipt) is LOST
    assert queue.in_flight == 1
    assert queue.delete(fresh.receipt) is DONE
    assert queue.delete(stale.receipt) is LOST


@pytest.mark.parametrize("receipt", [None, "made up", object()])
def test_a_receipt_of_somebody_else_settles_nothing(clock, receipt):
    queue = MemoryQueue(clock=clock)
    queue.send("a")
    queue.receive()

    assert queue.delete(receipt) is LOST
    assert queue.extend(receipt) is LOST


def test_settling_again_after_a_lost_answer_changes_nothing_and_is_done(clock):
    queue = MemoryQueue(dead_letter=MemoryQueue(clock=clock), clock=clock)
    for body in "abcd":
        queue.send(body)
    deleted, rejected, nacked, released = queue.receive()

    for _ in range(2):
        assert queue.delete(deleted.receipt) is DONE
        assert queue.reject(rejected.receipt) is DONE
        assert queue.nack(nacked.receipt, 60) is DONE
        assert queue.release(released.receipt) is DONE
        clock.now += 10

    assert [(m.body, m.receive_count) for m in queue.messages()] == [("c", 1), ("d", 0)]
    assert bodies(queue.dead) == ["b"]
    assert queue.next_change() == 40


# Giving back


def test_a_nack_keeps_the_attempt_and_a_release_takes_it_back(clock):
    queue = MemoryQueue(clock=clock)
    queue.send("a")

    (message,) = queue.receive()
    queue.release(message.receipt)
    (released,) = queue.receive()
    queue.nack(released.receipt)
    (nacked,) = queue.receive()

    assert [message.receive_count, released.receive_count, nacked.receive_count] == [1, 1, 2]


def test_a_nacked_message_comes_back_when_its_delay_is_over_and_not_before(clock):
    queue = MemoryQueue(lease=30, clock=clock)
    queue.send("a")
    (message,) = queue.receive()

    queue.nack(message.receipt, 45)

    assert (queue.depth, queue.in_flight, queue.delayed) == (0, 0, 1)
    clock.now = 44.9
    assert queue.receive() == []
    clock.now = 45.0
    assert bodies(queue.receive()) == ["a"]


def test_a_message_that_was_given_back_cannot_be_hidden_again_by_a_late_extend(clock):
    queue = MemoryQueue(clock=clock)
    queue.send("now")
    queue.send("later")
    now, later = queue.receive()
    queue.release(now.receipt)
    queue.nack(later.receipt, 5)

    assert queue.extend(now.receipt) is LOST
    assert queue.extend(later.receipt) is LOST
    clock.now = 5.0
    assert bodies(queue.receive()) == ["now", "later"]


# Redrive


def test_a_message_that_failed_too_often_goes_to_the_dead_letter_queue_unchanged(clock):
    dead = MemoryQueue("dead", clock=clock)
    queue = MemoryQueue("orders", max_receives=2, dead_letter=dead, clock=clock)
    queue.send(b"\0poison", {"tenant": "a"}, group="g")
    for _ in range(2):
        (message,) = queue.receive()
        queue.nack(message.receipt)

    assert queue.receive() == []

    assert queue.messages() == []
    (buried,) = queue.dead
    for fact in "id", "body", "attributes", "group", "sent_at":
        assert getattr(buried, fact) == getattr(message, fact)
    assert (buried.receive_count, buried.metadata) == (0, {"queue": "dead", "reason": "received 2 times"})
    assert queue.delete(message.receipt) is LOST
    assert bodies(dead.receive()) == [b"\0poison"]


def test_a_spent_message_makes_room_for_the_next_one_in_the_same_answer(clock):
    queue = MemoryQueue(max_receives=1, dead_letter=MemoryQueue(clock=clock), clock=clock)
    queue.send("spent")
    (message,) = queue.receive()
    queue.nack(message.receipt)
    queue.send("fresh")

    assert bodies(queue.receive(1)) == ["fresh"]
    assert bodies(queue.dead) == ["spent"]


def test_a_release_does_not_bring_a_message_nearer_to_the_dead_letter_queue(clock):
    queue = MemoryQueue(max_receives=1, dead_letter=MemoryQueue(clock=clock), clock=clock)
    queue.send("a")

    for _ in range(5):
        (message,) = queue.receive()
        queue.release(message.receipt)

    assert queue.dead == []


def test_a_rejected_message_is_dead_lettered_with_its_reason(clock):
    queue = MemoryQueue(dead_letter=MemoryQueue("dead", clock=clock), clock=clock)
    queue.send("a")
    (message,) = queue.receive()

    assert queue.reject(message.receipt, "no such tenant") is DONE

    assert queue.messages() == []
    assert [message.metadata["reason"] for message in queue.dead] == ["no such tenant"]


def test_rejecting_without_a_dead_letter_queue_is_refused_and_loses_nothing(clock):
    queue = MemoryQueue("orders", clock=clock)
    queue.send("a")
    (message,) = queue.receive()

    with pytest.raises(ValueError, match=r"'orders'.* has no dead_letter"):
        queue.reject(message.receipt)

    assert queue.in_flight == 1


# Groups


def test_a_group_is_locked_while_one_of_it_is_in_flight_and_the_others_go_on(clock):
    queue = MemoryQueue(ordered=True, clock=clock)
    for body in "a1", "b1", "a2", "b2":
        queue.send(body, group=body[0])

    (a1,) = queue.receive(1)
    others = queue.receive()
    queue.delete(a1.receipt)

    assert bodies(others) == ["b1", "b2"]
    assert bodies(queue.receive()) == ["a2"]


def test_one_answer_holds_several_of_a_group_in_order_but_no_more_than_ten(clock):
    queue = MemoryQueue(ordered=True, clock=clock)
    for number in range(12):
        queue.send(str(number), group="a")
    queue.send("other", group="b")

    assert bodies(queue.receive(100)) == [*map(str, range(10)), "other"]


def test_a_group_stays_locked_until_the_last_one_of_an_answer_is_settled(clock):
    queue = MemoryQueue(ordered=True, lease=30, clock=clock)
    for body in "123":
        queue.send(body, group="a")
    first, second, third = queue.receive()

    queue.nack(first.receipt)
    queue.release(third.receipt)
    assert queue.receive() == []
    queue.release(second.receipt)

    assert bodies(queue.receive()) == ["1", "2", "3"]


def test_a_delayed_message_holds_up_those_behind_it_in_its_group_and_nobody_else(clock):
    queue = MemoryQueue(ordered=True, clock=clock)
    queue.send("before", group="a")
    queue.send("delayed", group="a", delay=10)
    queue.send("behind", group="a")
    queue.send("other", group="b")

    at_once = queue.receive()
    for message in at_once:
        queue.delete(message.receipt)
    clock.now = 10.0

    assert bodies(at_once) == ["before", "other"]
    assert bodies(queue.receive()) == ["delayed", "behind"]


def test_messages_without_a_group_keep_their_order_on_an_ordered_queue(clock):
    queue = MemoryQueue(ordered=True, clock=clock)
    queue.send("1")
    queue.send("2")

    (first,) = queue.receive(1)

    assert (first.body, first.group) == ("1", "default")
    assert queue.receive() == []


def test_a_group_is_only_a_fact_where_there_is_no_order(clock):
    queue = MemoryQueue(clock=clock)
    queue.send("1", group="a")
    queue.send("2", group="a")

    assert [queue.receive(1)[0].group, queue.receive(1)[0].group] == ["a", "a"]


# Sending


def test_a_message_sent_with_a_delay_is_not_received_before(clock):
    queue = MemoryQueue(clock=clock)
    queue.send("a", delay=5)

    assert (queue.receive(), queue.delayed, queue.next_change()) == ([], 1, 5.0)
    clock.now = 5.0
    assert (bodies(queue.receive()), queue.delayed) == (["a"], 0)


def test_the_same_deduplication_id_puts_nothing_in_for_five_minutes(clock):
    queue = MemoryQueue(ordered=True, clock=clock)

    first = queue.send("a", group="g", dedup="x")
    clock.now = 299.9
    repeated = queue.send("a again", group="g", dedup="x")
    clock.now = 300.0
    later = queue.send("a later", group="g", dedup="x")

    assert repeated == first != later
    assert bodies(queue.messages()) == ["a", "a later"]


def test_a_message_past_its_retention_is_gone_even_in_flight(clock):
    queue = MemoryQueue(lease=30, retention=60, clock=clock)
    queue.send("old")
    clock.now = 50.0
    (message,) = queue.receive()
    queue.send("new")

    clock.now = 60.0

    assert bodies(queue.messages()) == ["new"]
    assert queue.delete(message.receipt) is LOST
    assert queue.oldest_age == 10.0


@pytest.mark.parametrize("body", [{"id": 1}, None, 7])
def test_a_body_that_is_neither_text_nor_bytes_is_refused(clock, body):
    with pytest.raises(TypeError, match=r"'orders'.*str or bytes, not"):
        MemoryQueue("orders", clock=clock).send(body)


@pytest.mark.parametrize("delay", [-1, float("inf"), float("nan")])
def test_a_delay_that_is_no_time_is_refused_and_leaves_everything_as_it_was(clock, delay):
    queue = MemoryQueue(clock=clock)
    queue.send("a")
    (message,) = queue.receive()

    with pytest.raises(ValueError, match="delay="):
        queue.send("b", delay=delay)
    with pytest.raises(ValueError, match="delay="):
        queue.nack(message.receipt, delay)

    assert (bodies(queue.messages()), queue.in_flight) == (["a"], 1)


@pytest.mark.parametrize("wrong", [{"lease": 0}, {"lease": float("nan")}, {"retention": -1}, {"max_receives": 1}])
def test_a_queue_that_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError, match="'orders'"):
        MemoryQueue("orders", **wrong)


def test_what_is_shown_of_a_receipt_or_a_queue_holds_no_content(clock):
    queue = MemoryQueue("orders", clock=clock)
    queue.send("secret", {"token": "secret"})
    (message,) = queue.receive()

    assert "secret" not in f"{queue!r} {message!r} {message.receipt!r}"


# Names


def test_one_name_is_one_queue_and_what_one_side_leaves_unsaid_the_other_may_say():
    forwarder = MemoryQueue.named("orders")
    consumer = MemoryQueue.named("orders", lease=5.0, ordered=True)

    assert forwarder is consumer is MemoryQueue.named("orders", lease=5.0)
    assert (forwarder.lease, forwarder.ordered) == (5.0, True)
    assert MemoryQueue.named("others") is not forwarder


def test_two_values_for_one_setting_of_a_name_are_an_error_that_shows_both():
    MemoryQueue.named("orders", lease=5.0, dead_letter=MemoryQueue.named("dead"))

    with pytest.raises(ConfigError, match=r"memory queue 'orders': lease is 5\.0 already and cannot be 30\.0"):
        MemoryQueue.named("orders", lease=30.0)
    with pytest.raises(ConfigError, match=r"dead_letter is MemoryQueue\('dead'\) already"):
        MemoryQueue.named("orders", dead_letter=MemoryQueue.named("graveyard"))


def test_a_named_queue_refuses_what_any_queue_refuses_and_stays_as_it_was():
    with pytest.raises(ValueError, match="max_receives"):
        MemoryQueue.named("orders", max_receives=3)

    assert MemoryQueue.named("orders", max_receives=2, dead_letter=MemoryQueue.named("dead")).max_receives == 2


def test_forgotten_names_begin_anew():
    MemoryQueue.named("orders", lease=5.0).send("left over")

    MemoryQueue.forget_named()

    assert MemoryQueue.named("orders", lease=30.0).messages() == []


# Any sequence of these


@dataclass(eq=False)
class Delivery:
    message: Message
    ends: float
    state: str = "held"  # or returned, removed


GROUPS = st.sampled_from(["a", "a", "b", None])


class AnyHistory(RuleBasedStateMachine):
    """A second bookkeeping, from what callers saw alone, says what each answer has to be."""

    deliveries = Bundle("deliveries")
    LEASE = 10.0
    ordered = False

    @initialize(max_receives=st.sampled_from([None, 1, 2, 3]), stock=st.lists(GROUPS, min_size=4, max_size=16))
    def begin(self, max_receives, stock):
        self.clock = Clock()
        self.dead = MemoryQueue("dead", clock=self.clock)
        self.queue = MemoryQueue(
            lease=self.LEASE, ordered=self.ordered, max_receives=max_receives, dead_letter=self.dead, clock=self.clock
        )
        self.most = max_receives
        self.sent: dict[str, tuple] = {}
        self.visible: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.newest: dict[str, Delivery] = {}
        self.deduped: dict[str, tuple[float, str]] = {}
        self.present: dict[str, None] = {}  # neither deleted nor dead-lettered; in order
        self.buried: set[str] = set()
        for group in stock:
            self.send(group, 0.0, None, "stock")

    def live(self, delivery):
        return (
            delivery.state == "held"
            and self.newest[delivery.message.id] is delivery
            and delivery.message.id in self.present
            and self.clock.now < delivery.ends
        )

    def held(self, id_):
        return id_ in self.newest and self.live(self.newest[id_])

    def hidden(self, id_):
        return self.held(id_) or self.visible[id_] > self.clock.now

    def consumer(self, id_):
        return (self.sent[id_][2] or "default") if self.ordered else id_

    def deliverable(self):
        """Oldest first, groups that are locked left out, nothing behind something hidden."""
        locked = {self.consumer(id_) for id_ in self.present if self.held(id_)}
        found: list[str] = []
        consumers: Counter[str] = Counter()
        for id_ in self.present:
            consumer = self.consumer(id_)
            if self.hidden(id_) or consumers[consumer] == 10:
                locked.add(consumer)
            if consumer not in locked and (self.most is None or self.counts[id_] < self.most):
                found.append(id_)
                consumers[consumer] += 1
        return found

    @rule(
        group=GROUPS,
        delay=st.sampled_from([0.0, 0.0, 0.0, 7.0]),
        dedup=st.sampled_from([None, None, "x", "y"]),
        body=st.sampled_from(["", "0", b"\0"]),
    )
    def send(self, group, delay, dedup, body):
        attributes = {"n": str(len(self.sent))}
        id_ = self.queue.send(body, attributes, group, delay, dedup)
        first = self.deduped.get(dedup)
        if first is not None and self.clock.now < first[0] + 300:
            assert id_ == first[1]
            return
        assert id_ not in self.sent
        if dedup is not None:
            self.deduped[dedup] = (self.clock.now, id_)
        self.sent[id_] = (body, attributes, group)
        self.present[id_] = None
        self.visible[id_] = self.clock.now + delay
        self.counts[id_] = 0

    @rule(target=deliveries, limit=st.sampled_from([1, 2, 10, 25]))
    def receive(self, limit):
        expected = self.deliverable()[:limit]
        exhausted = {id_ for id_ in self.present if self.counts[id_] == self.most and not self.hidden(id_)}
        busy = {self.consumer(id_) for id_ in self.present if self.held(id_)}

        answer = self.queue.receive(limit)

        assert [message.id for message in answer] == expected
        assert not busy & {self.consumer(message.id) for message in answer}
        redriven = {message.id for message in self.dead.messages()} - self.buried
        assert redriven <= exhausted
        if len(answer) < limit and not self.ordered:
            assert redriven == exhausted
        self.bury(redriven)
        for message in answer:
            self.counts[message.id] += 1
            assert message.receive_count == self.counts[message.id]
            self.newest[message.id] = Delivery(message, self.clock.now + self.LEASE)
            assert message.lease_until == self.newest[message.id].ends
        return multiple(*(self.newest[message.id] for message in answer))

    @rule(seconds=st.sampled_from([1.0, 1.0, 3.0, 5.0, LEASE, 400.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    def bury(self, ids):
        self.buried |= ids
        for id_ in ids:
            del self.present[id_]

    def is_newest(self, delivery):
        return delivery.message.id in self.present and self.newest[delivery.message.id] is delivery

    @rule(delivery=deliveries, how=st.sampled_from(["delete", "reject"]))
    def remove(self, delivery, how):
        expected = DONE if delivery.state == "removed" or self.is_newest(delivery) else LOST

        assert getattr(self.queue, how)(delivery.message.receipt) is expected

        if expected is DONE and delivery.state != "removed":
            delivery.state = "removed"
            if how == "reject":
                self.bury({delivery.message.id})
            else:
                del self.present[delivery.message.id]

    @precondition(lambda self: any(map(self.held, self.present)))
    @rule(nth=st.integers(0, 9), delay=st.sampled_from([None, 0.0, 7.0]))
    def give_back_one_of_those_in_flight(self, nth, delay):
        held = [self.newest[id_] for id_ in self.present if self.held(id_)]
        self.give_back(held[nth % len(held)], delay)

    @rule(delivery=deliveries, delay=st.sampled_from([None, 0.0, 7.0, 20.0]))
    def give_back_any(self, delivery, delay):
        self.give_back(delivery, delay)

    def give_back(self, delivery, delay):
        first = self.live(delivery)
        expected = DONE if first or (delivery.state == "returned" and self.is_newest(delivery)) else LOST
        receipt = delivery.message.receipt

        assert (self.queue.release(receipt) if delay is None else self.queue.nack(receipt, delay)) is expected

        if first:
            delivery.state = "returned"
            self.visible[delivery.message.id] = self.clock.now + (delay or 0.0)
            self.counts[delivery.message.id] -= delay is None

    @rule(delivery=deliveries, seconds=st.sampled_from([None, 4.0, 30.0]))
    def extend(self, delivery, seconds):
        expected = DONE if self.live(delivery) else LOST

        assert self.queue.extend(delivery.message.receipt, seconds) is expected

        if expected is DONE:
            delivery.ends = self.clock.now + (seconds or self.LEASE)

    @invariant()
    def nothing_is_lost_and_nothing_is_changed(self):
        here, dead = self.queue.messages(), self.queue.dead
        assert [message.id for message in here] == list(self.present)
        assert {message.id for message in dead} == self.buried
        assert len(dead) == len(self.buried)
        for message in here + dead:
            body, attributes, group = self.sent[message.id]
            assert (message.body, message.attributes) == (body, attributes)
            assert (message.group or "default") == (group or "default")
        assert [message.receive_count for message in here] == [self.counts[id_] for id_ in self.present]

    @invariant()
    def the_counts_tell_the_states(self):
        held = [self.newest[id_].ends for id_ in self.present if self.held(id_)]
        delays = [
            self.visible[id_] for id_ in self.present if not self.held(id_) and self.visible[id_] > self.clock.now
        ]
        assert (self.queue.in_flight, self.queue.delayed) == (len(held), len(delays))
        assert self.queue.depth == len(self.present) - len(held) - len(delays)
        assert self.queue.next_change() == min((end - self.clock.now for end in held + delays), default=None)


class AnyOrderedHistory(AnyHistory):
    ordered = True


# Explaining a failure takes far longer than finding and shrinking it, and the shrunk history explains itself.
_thorough = settings(max_examples=150, stateful_step_count=40, deadline=None, phases=set(Phase) - {Phase.explain})
AnyHistory.TestCase.settings = AnyOrderedHistory.TestCase.settings = _thorough
test_any_history_keeps_every_promise_of_the_queue = pytest.mark.timeout(300)(AnyHistory.TestCase)
test_any_history_keeps_the_order_within_every_group = pytest.mark.timeout(300)(AnyOrderedHistory.TestCase)
