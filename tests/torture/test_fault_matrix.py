"""Every case of the matrix of faults has a test with its id in its name, and the page says where."""

from __future__ import annotations

import pathlib
import re

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
IDS = [f"T{number:02}" for number in (*range(1, 39), *range(40, 55), *range(60, 70))]


@pytest.fixture(scope="module")
def tests() -> dict[str, set[str]]:
    """The files that have tests of an id."""
    found: dict[str, set[str]] = {}
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE):
            for number in re.findall(r"(?<=_)t(\d\d)(?=_)", name):
                place = path.relative_to(REPOSITORY / "tests").as_posix()
                found.setdefault(f"T{number}", set()).add(place)
    return found


@pytest.fixture(scope="module")
def page() -> dict[str, set[str]]:
    """The files that the page names for an id."""
    text = (REPOSITORY / "docs" / "reference" / "fault-matrix.md").read_text()
    rows = re.findall(r"^\| (T\d\d) \|.*\| ([^|]*) \|$", text, re.MULTILINE)
    assert [id for id, _ in rows] == IDS
    return {id: set(re.findall(r"`([^`]+)`", files)) for id, files in rows}


@pytest.mark.parametrize("id", IDS)
def test_a_case_is_proved_where_the_page_says(id, tests, page):
    assert tests.get(id), f"no test has {id.lower()} in its name"
    assert page[id] == tests[id]


def test_no_test_has_the_id_of_another_matrix(tests):
    assert sorted(tests) == IDS
