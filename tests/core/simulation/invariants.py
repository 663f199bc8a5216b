"""The invariants I1 to I14, each a check of one history that says in words what broke it."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from simulation.history import Delivery, History, Moment, Request
from simulation.reasons import excuse, held_up

from loafer_core import Settled
from loafer_core.observability.account import DISPOSITIONS

ACK_BOUND, PACE = 100, 0.2
"""Settlements that may be pending beside those in work; seconds, at least, from an empty receive to the next."""
STEPS = {"Throttled": (1.0, 30.0), "CredentialError": (1.0, 60.0)}
"""First step and cap of the back-off; of everything else 0.25 and 20 seconds."""
EXACT = 1e-6


def i1_what_was_sent_succeeded_or_is_dead_lettered(history: History) -> Iterator[str]:
    """Jepsen's total-queue, first half: nothing is lost, and after the final drain nothing is left."""
    lost = Counter(number for number, sent in history.sent.items() if sent.acknowledged) - _dequeued(history)
    yield from (f"message {number} was lost" for number in lost)
    yield from (f"message {number} is still there in the end" for number in history.left)


def i2_what_was_handled_was_sent(history: History) -> Iterator[str]:
    """Jepsen's total-queue, second half: nothing comes that nobody tried to send."""
    yield from (f"message {number} came from nowhere" for number in _dequeued(history) if number not in history.sent)


def i3_a_settlement_says_what_happened(history: History) -> Iterator[str]:
    """An ack follows a success in the same process, a nack a failure, a release no end of a handler of its own."""
    succeeded = _first_successes(history)
    for delivery, request in _settlements(history):
        done = succeeded.get((delivery.who, delivery.number))
        fits = {
            "ack": done is not None and done < request.asked,
            "nack": delivery.outcome in ("failed", "nack", "reject", "cancelled"),
            "reject": delivery.outcome == "reject",
            "release": delivery.begin is None or delivery.outcome in ("cancelled", "killed"),
        }[request.verb]
        if not fits:
            outcome = delivery.outcome or "neither success nor failure"
            yield f"{request.verb} of {delivery} at {request.asked.at:.3f} after {outcome}"


def i4_what_succeeds_twice_has_a_reason(history: History) -> Iterator[str]:
    """A kill, a harm that was done, a fault of a request about that delivery, or a stop that had no time."""
    successes: dict[int, list[Delivery]] = defaultdict(list)
    for delivery in _by_begin(history):
        if delivery.succeeded:
            successes[delivery.number].append(delivery)
    for runs in successes.values():
        for first, second in itertools.pairwise(runs):
            if not excuse(history, first):
                yield f"{first} succeeded, and then {second} for no reason"


def i5_a_group_is_handled_in_order_and_one_at_a_time(history: History) -> Iterator[str]:
    """One at a time as long as its lease is held; who has lost it stops as soon as that can be known."""
    if not history.ordered:
        return
    last: dict[str | None, Delivery] = {}
    for delivery in _by_begin(history):
        before = last.get(delivery.group)
        if before is not None and delivery.begin is not None and _runs_on(before, delivery.begin):
            yield f"{delivery} began while {before} of group {delivery.group} was in work"
        last[delivery.group] = delivery
    newest: dict[str | None, int] = {}
    seen: set[int] = set()
    for delivery in sorted((one for one in history.deliveries.values() if one.succeeded), key=_end):
        if delivery.number not in seen and delivery.number < newest.get(delivery.group, -1):
            yield f"{delivery} of group {delivery.group} succeeded after {newest[delivery.group]}, which was sent later"
        seen.add(delivery.number)
        newest[delivery.group] = max(delivery.number, newest.get(delivery.group, -1))


def i6_no_more_is_in_work_than_there_are_slots(history: History) -> Iterator[str]:
    """A receive asks for free slots only; and what is held, pending settlements included, is bounded."""
    for life in history.lives.values():
        changes: list[tuple[int, int, int]] = []
        for delivery in history.of(life.who):
            changes += _between(delivery.begin, delivery.end, 1, 0)
            changes += _between(delivery.arrived, _settled(delivery), 0, 1)
        for receive in life.receives:
            changes += _between(receive.asked, receive.ended, receive.limit, 0)
        busy = held = 0
        for order, slots, messages in sorted(changes):
            busy, held = busy + slots, held + messages
            if busy > life.concurrency and slots > 0:
                yield f"{life.who} has {busy} running or asked for, with {life.concurrency} slots (event {order})"
            if held > life.concurrency + max(ACK_BOUND, life.concurrency):
                yield f"{life.who} holds {held} messages (event {order})"


def i7_no_handler_starts_without_a_lease(history: History) -> Iterator[str]:
    for delivery in history.deliveries.values():
        if delivery.begin is not None and delivery.lease_left <= 0 and delivery.harm != "expired":
            yield f"{delivery} began {-delivery.lease_left:.3f} s after its lease ended"


