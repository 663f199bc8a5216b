"""The account of a route adds up."""

from __future__ import annotations

import pytest

from loafer_core.observability.account import DISPOSITIONS, Account


def test_what_is_open_is_what_was_received_and_not_settled_in_one_of_seven_ways():
    account = Account(received=9)
    for word in DISPOSITIONS:
        account.add(word)

    assert len(DISPOSITIONS) == 7
    assert account.settled == 7
    assert account.open == 2


def test_what_is_counted_beside_the_words_settles_nothing():
    assert Account(received=1, known=1, odd_returns=1).open == 1


@pytest.mark.parametrize(
    ("account", "text"),
    [
        (Account(), "0 received"),
        (Account(received=3, acked=2, nacked=1), "3 received = 2 acked + 1 nacked"),
        (Account(received=2, acked=1, ack_lost=1, known=1), "2 received = 1 acked + 1 ack_lost (of which 1 known)"),
    ],
)
def test_an_account_reads_as_a_sum(account, text):
    assert str(account) == text
