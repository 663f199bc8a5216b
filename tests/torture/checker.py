"""Holds a history against the promises.

The first part is Jepsen's total-queue; the others say when a delete, a duplicate, an extend or an order of events is
wrong.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torture.history import Delivery, Handling, History

DONE = ("ok", "drop")
"""Outcomes after which a message may be deleted."""
SLACK = 0.1
"""Seconds between two clocks' readings of one moment."""
SHOWN = 20
"""Details of a report that are shown."""
ACK_BOUND = 100
"""Settlements that may be pending beside those in work."""


@dataclass(slots=True)
class Report:
    """``broken``: promises, in words."""

    sent: int = 0
    handled: int = 0
    dead: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    duplicated: Counter[str] = field(default_factory=Counter)
    recovered: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.lost or self.unexpected or self.unexplained or self.broken)

    def __str__(self) -> str:
        counts = f"{self.sent} sent, {self.handled} handled, {self.dead} dead-lettered, {len(self.lost)} lost, "
        counts += f"{len(self.unexpected)} unexpected, {self.duplicated.total()} duplicates, "
        counts += f"{len(self.unexplained)} of them unexplained"
        details = [*map("lost {}".format, self.lost), *map("unexpected {}".format, self.unexpected)]
        details += [*self.unexplained, *self.broken]
        more = [f"and {len(details) - SHOWN} more"] * (len(details) > SHOWN)
        return "\n  ".join([counts, *details[:SHOWN], *more])


def total_queue(attempted: Iterable[str], enqueued: Iterable[str], dequeued: Iterable[str]) -> Report:
    """What Jepsen's checker of this name computes; valid if nothing is lost and nothing unexpected."""
    attempts, enqueues, dequeues = Counter(attempted), Counter(enqueued), Counter(dequeued)
    unexpected = Counter({id: count for id, count in dequeues.items() if id not in attempts})
    return Report(
        sent=attempts.total(),
        lost=enqueues - dequeues,
        unexpected=unexpected,
        duplicated=dequeues - attempts - unexpected,
        recovered=(dequeues & attempts) - enqueues,
    )


def check(history: History) -> Report:
    """Everything."""
    done = [handling for handling in history.handlings if handling.outcome in DONE]
    reached = [one.id for one in done] + [id for id in history.dead if id not in {one.id for one in done}]
    report = total_queue(list(history.sent), set(history.sent) - set(history.left), reached)
    report.handled, report.dead = len(done), len(history.dead)
    deliveries = history.deliveries()
    report.unexplained = list(_unexplained(history, done, deliveries))
    by_count = {(one.id, one.count): one for one in deliveries.values()}
    report.broken = [
        *_deletes_before_success(done, deliveries),
        *_extends_after_settle(deliveries),
        *_started_without_lease(history, by_count),
        *_too_much_in_work(history, deliveries, by_count),
        *_out_of_order(history, done),
        *_two_of_a_group(history),
    ]
    return report


def _unexplained(history: History, done: Sequence[Handling], deliveries: Mapping[str, Delivery]) -> Iterable[str]:
    """Something that was injected must lie between a success and the next run, and concern that delivery."""
    by_id: dict[str, list[Handling]] = defaultdict(list)
    for handling in done:
        by_id[handling.id].append(handling)
    for id, handlings in by_id.items():
        handlings.sort(key=lambda one: one.begin)
        for first, second in itertools.pairwise(handlings):
            if id not in history.excused and not _cause(history, deliveries, first, second):
                yield f"{id} succeeded at receive {first.count} in {first.who} and at {second.count} in {second.who}"


def _cause(history: History, deliveries: Mapping[str, Delivery], first: Handling, second: Handling) -> str:
    for one in history.interruptions:
        # A stop works on: what happens in the lease after it may be its doing.
        until = one.end + (history.lease if one.kind == "stop" else 0.0)
        if one.who in (first.who, second.who) and one.begin <= second.begin and until >= first.begin:
            return one.kind
    for delivery in deliveries.values():
        between = delivery.id == first.id and first.count <= delivery.count <= second.count
        if between and (delivery.faulty or any(step.faulty for step in delivery.steps)):
            return "fault"
    return ""


def _deletes_before_success(done: Sequence[Handling], deliveries: Mapping[str, Delivery]) -> Iterable[str]:
    first: dict[str, float] = {}
    for handling in done:
        end = math.inf if handling.end is None else handling.end
        first[handling.id] = min(end, first.get(handling.id, math.inf))
    for delivery in deliveries.values():
        for step in delivery.steps:
            if step.verb == "delete" and step.arrived < first.get(delivery.id, math.inf):
                yield f"{delivery.id} was deleted at {step.arrived:.3f} before any success"