def i8_nothing_is_extended_once_it_is_settled_or_lost(history: History) -> Iterator[str]:
    """Neither while a settlement is under way, nor after it is final, nor at all what shall come again.

    And what the source said is lost is not asked for any more, but for an ack that may come in time all the same.
    """
    for delivery, settlement in _settlements(history):
        for extend in delivery.requests:
            if extend.verb != "extend" or extend.answered is None or extend.answered < settlement.asked:
                continue
            final = settlement.answer in (Settled.DONE, Settled.LOST) or settlement.verb in ("nack", "release")
            if final or extend.asked < settlement.asked or extend.asked < _answered(settlement):
                yield f"{delivery} was extended at {extend.asked.at:.3f}, at odds with its {settlement.verb}"
    for delivery in history.deliveries.values():
        lost = [one for one in delivery.requests if one.verb == "extend" and one.answer is Settled.LOST]
        for request in delivery.requests if lost else ():
            if request.verb != "ack" and request.asked > _answered(lost[0]):
                yield f"{request.verb} of {delivery} at {request.asked.at:.3f}, after it was lost"


def i9_each_delivery_is_settled_in_one_way(history: History) -> Iterator[str]:
    """One verb, one call at a time, none after a final answer, at most one handler run, and one word in the account."""
    for delivery in history.deliveries.values():
        settlements = [request for request in delivery.requests if request.verb != "extend"]
        if len({request.verb for request in settlements}) > 1:
            yield f"{delivery} was settled by {', '.join(request.verb for request in settlements)}"
        for first, second in itertools.pairwise(settlements):
            if second.asked < _answered(first) or first.answer in (Settled.DONE, Settled.LOST):
                yield f"{delivery} was settled again at {second.asked.at:.3f}"
        life = history.lives[delivery.who]
        if life.stopped and len(delivery.words) != (delivery.arrived is not None):
            yield f"{delivery} is {', '.join(delivery.words) or 'nothing'} in the account"


def i10_trouble_is_met_with_ever_fewer_requests(history: History) -> Iterator[str]:
    """No receive before the step is over, each step at least a tenth of its span, and no spin on empty answers."""
    for life in history.lives.values():
        failures = 0
        happened = [(trouble.when.order, 0, trouble) for trouble in life.troubles]
        happened += [(one.ended.order, 1, one) for one in life.receives if one.ended and not one.failed]
        for _, success, trouble in sorted(happened, key=lambda one: one[:2]):
            failures = 0 if success else failures + 1
            if not success:
                base, cap = STEPS.get(trouble.kind, (0.25, 20.0))
                if not min(cap, base * 2 ** (failures - 1)) / 10 - EXACT <= trouble.retry_in <= cap:
                    yield f"{life.who} waits {trouble.retry_in:.3f} s after failure {failures} ({trouble.kind})"
        for receive in life.receives:
            before = [trouble for trouble in life.troubles if trouble.when < receive.asked]
            if before and receive.asked.at < before[-1].when.at + before[-1].retry_in - EXACT:
                yield f"{life.who} asked again at {receive.asked.at:.3f}, before its step was over"
        for first, second in itertools.pairwise(life.receives):
            is_empty = first.ended is not None and first.ended < second.asked and not first.failed and not first.count
            is_paced = not any(first.asked < trouble.when < second.asked for trouble in life.troubles)  # else by steps
            if is_empty and is_paced and second.asked.at < first.asked.at + PACE - EXACT:
                yield f"{life.who} asked again {second.asked.at - first.asked.at:.3f} s after an empty answer"


def i11_after_the_trouble_work_goes_on(history: History) -> Iterator[str]:
    """Within the cap of the last error's step, and a second; unless every slot is taken, or a breaker keeps quiet."""
    if history.healed is None or history.breaks:
        return
    for life in history.lives.values():
        was_there = life.receives and life.receives[0].asked < history.healed
        if life.killed or not was_there or (life.stopping and life.stopping < history.healed):
            continue
        after = [trouble for trouble in life.troubles if trouble.when > history.healed]
        since = after[-1].when if after else history.healed
        earlier = [trouble for trouble in life.troubles if trouble.when <= since]
        cap = STEPS.get(earlier[-1].kind, (0.25, 20.0))[1] if earlier else 0.0
        until = since.at + cap + 1.0
        signs = [r.asked for r in life.receives if not r.failed and (r.ended is None or r.ended > since)]
        for delivery in history.of(life.who):
            signs += [moment for moment in (delivery.begin, delivery.end) if moment is not None and moment > since]
        is_full = sum(_is_held(delivery, since) for delivery in history.of(life.who)) >= life.concurrency
        if until < _recovered(history) and not is_full and not any(sign.at <= until for sign in signs):
            yield f"{life.who} did nothing from {since.at:.3f} to {until:.3f}, although nothing failed any more"


