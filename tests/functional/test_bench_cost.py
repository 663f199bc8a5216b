"""What a message costs in the core alone: the program that is counted, and what is made of the counts.

Nothing is counted here: in place of valgrind stands a script that says what it was told to say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the bench reads /proc", allow_module_level=True)

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # bench is not installed

from bench import cost  # noqa: E402
from bench.figures import Table  # noqa: E402
from bench.runner import Run  # noqa: E402
from bench.watch import Failed  # noqa: E402

VALGRIND = """#!/bin/sh
for word; do case $word in --log-file=*) log=${word#*=};; esac; done
case $PYTHONPATH in */other) count=100000;; *) count=105000;; esac
echo "==1== Collected : $((count + 1000 * BENCH_LAYOUT))" > "$log"
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""

NACKS_ONE = """
import loafer_core

route = loafer_core.Route

def with_another_handler(name, *, handler, **others):
    async def handle(payload, metadata):
        await handler(payload, metadata)
        return metadata["message_id"] != "message-7"

    return route(name, handler=handle, **others)

loafer_core.Route = with_another_handler
"""


def core_alone(*words: str, path: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-P", str(ROOT / "bench" / "consumers" / "core_alone.py"), "--messages", "50", *words]
    return subprocess.run(program, env={"PYTHONPATH": path}, capture_output=True, text=True, check=False)


def counts(**of_cores: Mapping[str, list[float]]) -> Table:
    """By core, case and round."""
    return Table(
        [
            Run(core, case, {"instructions": each}, round=number)
            for core, cases in of_cores.items()
            for case, values in cases.items()
            for number, each in enumerate(values)
        ]
    )


@pytest.fixture
def other(tmp_path) -> Path:
    """Another checkout, with the core of this one."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "loafer_core").symlink_to(ROOT / "loafer_core")
    return tmp_path / "other"


@pytest.fixture
def bench_cost(tmp_path):
    """Call the command; its valgrind finds 105 instructions a message here, 100 there, and one more each round."""
    for name, text in {"valgrind": VALGRIND, "callgrind_control": "#!/bin/sh\n"}.items():
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(text)
        script.chmod(0o755)

    def call(*words: str, path: str = f"{tmp_path / 'bin'}:/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench", "cost", "--rounds", "1", "async def", *words]
        environment = os.environ | {"PATH": path}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    return call


@pytest.mark.parametrize(("case", "extended"), [("async def", 0), ("plain def", 0), ("ordered", 0), ("held", 450)])
def test_the_core_alone_handles_every_message_once_in_each_case(case, extended):
    done = core_alone(*cost.CASES[case])
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {"core": str(ROOT), "handled": 450, "twice": 0, "acked": 450, "extended": extended}


def test_a_core_that_does_not_ack_a_message_is_not_cheap_but_wrong(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NACKS_ONE)
    done = core_alone(path=f"{tmp_path}:{ROOT}")
    assert done.returncode == 1
    assert "not every one of 450 messages was handled once and acked" in done.stderr
    assert json.loads(done.stdout)["acked"] == 449


def test_a_case_is_shown_with_its_median_and_how_far_its_counts_lie_apart():
    shown = cost.table(counts(here={"async def": [200_000, 201_000, 200_500]}), None)
    assert shown.splitlines()[-1] == "| async def | 200,500 | 0.50% |"


def test_two_cores_are_held_against_each_other_within_a_round():
    found = counts(here={"held": [103, 210, 330]}, there={"held": [100, 200, 300]})
    assert cost.table(found, "there").splitlines()[-1].endswith("| 1.050 (1.030 to 1.100) |")


def test_a_case_may_cost_as_much_as_is_allowed_and_is_named_beyond():
    found = counts(here={"held": [103], "ordered": [104]}, there={"held": [100], "ordered": [100]})
    assert cost.dearer(found, "there", 1.03) == ["ordered costs 1.040 times what it costs in there"]


@pytest.mark.parametrize(("most", "code"), [("1.04", 1), ("1.05", 0)])
def test_the_command_fails_where_the_core_costs_more_than_it_may(bench_cost, other, most, code):
    done = bench_cost("--against", str(other), "--most", most)
    assert done.returncode == code, done.stderr
    assert "| async def | 105 | 0.00% | 100 | 0.00% | 1.050 |" in done.stdout
    assert (f"async def costs 1.050 times what it costs in {other}" in done.stderr) is bool(code)


def test_each_round_has_a_memory_layout_of_its_own(bench_cost):
    done = bench_cost("--rounds", "3")
    assert "| async def | 106 | 1.89% |" in done.stdout  # 105, 106 and 107


def test_another_core_than_the_one_that_was_asked_for_is_not_measured(bench_cost, tmp_path):
    done = bench_cost("--against", str(tmp_path))
    assert done.returncode == 2
    assert f"there is no core in {tmp_path}" in done.stderr


def test_the_command_says_what_it_needs_to_count(bench_cost, tmp_path):
    done = bench_cost(path=str(tmp_path))
    assert (done.returncode, done.stderr) == (
        2,
        "it is valgrind that counts, and it is not there: apt-get install valgrind\n",
    )


def test_a_revision_is_taken_from_git_as_it_was_committed(tmp_path, monkeypatch):
    core = tmp_path / "loafer_core" / "__init__.py"
    core.parent.mkdir()
    core.write_text("committed")
    who = ["-c", "user.name=Loafer", "-c", "user.email=loafer@example.com"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "One"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    core.write_text("changed since")
    monkeypatch.setattr(cost, "ROOT", tmp_path)
    with cost.checkout("HEAD") as folder:
        assert (folder / "loafer_core" / "__init__.py").read_text() == "committed"
    with pytest.raises(Failed, match="yesterday is no folder, and no revision either"), cost.checkout("yesterday"):
        pass
