"""``make mutants`` runs them; here they are only held against the code, so that none of them rots."""

from __future__ import annotations

import ast

import pytest
from torture.mutations import MUTANTS, OUR_OWN, PACKAGES, THE_TEN, misfits


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_mutant_fits_the_code_and_its_test_is_there(mutant):
    assert list(misfits(mutant)) == []
    for patch in mutant.patches:
        package, _, name = patch.file.partition("/")
        ast.parse((PACKAGES[package] / name).read_text().replace(patch.old, patch.new))


def test_there_are_the_ten_that_must_be_there_and_more_of_our_own():
    assert len(THE_TEN) == 10
    assert len(OUR_OWN) >= 5
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
