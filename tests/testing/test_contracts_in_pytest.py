"""The contracts as plugin authors meet them: classes to inherit, in a pytest run of their own."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import loafer_core.testing as kit
from loafer_core.testing.kit.checks import checks_of

pytest_plugins = ["pytester"]

CONTRACTS = [getattr(kit, name) for name in kit.__all__ if name.endswith("Contract")]
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "contract-kit.md"

PROVIDER = """
import pytest
from loafer_core import MemoryQueue, Traits
from loafer_core.testing import ProviderContract, TranslatorContract, VirtualLoop

class Harness:
    def __init__(self):
        self.queue = MemoryQueue.named("queue", lease=5.0)
    def options(self):
        return {"queue": "queue"}
    async def publish(self, body, attributes=None, group=None):
        return self.queue.send(body, attributes, group)
    def settled(self, id):
        return all(message.id != id for message in self.queue.messages())
    async def close(self):
        MemoryQueue.forget_named()

class TestQueue(ProviderContract):
    component = "memory"
    loop_factory = VirtualLoop
    traits = Traits(
        lease=5.0, lease_total=43200.0, stable_ids=True, max_delay=43200.0, batch=10, linger=0.01, receives=4
    )

    @pytest.fixture
    def harness(self):
        return Harness()

class TestText(TranslatorContract):
    component = "text"
    good = ["text"]
    bad = ["this is read all the same"]
"""


@pytest.fixture
def run(pytester):
    """``run(source, *arguments)``: pytest in a process of its own, as in a fresh project."""

    def run(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_contract=source)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)

    return run


def test_the_summary_says_what_was_proved_and_which_abilities_were_missing(run):
    result = run(PROVIDER)

    said = [line for line in result.outlines if line.startswith("contract: ")]
    assert said[0].startswith("contract: TestQueue(memory): ")
    counts = re.search(r"(\d+) proved, (\d+) skipped \(no: (.*)\)", said[0])
    assert counts is not None
    assert int(counts[1]) > 45
    assert counts[3].split(", ") == ["audit", "fail_next", "missing", "order", "rejects", "secrets"]
    assert re.fullmatch(
        r"contract: TestText\(text\): 7 proved, 1 FAILED, 2 skipped \(no: falsy bodies, secrets\)", said[1]
    )


def test_a_failure_reads_as_advice_without_the_kits_own_traceback(run):
    result = run(PROVIDER, "-k", "t3")

    result.stdout.fnmatch_lines(
        [
            "T3 a bad body is a translation error that does not show it  [[]TestText(text)]",
            "  contract: What cannot be read is a TranslationError. *",
            "  seen:     a bad body was read: 'this is read all the same'",
            "  usually:  *",
        ]
    )
    result.stdout.no_fnmatch_line("*checks.py*")


def test_a_skipped_check_names_the_ability(run):
    result = run(PROVIDER, "-k", "p10 or p12", "-rs")

    result.stdout.fnmatch_lines(["SKIPPED*no: fail_next", "SKIPPED*no: missing"])


def test_with_workers_the_summary_needs_the_plugin_by_name(run):
    pytest.importorskip("xdist")
    result = run(PROVIDER, "-n", "1", "-p", "loafer_core.testing.summary", "-k", "p1_ or p2_")

    result.stdout.fnmatch_lines(["contract: TestQueue(memory): 2 proved"])


def test_a_component_of_the_projects_own_is_named_by_its_module(run):
    source = """
    from loafer_core import TranslationError, Translation
    from loafer_core.testing import TranslatorContract

    class Words:
        def translate(self, message):
            if isinstance(message.body, bytes):
                raise TranslationError("no text")
            return Translation(message.body.split())

    class TestWords(TranslatorContract):
        component = "test_contract:Words"
        good = ["two words"]
    """
    result = run(source)

    result.stdout.fnmatch_lines(["contract: TestWords(test_contract:Words): 6 proved, 4 skipped (no: *)"])


def test_an_imported_contract_is_no_test_itself(run):
    result = run("from loafer_core.testing import PluginContract, ProviderContract\ndef test_one(): pass")

    result.assert_outcomes(passed=1)
    assert not [line for line in result.outlines if "contract:" in line]


def test_the_testing_package_does_without_pytest_until_a_contract_is_wanted(pytester):
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from loafer_core.testing import ProviderHarness, deliver, run_virtual\n"
        "from loafer_core.testing import ProviderContract"
    )
    result = pytester.run(sys.executable, "-c", code)

    assert result.ret == 1
    assert "ProviderContract needs pytest: pip install 'loafer-core[testing]'" in result.stderr.lines[-1]


def test_every_check_is_on_its_page_with_what_it_proves():
    text = PAGE.read_text()
    on_page = dict(re.findall(r"^\| `([A-Z]\d+)` \| (.+?) \|$", text, re.MULTILINE))
    cases = {check.case.id: check.case.proves for contract in CONTRACTS for check in checks_of(contract)}
    assert on_page == cases


def test_every_id_is_given_once():
    names = {(check.case.id, check.__name__) for contract in CONTRACTS for check in checks_of(contract)}
    assert len({id for id, _ in names}) == len(names)
