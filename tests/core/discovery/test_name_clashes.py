"""Plugins that could be taken for others: said by ``check`` and ``plugins list``, never a reason to stop."""

from __future__ import annotations

import pytest

from loafer_core.cli import _COMMANDS
from loafer_core.discovery.loader import load
from loafer_core.discovery.name_clashes import OWN_COMMANDS, are_near

PLUGIN = """
from loafer_core import CommandSpec, ProviderSpec, hookimpl
LOAFER_API = 1

@hookimpl
def loafer_providers():
    return [ProviderSpec(name="tape", summary="A tape", factory=print)]
"""
COMMAND = """
from loafer_core import CommandSpec, hookimpl
LOAFER_API = 1

@hookimpl
def loafer_commands():
    return [CommandSpec(name="run", summary="Another run", factory=print)]
"""


def warnings(**switches) -> dict[str, tuple[str, ...]]:
    loaded = load(env={}, **switches)
    said = {plugin.owner: plugin.warnings for plugin in loaded.plugins if plugin.warnings}
    found = [(finding.where, finding.message, finding.level) for finding in loaded.findings]
    assert found == [(owner, text, "warning") for owner, texts in said.items() for text in texts]
    return said


@pytest.mark.parametrize(
    ("name", "is_near"),
    [
        ("loafer-sqss", True),
        ("loafer-sq", True),
        ("loafersqs", True),
        ("loafer-sns", True),
        ("laofer-sqs", True),
        ("loafer-qss", True),
        ("oafer-sqs", True),
        ("loafer-sqs", False),
        ("loafer-sqs-extra", False),
        ("loafer-tape", False),
        ("", False),
    ],
)
def test_a_name_is_near_when_one_slip_of_the_finger_makes_it_the_other(name, is_near):
    assert are_near(name, "loafer-sqs") is are_near("loafer-sqs", name) is is_near


def test_a_distribution_with_almost_the_name_of_a_well_known_one_is_warned_of(install):
    install("loafer-jsom", "LOAFER_API = 1", point="jsom")

    assert warnings() == {
        "loafer-jsom/jsom": (
            "its distribution is called almost like 'loafer-json'; make sure that it is the one you want",
        )
    }


def test_who_is_named_in_full_in_only_is_the_one_that_was_wanted(install):
    install("loafer-jsom", "LOAFER_API = 1", point="jsom")

    assert warnings(only=["loafer-jsom/jsom"]) == {}


def test_two_distributions_that_offer_one_name_are_told_of_each_other(install):
    install("loafer-tape", PLUGIN, point="tape")
    install("acme-tapes", PLUGIN, point="acme")

    assert warnings() == {
        "acme-tapes/acme": ("loafer-tape/tape offers a provider 'tape', too; write 'acme-tapes/tape' for this one",),
        "loafer-tape/tape": ("acme-tapes/acme offers a provider 'tape', too; write 'loafer-tape/tape' for this one",),
    }


def test_who_is_switched_off_is_taken_for_nobody(install):
    install("loafer-tape", PLUGIN, point="tape")
    install("acme-tapes", PLUGIN, point="tape")

    assert warnings(disable=["acme-tapes/tape"]) == {}


def test_a_command_of_the_cores_name_is_warned_of(install):
    install("acme-tapes", COMMAND, point="acme")

    assert warnings() == {"acme-tapes/acme": ("'run' is the core's command; write 'acme-tapes/run' for this one",)}


def test_the_cores_commands_are_those_of_the_command_line():
    assert set(OWN_COMMANDS) == set(_COMMANDS)
