"""Outcomes by themselves: what they refuse, what carries them, what stands for them."""

from __future__ import annotations

import math

import pytest

from loafer_core import Ack, DeleteMessage, Nack, OutcomeError, Reject, Settle
from loafer_core.api.outcomes import described, read, settled_by


@pytest.mark.parametrize("delay", [0, 0.5, 43_200, None])
def test_a_nack_takes_seconds_from_zero_up_or_leaves_them_to_the_route(delay):
    assert Nack(delay=delay).delay == delay


@pytest.mark.parametrize("delay", [-1, math.inf, math.nan])
def test_a_nack_refuses_what_is_no_length_of_time(delay):
    with pytest.raises(ValueError, match=r"Nack\(delay=.*\): seconds, from 0 up"):
        Nack(delay=delay)


def test_outcomes_are_equal_by_what_they_say():
    assert Ack() == Ack()
    assert Nack(3) != Nack(4)
    assert len({Reject("a"), Reject("a"), Ack()}) == 2


@pytest.mark.parametrize(
    ("wrong", "words"), [(Nack, "the class 'Nack'"), (True, "a value of type 'bool'"), (None, "None")]
)
def test_settle_refuses_what_is_no_outcome_where_it_is_written(wrong, words):
    with pytest.raises(TypeError, match=rf"Settle takes an outcome such as Nack\(\), not {words}"):
        Settle(wrong)


def test_delete_message_is_a_settled_ack():
    assert DeleteMessage().outcome == Ack()
    assert isinstance(DeleteMessage(), Settle)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DeleteMessage(), Ack()),
        (Settle(Nack(2)), Nack(2)),
        (ExceptionGroup("g", [DeleteMessage(), Settle(Ack())]), Ack()),
        (ExceptionGroup("g", [ExceptionGroup("h", [Settle(Nack(2))])]), Nack(2)),
        (ExceptionGroup("g", [DeleteMessage(), Settle(Nack())]), None),
        (ExceptionGroup("g", [DeleteMessage(), ValueError()]), None),
        (BaseExceptionGroup("g", [DeleteMessage(), SystemExit()]), None),
        (ValueError(), None),
    ],
)
def test_an_error_settles_when_all_that_is_in_it_agrees(error, outcome):
    assert settled_by(error) == outcome


@pytest.mark.parametrize("returns", ["lenient", "strict", "truthy"])
def test_a_class_in_place_of_an_outcome_says_how_it_is_written(returns):
    with pytest.raises(OutcomeError) as caught:
        read(Nack, returns, "shop:handle")
    assert str(caught.value) == (
        "handler shop:handle returned the class 'Nack', and no work is done by that. "
        "Documented are None, True, False, Ack(), Nack() and Reject()."
    )


def test_some_other_class_is_odd_but_no_worse_than_any_other_value():
    assert read(dict, "lenient", "shop:handle") is None


def test_a_value_is_described_without_what_is_in_it():
    assert described("4111-1111") == "a value of type 'str'"
