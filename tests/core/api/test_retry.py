"""How long a nack hides a message: exponential, capped, and never near zero."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_core import Retry


def spans(retry, lease=None, ordered=False):
    return [retry.span(count, lease=lease, ordered=ordered) for count in range(1, 8)]


def test_the_delay_doubles_with_each_delivery_up_to_the_cap():
    assert spans(Retry(base=5, cap=60)) == [5, 10, 20, 40, 60, 60, 60]


@pytest.mark.parametrize(("lease", "base"), [(None, 30), (10, 30), (30, 30), (120, 120)])
def test_without_a_base_it_starts_at_the_lease_but_not_below_30_seconds(lease, base):
    assert spans(Retry(), lease)[:3] == [base, base * 2, base * 4]


def test_without_a_cap_it_ends_at_a_quarter_of_an_hour():
    assert spans(Retry())[-2:] == [900, 900]


def test_on_an_ordered_source_the_lease_is_the_cap_because_the_group_waits():
    assert spans(Retry(), 20, ordered=True) == [20] * 7
    assert spans(Retry(base=5), 20, ordered=True)[:3] == [5, 10, 20]
    assert spans(Retry(), None, ordered=True)[-1] == 900


def test_a_cap_of_the_users_own_holds_everywhere():
    assert spans(Retry(cap=7), 20, ordered=True) == [7] * 7
    assert spans(Retry(base=50, cap=7)) == [7] * 7


@given(
    count=st.integers(min_value=-1, max_value=10**9),
    base=st.none() | st.floats(min_value=0.001, max_value=1e6),
    cap=st.none() | st.floats(min_value=0.001, max_value=1e6),
    lease=st.none() | st.floats(min_value=0.1, max_value=43_200),
    ordered=st.booleans(),
    seed=st.integers(),
)
def test_jitter_takes_away_at_most_half_for_every_count_and_setting(count, base, cap, lease, ordered, seed):
    retry = Retry(base=base, cap=cap)
    span = retry.span(count, lease=lease, ordered=ordered)
    delay = retry.delay(count, lease=lease, ordered=ordered, rng=random.Random(seed))

    assert 0 < span / 2 <= delay <= span
    assert span <= (cap or max(900, lease or 0))


def test_jitter_spreads_over_the_upper_half():
    rng = random.Random(1)
    delays = [Retry(base=60).delay(1, lease=None, ordered=False, rng=rng) for _ in range(500)]
    assert min(delays) < 33
    assert max(delays) > 57
