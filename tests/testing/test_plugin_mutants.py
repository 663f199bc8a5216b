"""The plugin contract and the checks of options are tested by mutants: one change to a sound distribution each."""

from __future__ import annotations

import pathlib
import sys

import pytest

from loafer_core.testing import PluginContract, TranslatorContract
from loafer_core.testing.kit.checks import checks_of
from loafer_core.testing.kit.component_rig import Given

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # what is in contract_mutants/ is imported by that name

from contract_mutants.reference import failures

PLUGIN, LETTERS = "loafer_letters/plugin.py", "loafer_letters/letters.py"
METADATA, POINTS = "loafer_letters-1.0.dist-info/METADATA", "loafer_letters-1.0.dist-info/entry_points.txt"

OF_PLUGIN = [
    pytest.param("G1", {POINTS: ("[loafer]", "[loafers]")}, id="G1-no-entry-point"),
    pytest.param("G2", {PLUGIN: ("LOAFER_API", "import heavylib\nLOAFER_API")}, id="G2-imports-a-library"),
    pytest.param("G3", {PLUGIN: ("LOAFER_API = 1", "LOAFER_API = 2")}, id="G3-another-API"),
    pytest.param("G3", {PLUGIN: ("@hookimpl", "")}, id="G3-no-hookimpl"),
    pytest.param("G4", {PLUGIN: ('name="letters"', 'name="text"')}, id="G4-a-name-of-the-core's"),
    pytest.param("G5", {PLUGIN: (', description="In capitals"', "")}, id="G5-no-description"),
    pytest.param("G5", {PLUGIN: ("Field(80,", "Field(0,")}, id="G5-a-default-out-of-range"),
    pytest.param("G5", {PLUGIN: ("SecretStr |", "str |")}, id="G5-a-key-in-plain-text"),
    pytest.param("G6", {PLUGIN: ("def _letters(options)", "async def _letters(options)")}, id="G6-async"),
    pytest.param("G6", {PLUGIN: ("def _letters(options)", "def _letters(upper, most)")}, id="G6-two-parameters"),
    pytest.param("G6", {PLUGIN: ("return Letters(options)", "return Letters")}, id="G6-a-class"),
    pytest.param("G7", {"README.md": ("`most`", "`least`")}, id="G7-an-option-is-missing"),
    pytest.param(
        "G7", {"README.md": ("Options", "<!-- loafer plugins docs letters -->\nOptions")}, id="G7-not-current"
    ),
    pytest.param("G8", {"loafer_letters/py.typed": None}, id="G8-not-typed"),
    *(
        pytest.param("G8", {METADATA: ("loafer-core>=0.1\n", f"{needs}\n")}, id=f"G8-{why}")
        for why, needs in {
            "any-core": "loafer-core",
            "any-core-of-an-address": "loafer-core @ https://example.org/loafer_core-0.1-py3-none-any.whl",
            "any-core-but-one": "loafer-core!=0.1.3",
            "less-than": "loafer-core<0.2,>=0.1",
            "at-most": "loafer-core<=0.1.9,>=0.1",
            "exactly": "loafer-core==0.1.0",
            "exactly-this-minor": "loafer-core==0.1.*,>=0.1",
            "letter-for-letter": "loafer-core===0.1.0,>=0.1",
            "compatible-with": "loafer-core~=0.1.0,>=0.1",
            "less-than-on-some-Python": "loafer-core>=0.1\nRequires-Dist: Loafer_Core<1; python_version > '3'",
        }.items()
    ),
    pytest.param("G8", {METADATA: ("[testing];", "[testing]<0.2;")}, id="G8-less-than-in-an-extra"),
    pytest.param("G8", {METADATA: ("loafer-core>=0.1\n", "click>=8\n")}, id="G8-no-core"),
    pytest.param("G8", {METADATA: ("Summary: Letters\n", "")}, id="G8-no-summary"),
]
NO_LIMITS = "BeforeValidator(lambda value: value if isinstance(value, int) else 80)"
OF_OPTIONS = [
    pytest.param("O1", {LETTERS: ("def translate", "def transcribe")}, id="O1-no-translate"),
    pytest.param(
        "O2",
        {PLUGIN: ("most: int =", f"most: __import__('typing').Annotated[int, __import__('pydantic').{NO_LIMITS}] =")},
        id="O2-reads-anything",
    ),
    pytest.param("O3", {LETTERS: ("self.options =", "open(__file__).close(); self.options =")}, id="O3-opens-a-file"),
    pytest.param(
        "O3",
        {LETTERS: ("self.options =", "__import__('asyncio').get_running_loop(); self.options =")},
        id="O3-wants-a-loop",
    ),
    pytest.param("O4", {LETTERS: ('"<Letters>"', "self.options.api_key.get_secret_value()")}, id="O4-shows-its-key"),
]


