"""What the Date of answers tells about when a message was handed out. The loop's clock is ours to set here."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loafer_sqs.aws.server_clock import KNOWN_FOR, ServerClock

EPOCH = 1_790_000_000.25
"""The server's clock when the loop's is zero."""


def date_at(loop_time: float, epoch: float = EPOCH) -> str:
    return formatdate(int(epoch + loop_time), usegmt=True)


@pytest.fixture
def clock() -> ServerClock:
    """It has seen three short exchanges."""
    clock = ServerClock()
    for sent in (10.0, 10.3, 10.6):
        clock.learn(date_at(sent + 0.01), sent, sent + 0.02)
    return clock


@pytest.mark.parametrize("written", [19.0, 19.3, 19.6, 19.7, 19.8, 19.9])
def test_an_answer_that_came_as_it_was_written_was_handed_out_just_now(clock, written):
    assert clock.handed_out(date_at(written), 12.0, written + 0.01) == written + 0.01


def test_an_answer_that_was_long_on_its_way_was_handed_out_when_it_was_written(clock):
    assert 13.0 < clock.handed_out(date_at(15.0), 12.0, 20.0) <= 15.0


def test_nothing_is_handed_out_before_it_was_asked_for(clock):
    assert clock.handed_out(date_at(12.0), 12.0, 20.0) >= 12.0
    assert clock.handed_out(date_at(-500.0), 12.0, 20.0) == 12.0


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Foo 2026 00:00:00 GMT", "Mon, 1 Jan 99999 0:0:0 GMT"])
def test_a_date_that_is_none_changes_nothing(clock, date):
    clock.learn(date, 12.0, 20.0)

    assert clock.handed_out(date, 12.0, 20.0) == 20.0
    assert clock.handed_out(date_at(15.0), 12.0, 20.0) < 20.0


def test_before_anything_was_learned_nothing_is_said():
    assert ServerClock().handed_out(date_at(15.0), 12.0, 20.0) == 20.0


def test_a_date_that_contradicts_what_is_known_teaches_anew_and_shortens_nothing(clock):
    jumped = EPOCH + 3600
    clock.learn(date_at(15.0, jumped), 14.0, 16.0)

    assert clock.handed_out(date_at(15.0, jumped), 14.0, 16.0) == 16.0
    assert clock.handed_out(date_at(17.0, jumped), 16.0, 30.0) < 20.0


def test_what_is_old_is_forgotten_so_that_drifting_clocks_contradict_nothing():
    clock, drifted = ServerClock(), EPOCH
    for number in range(2000):
        sent = number * 20.0
        drifted = EPOCH - sent * 1e-4
        clock.learn(date_at(sent + 0.01, drifted), sent, sent + 0.02)

    assert clock.handed_out(date_at(sent + 20, drifted), sent + 1, sent + 20) == sent + 20
    assert KNOWN_FOR * 2 * 1e-4 < 0.1


@pytest.mark.parametrize(("wall", "least"), [(EPOCH, 0.0), (EPOCH - 400, 399.0), (EPOCH + 400, -400.0)])
def test_the_difference_to_the_wall_clock_is_known_to_a_second(clock, wall, least):
    assert least <= clock.off_by(wall) <= least + 1.0


_waits = st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), min_size=1, max_size=20)


@settings(deadline=None)
@given(epoch=st.floats(1e9, 2e9), waits=_waits)
def test_a_lease_is_never_made_longer_and_never_begins_after_the_answer_was_written_but_for_its_second(epoch, waits):
    clock, now = ServerClock(), 0.0
    for before, after in waits:
        written, came = now + before, now + before + after
        date = date_at(written, epoch)
        clock.learn(date, now, came)
        handed_out = clock.handed_out(date, now, came)
        assert handed_out <= came
        assert handed_out == came or handed_out <= written + 1e-6
        now = came
