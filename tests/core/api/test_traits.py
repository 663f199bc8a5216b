"""Traits are checked when they are made: the core reckons with each of them, and never looks again."""

from __future__ import annotations

from math import inf, nan

import pytest

from loafer_core import ConfigError, Manager, MemoryProvider, Route, Traits
from loafer_core.api.provider import InvalidTraits

NO_NUMBERS = ("30", None, True, False, nan)


@pytest.mark.parametrize("lease", [0.001, 30, 43_200.0, None])
def test_a_lease_is_finite_seconds_more_than_0_or_none(lease):
    assert Traits(lease=lease).lease == lease


@pytest.mark.parametrize("lease", [0, -1, inf, "30", True, False, nan])
def test_another_lease_is_refused(lease):
    refused("lease", lease, "finite seconds, more than 0, or None")


@pytest.mark.parametrize("total", [30.0, 43_200, inf, None])
def test_a_lease_in_all_is_at_least_the_lease_or_none(total):
    assert Traits(lease=30.0, lease_total=total).lease_total == total


@pytest.mark.parametrize("total", [29.999, 0, -1, "60", True, nan])
def test_another_lease_in_all_is_refused(total):
    refused("lease_total", total, "seconds, at least lease = 30.0, or None", lease=30.0)


def test_a_lease_in_all_without_a_lease_is_refused():
    refused("lease_total", 60.0, "None, as lease is None")


@pytest.mark.parametrize("delay", [0, 0.0, 900, 43_200.0, inf])
def test_the_longest_delay_is_seconds_from_0_up_and_may_be_endless(delay):
    assert Traits(max_delay=delay).max_delay == delay


@pytest.mark.parametrize("delay", [-0.1, *NO_NUMBERS])
def test_another_longest_delay_is_refused(delay):
    refused("max_delay", delay, "seconds, from 0 up")


@pytest.mark.parametrize("linger", [0, 0.02, 5.0])
def test_lingering_is_finite_seconds_from_0_up(linger):
    assert Traits(linger=linger).linger == linger


@pytest.mark.parametrize("linger", [-0.1, inf, *NO_NUMBERS])
def test_other_lingering_is_refused(linger):
    refused("linger", linger, "finite seconds, from 0 up")


@pytest.mark.parametrize("name", ["batch", "receives"])
@pytest.mark.parametrize("count", [0, -1, 1.0, 2.5, inf, *NO_NUMBERS])
def test_a_count_that_is_no_whole_number_from_1_up_is_refused(name, count):
    assert getattr(Traits(**{name: 1}), name) == 1
    refused(name, count, "a whole number, from 1 up")


@pytest.mark.parametrize("name", ["ordered", "stable_ids", "rejects", "confirmed"])
@pytest.mark.parametrize("value", [0, 1, None, "yes"])
def test_a_yes_or_no_that_is_neither_is_refused(name, value):
    assert getattr(Traits(**{name: True}), name) is True
    refused(name, value, "True or False")


def refused(name, value, allowed, **others):
    with pytest.raises(ValueError, match=r"^Traits\(") as raised:
        Traits(**{name: value}, **others)
    assert str(raised.value) == f"Traits({name}={value!r}): {allowed}"
    assert isinstance(raised.value, InvalidTraits)


class OddProvider(MemoryProvider):
    def __init__(self):
        super().__init__()
        self.traits = Traits(batch=0)


async def test_a_provider_that_makes_wrong_traits_is_named_with_the_field_at_the_start():
    manager = Manager([Route("orders", provider=f"{__name__}:OddProvider", handler=print)])

    with pytest.raises(ConfigError) as raised:
        await manager.__aenter__()

    [finding] = raised.value.findings
    assert finding.where == "routes.orders.provider"
    assert finding.message == (
        f"{__name__}:OddProvider raised InvalidTraits: Traits(batch=0): a whole number, from 1 up"
    )