class OfLetters(PluginContract):
    distribution = "loafer-letters"


class OfOptions(TranslatorContract):
    component = "letters"
    options = {"api_key": "contract-kit-secret"}


def plugin_failures(changes):
    # G1 and G2 ask processes of their own what the code does, half a second each; the metadata is nothing to them.
    return failures(OfLetters(), dict, but=("G1", "G2") if [*changes] == [METADATA] else ())


def option_failures():
    return failures(OfOptions(), lambda: Given(OfOptions.options), but=("T",))


def test_the_distribution_that_the_mutants_vary_keeps_the_contract(install_letters):
    install_letters({})
    assert failures(OfLetters(), dict) == {}
    assert option_failures() == {}


@pytest.mark.parametrize(("check", "changes"), OF_PLUGIN)
def test_a_mutant_of_the_distribution_fails_its_check_and_no_other(install_letters, check, changes):
    install_letters(changes)
    failed = plugin_failures(changes)
    assert list(failed) == [check], "\n".join(failed.values())


@pytest.mark.parametrize(("check", "changes"), OF_OPTIONS)
def test_a_mutant_of_the_options_fails_its_check_and_no_other(install_letters, check, changes):
    install_letters(changes)
    failed = option_failures()
    assert list(failed) == [check], "\n".join(failed.values())


@pytest.mark.parametrize(
    "needs",
    [
        "loafer-core>=0.1,!=0.1.3",
        "loafer-core>0.1",
        "Loafer_Core[uvloop]>=0.1",
        "loafer-core>=0.1; python_version < '4'",
        "loafer-core-extras<2\nRequires-Dist: loafer-core>=0.1",
    ],
)
def test_a_dependency_that_shuts_out_no_later_core_keeps_the_contract(install_letters, needs):
    changes = {METADATA: ("loafer-core>=0.1\n", f"{needs}\n")}
    install_letters(changes)
    assert plugin_failures(changes) == {}


@pytest.mark.parametrize(
    ("needs", "advice"),
    [
        ("loafer-core", "say which core is the oldest that it works with, such as 'loafer-core>=0.1'"),
        (
            "loafer-core~=0.1.0",
            "no later core could be installed beside it, though it may well work there. Say the oldest only",
        ),
    ],
)
def test_what_is_wrong_with_a_bound_is_told_with_what_to_write(install_letters, needs, advice):
    changes = {METADATA: ("loafer-core>=0.1\n", f"{needs}\n")}
    install_letters(changes)
    seen, unbroken = f"it depends on {needs!r}: {advice}", str.maketrans("", "", " \n")
    assert seen.translate(unbroken) in plugin_failures(changes)["G8"].translate(unbroken)


def test_there_is_a_mutant_for_each_check_of_a_plugin_and_of_options():
    ids = {check.case.id for contract in (PluginContract, TranslatorContract) for check in checks_of(contract)}
    assert {id for id in ids if id[0] != "T"} == {mutant.values[0] for mutant in (*OF_PLUGIN, *OF_OPTIONS)}
