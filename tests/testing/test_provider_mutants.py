"""The provider contract is tested by mutants: for each check a provider that fails that one, and no other."""

from __future__ import annotations

import pathlib
import sys

import pytest

from loafer_core.testing import ProviderContract
from loafer_core.testing.kit.checks import checks_of

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # what is in contract_mutants/ is imported by that name

from contract_mutants import receiving, settling
from contract_mutants.reference import MUTANTS, Channel, Reference, provider_failures

EACH = [pytest.param(mutant, id, id=f"{id}-{mutant.__name__}") for id, mutants in MUTANTS.items() for mutant in mutants]


class OrderedReference(Reference):
    ordered = True


@pytest.mark.parametrize("provider", [Reference, OrderedReference, Channel])
def test_the_provider_that_the_mutants_vary_keeps_the_contract(provider):
    assert provider_failures(provider) == {}


@pytest.mark.parametrize(("mutant", "check"), EACH)
def test_a_mutant_fails_its_check_and_no_other(mutant, check):
    failed = provider_failures(mutant)
    assert list(failed) == [check], "\n".join(failed.values()) or f"nothing notices {mutant.__name__}"


def test_there_is_a_mutant_for_each_check_of_a_provider():
    assert all(mutant.__module__ in (receiving.__name__, settling.__name__) for mutant, _ in (p.values for p in EACH))
    ids = {check.case.id for check in checks_of(ProviderContract)}
    assert {id for id in ids if id[0] != "O"} == set(MUTANTS)