def _extends_after_settle(deliveries: Mapping[str, Delivery]) -> Iterable[str]:
    for delivery in deliveries.values():
        for settle in (step for step in delivery.steps if step.verb != "extend"):
            for step in delivery.steps:
                under_way = settle.arrived < step.arrived < settle.answered
                too_late = settle.confirmed and step.arrived > settle.arrived
                if step.verb == "extend" and (under_way or too_late):
                    yield f"{delivery.id} was extended at {step.arrived:.3f} after its {settle.verb}"


def _started_without_lease(history: History, by_count: Mapping[tuple[str, int], Delivery]) -> Iterable[str]:
    for handling in history.handlings:
        delivery = by_count.get((handling.id, handling.count))
        if delivery is None:
            yield f"{handling.id} was handled at receive {handling.count}, which never was"
            continue
        end = delivery.taken + delivery.lease
        for step in delivery.steps:
            if step.verb == "extend" and step.applied and step.arrived < handling.begin:
                end = step.answered + delivery.lease
        blind = history.blind if history.stood_still(handling.who, delivery.taken, handling.begin) else 0.0
        if handling.begin > end + SLACK + blind:
            yield f"{handling.id} was started {handling.begin - end:.3f} s after its lease ended"


def _too_much_in_work(
    history: History, deliveries: Mapping[str, Delivery], by_count: Mapping[tuple[str, int], Delivery]
) -> Iterable[str]:
    """A receive asks for no more than there are free slots; and what is held is bounded."""
    ends = {(one.id, one.count): one for one in history.handlings}
    freed: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for (id, count), delivery in by_count.items():
        if not delivery.arrived:
            continue
        settled = min(
            (s.arrived for s in delivery.steps if s.verb != "extend"), default=delivery.lease_end(as_told=True)
        )
        handling = ends.get((id, count))
        # Never started: it held its slot until it was given back, and the request for that was a moment under way.
        free = settled - 1.0 if handling is None else math.inf if handling.end is None else handling.end
        freed[delivery.who, delivery.queue].append((delivery.taken, free, settled))
    receives: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for entry in history.log:
        if entry.operation == "ReceiveMessage":
            receives[entry.who, entry.queue].append(entry)
    for place, entries in receives.items():
        for entry in entries:
            at, others = entry.arrived, [one for one in entries if one is not entry and _is_open(one, entry.arrived)]
            in_work = sum(taken <= at - SLACK and free > at + SLACK for taken, free, _ in freed[place])
            held = sum(taken < at < settled for taken, _, settled in freed[place])
            asked = sum(one.request.get("MaxNumberOfMessages", 1) for one in (entry, *others))
            if in_work + asked > history.concurrency:
                yield f"{entry.who} asked for {asked} at {at:.3f} with {in_work} in work"
            if held > history.concurrency + max(ACK_BOUND, history.concurrency):
                yield f"{entry.who} held {held} at {at:.3f}"


def _is_open(entry: Any, at: float) -> bool:
    return entry.arrived <= at < (math.inf if entry.answered is None else entry.answered)


def _out_of_order(history: History, done: Sequence[Handling]) -> Iterable[str]:
    first = {}
    for handling in sorted(done, key=lambda one: one.begin):
        first.setdefault(handling.id, handling.begin)
    latest: dict[str, tuple[float, str]] = {}
    for id, group in history.sent.items():
        if group and id in first:
            before = latest.get(group, (-math.inf, ""))
            if first[id] < before[0]:
                yield f"group {group}: {id} was done before {before[1]}, which was sent earlier"
            latest[group] = max(before, (first[id], id))


def _two_of_a_group(history: History) -> Iterable[str]:
    groups: dict[str, list[Handling]] = defaultdict(list)
    for handling in history.handlings:
        if handling.group:
            groups[handling.group].append(handling)
    for group, handlings in groups.items():
        handlings.sort(key=lambda one: one.begin)
        for one, after in itertools.pairwise(handlings):
            end = math.inf if one.end is None else one.end
            # One that stood still could not know that its lease was over.
            if after.begin < end and not history.stood_still(one.who, one.begin, end):
                yield f"group {group}: {after.id} began while {one.id} was in work"
