"""Those who watch see everything, cost nothing when absent, and harm nobody when they fail."""

from __future__ import annotations

import functools
import logging

import pytest

from loafer_core import ConfigError
from loafer_core.observability.observers import EVENTS, OFF_AFTER, Observers


class Counting:
    def __init__(self):
        self.samples = []

    def sample(self, snapshot):
        self.samples.append(snapshot)


class Everything:
    def __init__(self):
        self.seen = []
        for event in EVENTS:
            setattr(self, event, functools.partial(self._note, event))

    def _note(self, event, *args):
        self.seen.append((event, *args))


class Failing:
    def __init__(self, *errors):
        self.errors, self.called = list(errors), 0

    def message_done(self, *args):
        self.called += 1
        if (error := self.errors.pop(0)) is not None:
            raise error


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_that_nobody_listens_to_is_none(event):
    assert getattr(Observers(), event) is None
    assert (getattr(Observers([("counting", Counting())]), event) is None) == (event != "sample")


def test_an_observer_gets_each_event_with_its_arguments():
    watching = Everything()
    observers = Observers([("everything", watching)])

    observers.startup()
    observers.route_state("orders", "running")
    observers.message_done("orders", "message", "acked", 0.5, None)

    assert watching.seen == [
        ("startup",),
        ("route_state", "orders", "running"),
        ("message_done", "orders", "message", "acked", 0.5, None),
    ]


def test_each_of_several_observers_is_told_in_their_order():
    first, second = Everything(), Everything()
    second.seen = first.seen
    third = Counting()
    observers = Observers([("first", first), ("second", second), ("third", third)])

    observers.sample({"routes": {}})

    assert first.seen == [("sample", {"routes": {}})] * 2
    assert third.samples == [{"routes": {}}]


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt(), StopIteration()])
def test_t36_an_observer_that_raises_is_logged_by_name_and_hinders_nobody(error, caplog):
    other = Everything()
    observers = Observers([("statsd", Failing(error)), ("other", other)])

    observers.message_done("orders")

    assert other.seen == [("message_done", "orders")]
    (record,) = caplog.records
    assert record.message == f"observer statsd.message_done raised {type(error).__name__}"
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


def test_an_observer_that_fails_ten_times_in_a_row_is_switched_off_and_its_other_events_are_not(caplog):
    failing = Failing(*[ValueError()] * 20)
    failing.sample = (counting := Counting()).sample
    observers = Observers([("statsd", failing)])

    for _ in range(15):
        observers.message_done()
    observers.sample("snapshot")

    assert failing.called == OFF_AFTER == 10
    assert len(caplog.records) == 10
    assert caplog.messages[-1] == "observer statsd.message_done raised ValueError; it is switched off"
    assert [bool(record.exc_info) for record in caplog.records] == [True] + [False] * 9
    assert counting.samples == ["snapshot"]


def test_a_success_starts_the_count_anew():
    failing = Failing(*([ValueError()] * 9 + [None]) * 3)
    observers = Observers([("statsd", failing)])

    for _ in range(30):
        observers.message_done()

    assert failing.called == 30


class AsyncMethod:
    async def sample(self, snapshot): ...


class AsyncCallable:
    async def __call__(self, snapshot): ...


class Deaf:
    sample = "not a method"


def test_everything_that_is_wrong_with_observers_is_reported_at_once():
    by_call = Counting()
    by_call.sample = AsyncCallable()

    with pytest.raises(ConfigError) as caught:
        Observers([("statsd", AsyncMethod()), ("ok", Counting()), ("deaf", Deaf()), ("tracing", by_call)])

    one, two, three = caught.value.findings
    assert {finding.where for finding in caught.value.findings} == {"loafer.observers"}
    assert one.message == "statsd.sample is async; an observer's methods are plain functions that return at once"
    assert two.message.startswith("deaf has none of the events startup, shutdown, route_state, ")
    assert three.message.startswith("tracing.sample is async")
