"""The ledger knows what was finished lately, and forgets in number and in age."""

from __future__ import annotations

import pytest

from loafer_core import Message
from loafer_core.delivery.ledger import AGE, MOST, Ledger


@pytest.fixture
def ledger():
    return Ledger()


def message(id):
    return Message(id, "")


def test_it_knows_a_finished_message_by_its_id_whatever_the_delivery(ledger):
    ledger.remember(message("a"), 0)

    assert ledger.knows(message("a"), 1)
    assert not ledger.knows(message("b"), 1)


def test_it_forgets_what_is_too_old_for_good(ledger):
    ledger.remember(message("a"), 0)

    assert ledger.knows(message("a"), AGE)
    assert not ledger.knows(message("a"), AGE + 1)
    assert not ledger.knows(message("a"), 0)


def test_finishing_again_starts_the_age_anew(ledger):
    ledger.remember(message("a"), 0)
    ledger.remember(message("a"), 500)

    assert ledger.knows(message("a"), 500 + AGE)


def test_being_asked_for_does_not_make_anything_younger(ledger):
    ledger.remember(message("a"), 0)
    assert ledger.knows(message("a"), AGE - 1)
    assert not ledger.knows(message("a"), AGE + 1)


def test_it_holds_so_many_and_forgets_the_oldest_first(ledger):
    for number in range(MOST):
        ledger.remember(message(str(number)), 0)
    ledger.remember(message("0"), 1)
    ledger.remember(message("new"), 1)

    assert ledger.knows(message("0"), 1)
    assert not ledger.knows(message("1"), 1)
    assert ledger.knows(message("2"), 1)
    assert ledger.knows(message("new"), 1)
