"""The checker accepts a history that keeps the promises, and names what is wrong with one that does not."""

from __future__ import annotations

import dataclasses

import pytest
from torture.checker import check, total_queue
from torture.fake_sqs import Entry
from torture.history import Handling, History, Interruption

LEASE = 10.0


class Story:
    """A history, told step by step: at which second who did what."""

    def __init__(self, *ids: str, concurrency: int = 10) -> None:
        self.log: list[Entry] = []
        self.handlings: list[Handling] = []
        self.more = {"sent": dict.fromkeys(ids, ""), "lease": LEASE, "concurrency": concurrency}

    def receives(self, at, *ids, who="p1", count=1, limit=10, **facts):
        messages = [
            {"MessageId": id, "ReceiptHandle": f"{id}/{count}", "Attributes": {"ApproximateReceiveCount": str(count)}}
            for id in ids
        ]
        request = {"MaxNumberOfMessages": limit, "VisibilityTimeout": LEASE}
        self._ask(at, who, "ReceiveMessage", request, {"Messages": messages}, facts)

    def settles(self, at, verb, *handles, who="p1", **facts):
        seconds = {"delete": {}, "extend": {"VisibilityTimeout": LEASE}, "release": {"VisibilityTimeout": 0}}
        seconds["nack"] = {"VisibilityTimeout": 3}
        operation = "DeleteMessageBatch" if verb == "delete" else "ChangeMessageVisibilityBatch"
        entries = [{"Id": str(n), "ReceiptHandle": one, **seconds[verb]} for n, one in enumerate(handles)]
        answer = {"Successful": [{"Id": entry["Id"]} for entry in entries]}
        self._ask(at, who, operation, {"Entries": entries}, answer, facts)

    def _ask(self, at, who, operation, request, answer, facts):
        known = {"applied": at, "status": 200, "answer": answer, "answered": at, "delivered": True}
        self.log.append(dataclasses.replace(Entry(at, who, operation, "q", request), **(known | facts)))

    def handles(self, begin, end, id, outcome="ok", who="p1", count=1, group=""):
        self.handlings.append(Handling(who, id, count, group, begin, end, outcome))

    def report(self, **more):
        return check(History(self.log, self.handlings, **(self.more | more)))


def told(*ids, count=1, at=0.0, who="p1") -> Story:
    """Received, handled, deleted."""
    story = Story(*ids)
    deal(story, *ids, count=count, at=at, who=who)
    return story


def deal(story, *ids, count=1, at=0.0, who="p1"):
    story.receives(at, *ids, count=count, who=who)
    for id in ids:
        story.handles(at + 1, at + 2, id, count=count, who=who)
    story.settles(at + 3, "delete", *(f"{id}/{count}" for id in ids), who=who)


def test_a_history_in_which_all_is_well_passes():
    report = told("a", "b", "c").report()

    assert report.ok, report
    assert (report.sent, report.handled, str(report).count("\n")) == (3, 3, 0)


def test_the_multisets_are_those_of_jepsens_total_queue():
    report = total_queue(attempted="aabcd", enqueued="aab", dequeued="aaabcx")

    assert dict(report.lost) == {}
    assert dict(report.unexpected) == {"x": 1}
    assert dict(report.duplicated) == {"a": 1}
    assert dict(report.recovered) == {"c": 1}
    assert dict(total_queue("ab", "ab", "a").lost) == {"b": 1}


def test_a_message_that_nobody_handled_is_lost_unless_it_is_dead_lettered_or_still_there():
    story = told("a")
    story.more["sent"]["b"] = ""

    assert list(story.report().lost) == ["b"]
    assert not story.report().ok
    assert story.report(dead=["b"]).ok
    assert story.report(left=["b"]).ok


def test_a_message_that_was_never_sent_is_unexpected():
    story = told("a")
    story.more["sent"] = {}

    assert not story.report().ok
    assert list(story.report().unexpected) == ["a"]


@pytest.mark.parametrize("outcome", ["raised", "cancelled", "killed"])
def test_a_delete_needs_a_success_that_ended_before_it(outcome):
    early, failed = told("a"), told("a")
    early.handlings = [early.handlings[0]._replace(end=3.5)]
    failed.handlings = [failed.handlings[0]._replace(outcome=outcome)]

    for story in (early, failed):
        assert "before any success" in str(story.report())


def twice() -> Story:
    story = told("a")
    deal(story, "a", at=20, count=2, who="p2")
    return story


