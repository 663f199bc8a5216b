"""Each invariant of the simulation bites: a good history satisfies all, and one thing wrong with it breaks one."""

from __future__ import annotations

import pathlib
import sys
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # what is beside this file is imported as simulation.<name>

from simulation.history import Delivery, History, Life, Moment, Receive, Request, Sent, Trouble
from simulation.invariants import INVARIANTS, broken

from loafer_core import Settled
from loafer_core.observability.account import Account

DONE, RETRY, LOST = Settled.DONE, Settled.RETRY, Settled.LOST


def at(second: float) -> Moment:
    return Moment(round(second * 1000), second)


def asked(verb, second, answer=DONE, seconds=0.5, **more):
    applied = at(second) if answer is DONE else None
    return Request(verb, at(second), applied, at(second + seconds), answer, **more)


def delivery(number, who, begin, end, outcome, *requests, word, **more):
    facts = {"lease_left": 5.0, "arrived": at(begin - 0.1), **more}
    one = Delivery(
        number, "a", who, at(begin - 0.2), begin + 10, begin=at(begin), end=at(end), outcome=outcome, **facts
    )
    one.requests, one.words = list(requests), [word]
    return one


@pytest.fixture
def good():
    """Two processes and two messages of a group: one succeeds at once, the other fails and then succeeds."""
    history = History(ordered=True)
    history.sent = {0: Sent("a", True), 1: Sent("a", True), 2: Sent("a", False)}  # what became of 2 nobody knows
    history.healed = at(30)
    first = delivery(0, "p1", 1, 2, "ok", asked("extend", 1.2, seconds=0.1), asked("ack", 3), word="acked")
    failed = delivery(1, "p1", 4, 5, "failed", asked("nack", 6), word="nacked")
    again = delivery(1, "p2", 40, 41, "ok", asked("ack", 42, RETRY), asked("ack", 43), word="acked")
    history.deliveries = {number: one for number, one in enumerate([first, failed, again])}
    p1 = Life("p1", 1, [Receive(at(0), 1, at(0.9), 2), Receive(at(7), 1, at(7.5))], stopped=at(9), stopping=at(8))
    p2 = Life("p2", 1, [Receive(at(20), 1, at(21), failed=True)], stopped=at(101), stopping=at(100))
    p2.receives += [Receive(at(39), 1, at(39.9), 1), Receive(at(50), 1, at(70))]
    p2.troubles = [Trouble(at(21.1), "Unavailable", 0.2)]
    p1.account, p2.account = Account(received=2, acked=1, nacked=1), Account(received=1, acked=1)
    history.lives = {"p1": p1, "p2": p2}
    return SimpleNamespace(history=history, first=first, failed=failed, again=again, p1=p1, p2=p2)


def test_a_good_history_satisfies_every_invariant(good):
    assert broken(good.history) == []


def i1_lost(good):
    good.history.sent[3] = Sent("a", True)


def i1_left(good):
    good.history.left = [2]


def i2_from_nowhere(good):
    good.history.dead = [77]


def i3_acked_without_success(good):
    good.again.outcome = "cancelled"
    good.history.dead = [1]


def i3_acked_before_the_end(good):
    good.first.end = at(3.2)


def i3_acked_for_another_process(good):
    good.again.begin = good.again.end = None
    good.again.outcome = ""
    good.history.dead = [1]


def i3_nacked_after_a_success(good):
    good.failed.outcome = "ok"
    good.again.harm = good.failed.harm = "expired"


def i4_twice_without_reason(good):
    good.failed.outcome = "ok"
    good.failed.requests[0].verb = "ack"


def i5_two_at_once(good):
    good.failed.begin = at(1.5)


def i5_out_of_order(good):
    good.again.number, good.first.number = 0, 1
    good.failed.number = 0


def i6_more_than_slots(good):
    good.p1.receives.append(Receive(at(1.5), 1, at(1.8)))


def i6_too_much_held(good):
    for number in range(3, 105):
        good.history.sent[number] = Sent("b", False)
        held = delivery(number, "p1", 1, 5, "", asked("release", 6), word="released")
        held.begin = held.end = None
        good.history.deliveries[number] = held
    good.p1.account = Account(received=104, acked=1, nacked=1, released=102)


def i7_lapsed(good):
    good.first.lease_left = -0.1


def i8_extended_while_settled(good):
    good.first.requests.append(asked("extend", 3.1))


def i8_extended_after_a_nack(good):
    good.failed.requests.append(asked("extend", 7))


def i8_steals_back(good):
    good.first.requests[:1] = [asked("extend", 1.2, LOST, 0.1), asked("extend", 1.5, LOST, 0.1)]


def i8_nacks_what_is_lost(good):
    good.failed.requests.insert(0, asked("extend", 4.5, LOST, 0.1))


def i9_two_verbs(good):
    good.again.requests[0].verb = "nack"
    good.again.outcome = "nack"
    good.history.dead = [1]


def i9_settled_twice(good):
    good.first.requests.append(asked("ack", 4))


def i9_unaccounted(good):
    good.first.words.clear()


def i10_asked_too_soon(good):
    good.p2.receives[1].asked = at(21.2)


def i10_no_step(good):
    good.p2.troubles[0] = Trouble(at(21.1), "Unavailable", 0.0)


def i10_step_does_not_grow(good):
    good.p2.receives[1:1] = [Receive(at(22 + n), 1, at(22.5 + n), failed=True) for n in range(6)]
    good.p2.troubles += [Trouble(at(22.6 + n), "Unavailable", 0.1) for n in range(6)]


def i10_spins(good):
    good.p1.receives += [Receive(at(7.6), 1, at(7.65)), Receive(at(7.7), 1, at(7.75))]


def i11_stands_still(good):
    good.again.begin, good.again.end = at(80), at(81)
    good.again.requests = [asked("ack", 82)]
    good.p2.receives[1:] = [Receive(at(79), 1, at(79.9), 1)]


def i12_asks_after_its_stop(good):
    good.p1.receives.append(Receive(at(11), 1, at(12)))


def i12_leaves_something_hidden(good):
    good.failed.requests.clear()


def i12_hangs_up_on_a_receive(good):
    good.history.sent[3] = Sent("b", False)
    hidden = delivery(3, "p1", 8.5, 8.6, "", word="", arrived=None, harm="aborted")
    hidden.begin = hidden.end = None
    hidden.words.clear()
    good.history.deliveries[3] = hidden


def i13_leaks(good):
    good.history.leaks.append("a task")


def i14_account_too_short(good):
    good.p1.account = Account(received=2, acked=1)


def i14_account_in_other_words(good):
    good.p1.account = Account(received=2, nacked=2)


BREAKS = [value for name, value in list(globals().items()) if name.partition("_")[0] in {f"i{n}" for n in range(1, 15)}]


@pytest.mark.parametrize("spoil", BREAKS, ids=lambda spoil: spoil.__name__)
def test_what_is_wrong_with_a_history_breaks_its_invariant(good, spoil):
    spoil(good)

    names = {line.partition("_")[0] for line in broken(good.history)}

    assert spoil.__name__.partition("_")[0] in names


def test_every_invariant_has_a_history_that_breaks_it():
    assert {check.__name__.partition("_")[0] for check in INVARIANTS} == {
        spoil.__name__.partition("_")[0] for spoil in BREAKS
    }
    assert len(INVARIANTS) == 14
