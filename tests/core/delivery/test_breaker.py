"""The breaker opens when what handlers need is down, probes with growing pauses, and closes on success."""

from __future__ import annotations

import pytest

from loafer_core import ProviderError, Throttled, TranslationError, Unavailable
from loafer_core.delivery.breaker import PROBE_CAP, PROBE_FIRST, CircuitBreaker

DOWN = ConnectionError()


@pytest.fixture
def breaker():
    return CircuitBreaker(failures=3, window=60)


@pytest.fixture
def opened(breaker):
    """It opened at 100 and may be probed from 105."""
    for _ in range(3):
        breaker.record(DOWN, 100)
    return breaker


@pytest.mark.parametrize("error", [ConnectionError(), TimeoutError(), OSError(), Unavailable()])
def test_it_opens_after_so_many_failures_that_are_not_the_messages_own(error, breaker):
    assert [breaker.record(error, now) for now in (0, 1, 2)] == [False, False, True]
    assert breaker.is_open
    assert breaker.retry_at == 2 + PROBE_FIRST


@pytest.mark.parametrize(
    "error", [None, ValueError(), KeyError(), TypeError(), TranslationError(), ProviderError(), Throttled()]
)
def test_it_does_not_care_for_successes_and_the_messages_own_failures(error, breaker):
    assert not any(breaker.record(error, 0) for _ in range(10))
    assert not breaker.is_open


def test_failures_count_within_the_window_only(breaker):
    assert [breaker.record(DOWN, now) for now in (0, 30, 61)] == [False, False, False]
    assert breaker.record(DOWN, 90)


def test_the_edge_belongs_to_the_window(breaker):
    assert [breaker.record(DOWN, now) for now in (0, 0, 60)] == [False, False, True]


def test_one_failure_opens_a_breaker_that_tolerates_none():
    assert CircuitBreaker(failures=1, window=1).record(DOWN, 0)


def test_what_was_in_work_when_it_opened_changes_nothing(opened):
    for error in (DOWN, None, ValueError()):
        assert opened.record(error, 104.9) is False
    assert opened.is_open
    assert opened.retry_at == 105


def test_each_probe_that_fails_doubles_the_pause_up_to_the_cap(opened):
    now, pauses = opened.retry_at, []
    for _ in range(6):
        assert opened.record(DOWN, now) is False
        pauses.append(opened.retry_at - now)
        now = opened.retry_at
    assert pauses == [10, 20, 40, PROBE_CAP, PROBE_CAP, PROBE_CAP]


def test_a_probe_that_succeeds_closes_it(opened):
    assert opened.record(None, 105) is True
    assert not opened.is_open


def test_a_probe_that_fails_for_its_own_reasons_proves_nothing_and_the_next_may_follow_at_once(opened):
    assert opened.record(ValueError(), 105) is False
    assert opened.is_open
    assert opened.retry_at == 105


def test_after_closing_it_counts_from_none_and_pauses_from_the_first_again(opened):
    opened.record(DOWN, 105)
    opened.record(None, 115)

    assert [opened.record(DOWN, now) for now in (116, 117, 118)] == [False, False, True]
    assert opened.retry_at == 118 + PROBE_FIRST