@pytest.mark.parametrize(
    ("kind", "who", "begin", "end", "explains"),
    [
        ("kill", "p1", 2.5, 2.5, True),
        ("kill", "p3", 2.5, 2.5, False),
        ("kill", "p1", 30, 30, False),
        ("stop", "p1", 2.5, 15, True),
        ("stop", "p1", -9.5, -8.5, True),
        ("stop", "p1", -20, -10, False),
    ],
)
def test_a_second_success_needs_something_that_was_done_to_its_process(kind, who, begin, end, explains):
    report = twice().report(interruptions=[Interruption(kind, who, begin, end)])

    assert report.duplicated == {"a": 1}
    assert bool(report.unexplained) is not explains
    assert report.ok is explains


def test_a_second_success_is_explained_by_a_fault_of_its_own_requests_or_by_the_story():
    plain, faulty = twice(), twice()
    faulty.log[1].fault = "Reset after_apply"

    assert faulty.report().ok
    assert not plain.report().ok
    assert plain.report(excused=["a"]).ok


def test_no_extend_is_sent_while_a_settlement_is_under_way_or_once_it_is_confirmed():
    after, during, between = told("a"), Story("a"), Story("a")
    after.settles(3.5, "extend", "a/1")
    for story, facts in ((during, {"answered": 4.0}), (between, {"fault": "Reset before", "delivered": False})):
        story.receives(0, "a")
        story.handles(1, 2, "a")
        story.settles(3, "delete", "a/1", **facts)
        story.settles(3.5, "extend", "a/1")
        story.settles(5, "delete", "a/1")

    assert "extended at 3.500 after its delete" in str(after.report())
    assert "extended at 3.500" in str(during.report())
    assert between.report().ok, between.report()


def test_no_handler_starts_on_a_lease_that_ended():
    late, extended = Story("a"), Story("a")
    for story in (late, extended):
        story.receives(0, "a")
    extended.settles(9, "extend", "a/1")
    for story in (late, extended):
        story.handles(11, 12, "a")
        story.settles(13, "delete", "a/1")

    assert "started 1.000 s after its lease ended" in str(late.report())
    stop = Interruption("stop", "p1", 5, 11)
    assert not late.report(interruptions=[stop]).ok
    assert late.report(interruptions=[stop], blind=1.0).ok
    assert extended.report().ok


def test_a_receive_asks_for_no_more_than_there_are_free_slots():
    story = Story("a", "b", concurrency=2)
    story.receives(0, "a", limit=2)
    story.handles(0, 5, "a")
    story.receives(2, "b", limit=1)
    story.handles(2, 5, "b")
    assert not story.report().broken

    story.receives(4, limit=1)
    assert "asked for 1 at 4.000 with 2 in work" in str(story.report())


def test_what_was_let_go_unstarted_holds_no_slot_although_the_server_extended_it_unheard():
    story = Story("a", "b", concurrency=1)
    story.receives(0, "a", limit=1)
    story.settles(LEASE, "extend", "a/1", delivered=False)
    story.receives(LEASE + 1, "b", limit=1)
    assert not story.report().broken

    story.settles(LEASE - 1, "extend", "a/1")
    assert f"asked for 1 at {LEASE + 1:.3f} with 1 in work" in str(story.report())


def test_two_open_receives_share_the_free_slots():
    story = Story(concurrency=10)
    story.receives(0, limit=6, answered=5.0)
    story.receives(1, limit=4, answered=5.0)
    assert story.report().ok
    story.receives(2, limit=1, answered=5.0)
    assert "asked for 11 at 2.000" in str(story.report())


def test_what_is_held_without_being_settled_is_bounded():
    story = Story(*map(str, range(120)))
    for number in range(12):
        ids = [str(number * 10 + place) for place in range(10)]
        story.receives(number / 10, *ids)
        for id in ids:
            story.handles(number / 10, number / 10 + 0.01, id)
    assert "p1 held" not in str(story.report())
    story.receives(2)
    assert "p1 held 120 at 2.000" in str(story.report())


def of_groups(**groups) -> Story:
    story = Story()
    story.more["sent"] = groups
    return story


def test_first_successes_of_a_group_are_in_the_order_of_sending():
    story = of_groups(a="g", x="h", b="g")
    for begin, id in ((1, "b"), (2, "x"), (3, "a")):
        story.receives(begin, id)
        story.handles(begin, begin + 0.5, id, group=story.more["sent"][id])

    assert "group g: b was done before a" in str(story.report())
    assert "group h" not in str(story.report())


def test_two_of_a_group_are_never_in_work_at_once_but_for_a_process_that_stood_still():
    story = of_groups(a="g", b="g")
    story.receives(0, "a", "b")
    story.handles(1, 5, "a", group="g")
    story.handles(3, 4, "b", group="g", who="p2")

    assert "b began while a was in work" in str(story.report())
    assert story.report(interruptions=[Interruption("stop", "p1", 2, 4)]).ok


def test_a_handling_belongs_to_a_receive():
    story = told("a")
    story.handles(5, 6, "a", "raised", count=7)

    assert "which never was" in str(story.report())
