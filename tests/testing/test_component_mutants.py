"""The other contracts are tested by mutants, too: each fails one check, and no other."""

from __future__ import annotations

import pathlib
import sys

import pytest

from loafer_core.testing.kit.checks import checks_of

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # what is in contract_mutants/ is imported by that name

from contract_mutants.components import CONTRACTS, MUTANTS, FarSide
from contract_mutants.reference import failures

EACH = [pytest.param(mutant, id, id=f"{id}-{mutant.__name__}") for id, mutants in MUTANTS.items() for mutant in mutants]


@pytest.mark.parametrize("kind", CONTRACTS)
def test_the_component_that_the_mutants_vary_keeps_its_contract(kind):
    assert failures(CONTRACTS[kind](), FarSide, but=("O",)) == {}


@pytest.mark.parametrize(("mutant", "check"), EACH)
def test_a_mutant_fails_its_check_and_no_other(mutant, check):
    contract = CONTRACTS[check[0]]()
    contract.made = mutant
    failed = failures(contract, FarSide, but=("O",))
    assert list(failed) == [check], "\n".join(failed.values()) or f"nothing notices {mutant.__name__}"


@pytest.mark.parametrize("kind", CONTRACTS)
def test_there_is_a_mutant_for_each_check(kind):
    ids = {check.case.id for check in checks_of(CONTRACTS[kind])}
    assert {id for id in ids if id[0] != "O"} == {id for id in MUTANTS if id[0] == kind}
