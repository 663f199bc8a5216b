"""What the pages on delivery and tuning say in figures and ids is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loafer_core import Retry

MAKEFILE = Path(__file__).parents[2] / "Makefile"


def cases(cell: str) -> list[str]:
    """T01 to T04, T09: each of them."""
    found = [re.findall(r"T(\d\d)", part) for part in cell.split(",")]
    return [f"T{number:02}" for ends in found for number in range(int(ends[0]), int(ends[-1]) + 1)]


def test_every_promise_is_proved_by_cases_of_the_matrix(pages):
    rows = re.findall(r"^\| (C\d+) \|.*\| ([^|]*) \|$", pages["docs/explanation/delivery.md"].text, re.MULTILINE)
    known = set(re.findall(r"^\| (T\d\d) \|", pages["docs/reference/fault-matrix.md"].text, re.MULTILINE))
    proved = {case for _, cell in rows for case in cases(cell)} & known

    assert [promise for promise, _ in rows] == [f"C{number}" for number in range(1, 11)]
    assert all(set(cases(cell)) & known for _, cell in rows)
    assert sorted(known - proved) == []


@pytest.mark.parametrize("count", [3, 5, 10])
def test_the_time_until_a_message_is_dead_lettered_is_that_of_the_default_retry(count, pages):
    [said] = re.findall(rf"^\| {count} \| ([\d.]+) to ([\d.]+) minutes \|$", pages["docs/howto/tuning.md"].text, re.M)
    longest = sum(Retry().span(tries, lease=30.0, ordered=False) for tries in range(1, count + 1)) / 60

    assert [float(minutes) for minutes in said] == [longest / 2, longest]


def test_the_commands_that_the_pages_name_are_there(pages):
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE.read_text(), re.MULTILINE))
    for name in ("delivery", "numbers"):
        named = set(re.findall(r"`make ([a-z-]+)", pages[f"docs/explanation/{name}.md"].text))
        assert named
        assert named <= targets