def i12_a_clean_stop_hides_nothing_and_asks_for_nothing_more(history: History) -> Iterator[str]:
    for life in history.lives.values():
        if life.stopped is None:
            continue
        requests = [request.asked for delivery in history.of(life.who) for request in delivery.requests]
        for asked in [*requests, *(receive.asked for receive in life.receives)]:
            if asked > life.stopped:
                yield f"{life.who} asked for something at {asked.at:.3f}, after its stop at {life.stopped.at:.3f}"
        for delivery in history.of(life.who) if life.patient else ():
            gone = any(request.applied for request in delivery.requests if request.verb != "extend")
            gone = gone or delivery.lease_until <= life.stopped.at
            meant = history.leaves and delivery.words == ["nacked"]
            if not (gone or meant or excuse(history, delivery) or held_up(history, delivery)):
                yield f"{life.who} left {delivery} hidden ({', '.join(delivery.words)})"


def i13_everything_that_was_taken_is_given_back(history: History) -> Iterator[str]:
    """Slots, tasks, threads, file descriptors, and the time of a stop: the world measures them."""
    yield from history.leaks


def i14_the_account_adds_up(history: History) -> Iterator[str]:
    for life in history.lives.values():
        if life.account is None:
            continue
        arrived = [delivery for delivery in history.of(life.who) if delivery.arrived is not None]
        words = Counter(word for delivery in arrived for word in delivery.words)
        counted = {word: getattr(life.account, word) for word in DISPOSITIONS}
        if life.account.received != len(arrived) or life.account.received != sum(counted.values()):
            yield f"{life.who} received {len(arrived)}; its account: {life.account}"
        if any(words[word] != count for word, count in counted.items()):
            yield f"{life.who} told its observers {dict(words)}; its account: {life.account}"


INVARIANTS: Sequence[Callable[[History], Iterator[str]]] = (
    i1_what_was_sent_succeeded_or_is_dead_lettered,
    i2_what_was_handled_was_sent,
    i3_a_settlement_says_what_happened,
    i4_what_succeeds_twice_has_a_reason,
    i5_a_group_is_handled_in_order_and_one_at_a_time,
    i6_no_more_is_in_work_than_there_are_slots,
    i7_no_handler_starts_without_a_lease,
    i8_nothing_is_extended_once_it_is_settled_or_lost,
    i9_each_delivery_is_settled_in_one_way,
    i10_trouble_is_met_with_ever_fewer_requests,
    i11_after_the_trouble_work_goes_on,
    i12_a_clean_stop_hides_nothing_and_asks_for_nothing_more,
    i13_everything_that_was_taken_is_given_back,
    i14_the_account_adds_up,
)


def broken(history: History) -> list[str]:
    """What is wrong with it, each line with the name of its invariant."""
    return [f"{check.__name__}: {text}" for check in INVARIANTS for text in check(history)]


def _dequeued(history: History) -> Counter[int]:
    return Counter(one.number for one in history.deliveries.values() if one.succeeded) + Counter(history.dead)


def _settlements(history: History) -> Iterator[tuple[Delivery, Request]]:
    for delivery in history.deliveries.values():
        yield from ((delivery, request) for request in delivery.requests if request.verb != "extend")


def _first_successes(history: History) -> dict[tuple[str, int], Moment]:
    first: dict[tuple[str, int], Moment] = {}
    for delivery in history.deliveries.values():
        if delivery.succeeded and delivery.end is not None:
            place = delivery.who, delivery.number
            first[place] = min(delivery.end, first.get(place, delivery.end))
    return first


def _by_begin(history: History) -> list[Delivery]:
    return sorted(
        (one for one in history.deliveries.values() if one.begin is not None), key=lambda one: one.begin or ()
    )


def _runs_on(delivery: Delivery, beyond: Moment) -> bool:
    return delivery.end is None or delivery.end > beyond


def _end(delivery: Delivery) -> Moment:
    assert delivery.end is not None
    return delivery.end


def _answered(request: Request) -> Moment:
    return request.answered or Moment(2**62, 0.0)


def _settled(delivery: Delivery) -> Moment | None:
    asked = [request.asked for request in delivery.requests if request.verb != "extend"]
    return asked[0] if asked else delivery.end


def _is_held(delivery: Delivery, when: Moment) -> bool:
    settled = delivery.end or _settled(delivery)
    return delivery.arrived is not None and delivery.arrived < when and (settled is None or settled > when)


def _between(begin: Moment | None, end: Moment | None, slots: int, messages: int) -> list[tuple[int, int, int]]:
    if begin is None or end is None:
        return []
    return [(begin.order, slots, messages), (end.order, -slots, -messages)]


def _recovered(history: History) -> float:
    assert history.healed is not None
    stops = [life.stopping.at for life in history.lives.values() if life.stopping and life.stopping > history.healed]
    return min(stops, default=0.0)
