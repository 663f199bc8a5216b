"""What made a message come again is told by what was done between its two runs, and to whom."""

from __future__ import annotations

import dataclasses

import pytest
from torture.causes import UNKNOWN, causes
from torture.fake_sqs import Entry
from torture.history import Handling, History, Interruption


def ask(at, operation, request, answer, fault=""):
    entry = Entry(at, "p1", operation, "q", request)
    return dataclasses.replace(entry, applied=at, status=200, answer=answer, answered=at, delivered=True, fault=fault)


def history(*interruptions, receive="", delete=""):
    """One message that p1 handled well at its first receive, and again at its second."""
    log = []
    for count, at in ((1, 0.0), (2, 20.0)):
        handle = f"m/{count}"
        found = {"MessageId": "m", "ReceiptHandle": handle, "Attributes": {"ApproximateReceiveCount": str(count)}}
        log.append(ask(at, "ReceiveMessage", {}, {"Messages": [found]}, receive))
        entries = [{"Id": "0", "ReceiptHandle": handle}]
        log.append(ask(at + 3, "DeleteMessageBatch", {"Entries": entries}, {"Successful": [{"Id": "0"}]}, delete))
    runs = [Handling("p1", "m", count, "", at + 1, at + 2, "ok") for count, at in ((1, 0.0), (2, 20.0))]
    return History(log, runs, {"m": ""}, lease=10.0, concurrency=10, interruptions=interruptions)


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (history(Interruption("kill", "p1", 3, 3)), "SIGKILL"),
        (history(Interruption("stop", "p1", 3, 15)), "SIGSTOP"),
        (history(receive="Twice before"), "delivered twice"),
        (history(delete="Reset after_apply"), "request failed"),
        (history(Interruption("kill", "p2", 3, 3)), UNKNOWN),
        (history(Interruption("kill", "p1", 30, 30)), UNKNOWN),
        (history(), UNKNOWN),
    ],
)
def test_a_second_success_has_the_cause_that_lies_between_the_two(told, cause):
    assert causes(told) == {cause: 1}


def test_a_run_that_failed_is_no_success_that_could_come_again():
    told = history()
    told.handlings = [told.handlings[0]._replace(outcome="raised"), told.handlings[1]]
    assert not causes(told)
