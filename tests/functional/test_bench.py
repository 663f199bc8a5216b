"""The bench: its arithmetic, and one tiny run of real processes. How fast anything is, is nothing for a test to say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the bench reads /proc", allow_module_level=True)

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # bench is not installed

from bench import page, profiling, report, runner  # noqa: E402
from bench.figures import Table  # noqa: E402
from bench.lineup import RAW  # noqa: E402
from bench.runner import Run  # noqa: E402
from bench.targets import targets  # noqa: E402


def costs(consumer: str, *cpu: float, scenario: str = "no-op") -> list[Run]:
    """A run for each round."""
    return [Run(consumer, scenario, {"cpu": each}, round=number) for number, each in enumerate(cpu)]


def verdicts(*runs: Run) -> dict[str, tuple[str, str]]:
    """What is shown of each target that was measured, and its verdict."""
    table = Table(runs)
    found = targets(table, ["loafer", "loafer-fast"], None)
    cells = [line.strip("| ").split(" | ") for line in report.target_table(found, table.is_quiet).splitlines()[2:]]
    return {f"{what}, {who}": (measured, verdict) for what, who, _, measured, verdict in cells}


def test_a_ratio_is_formed_within_a_round_because_a_machine_drifts():
    table = Table([*costs("loafer", 100, 200, 450), *costs(RAW, 100, 100, 300)])
    ratio = table.ratio("cpu", ("loafer", "no-op"), (RAW, "no-op"))
    assert ratio is not None
    assert ratio.text(2) == "1.50 (1.00 to 2.00)"


def test_a_round_that_one_of_the_two_did_not_come_through_has_no_ratio():
    failed = Run(RAW, "no-op", failed="exit status 1", round=0)
    table = Table([*costs("loafer", 100, 150), failed, *costs(RAW, 0, 100)[1:]])
    ratio = table.ratio("cpu", ("loafer", "no-op"), (RAW, "no-op"))
    assert ratio is not None
    assert ratio.values == (1.5,)


def test_a_target_holds_up_to_its_bound_and_misses_beyond_and_both_are_said():
    shown = verdicts(*costs("loafer", 120), *costs("loafer-fast", 61), *costs(RAW, 100))
    assert shown == {
        f"CPU per message ÷ {RAW}, loafer": ("1.20", "holds"),
        f"CPU per message ÷ {RAW}, loafer-fast": ("0.61", "**misses**"),
    }


def test_a_stop_has_to_leave_nothing_behind_of_any_kind():
    clean = {"cut": 0, "hidden": 0, "duplicated": 0, "lost": 0}
    often = [Run("loafer", "stop", clean, round=number) for number in range(3)]
    once = [Run("loafer-fast", "stop", {**clean, "hidden": number // 2}, round=number) for number in range(3)]
    assert [verdict for _, verdict in verdicts(*often, *once).values()] == ["holds", "**misses**"]


@pytest.mark.parametrize(("foreign", "verdict"), [(0.01, "**misses**"), (0.4, "**misses**, on a busy machine")])
def test_a_time_that_was_taken_on_a_busy_machine_says_so(foreign, verdict):
    late, raw = ({"start": seconds, "foreign": foreign} for seconds in (2.0, 0.5))
    assert list(verdicts(Run("loafer", "no-op", late), Run(RAW, "no-op", raw)).values()) == [("1.50 s", verdict)]


def test_a_consumer_that_failed_stays_in_the_table_with_its_reason():
    table = Table([*costs(RAW, 100), Run("slow", "no-op", failed="exit status 1: no such queue")])
    (line,) = [line for line in report.report(table, []).splitlines() if line.startswith("| slow")]
    assert "failed: exit status 1: no such queue" in line


def test_instructions_are_shown_where_they_were_counted_with_their_ratio():
    counted = [Run("loafer", "no-op", {"instructions": 450_000.0}), Run(RAW, "no-op", {"instructions": 900_000.0})]
    (line,) = [line for line in report.report(Table(counted), []).splitlines() if line.startswith("| loafer ")]
    assert "| 450 | 0.50 |" in line
    timed = report.report(Table([*costs("loafer", 50), *costs(RAW, 100)]), [])
    assert "instructions" not in timed


@pytest.mark.parametrize(("foreign", "said"), [(0.01, "it was quiet"), (0.4, "**it was not quiet**")])
def test_a_report_says_whether_others_used_the_machine_meanwhile(foreign, said):
    assert said in report.surroundings(Table([Run("loafer", "no-op", {"cpu": 1, "foreign": foreign})]))


def test_what_was_measured_goes_into_the_page_between_its_marks_and_nowhere_else(tmp_path):
    written = tmp_path / "performance.md"
    written.write_text(
        "Before.\n<!-- bench no-op -->\nold\n<!-- end -->\nAfter.\n<!-- bench idle -->\nkept?\n<!-- end -->\n"
    )

    page.write(Table(costs(RAW, 123)), [], written)

    assert written.read_text().startswith("Before.\n<!-- bench no-op -->\n| consumer |")
    assert "| 123 |" in written.read_text()
    assert written.read_text().endswith("After.\n<!-- bench idle -->\nkept?\n<!-- end -->\n")


def test_runs_that_were_saved_are_read_as_they_were(tmp_path):
    runs = [*costs("loafer", 1.5, 2.5), Run("slow", "no-op", failed="no receive within 60 s")]
    runner.save(runs, tmp_path / "results" / "no-op.jsonl")
    assert runner.load(tmp_path / "results" / "no-op.jsonl") == runs


@pytest.mark.parametrize("constraints", sorted(ROOT.glob("bench/constraints-*.txt")), ids=lambda path: path.stem)
def test_peers_are_pinned_by_name_and_version_and_nothing_else(constraints):
    lines = constraints.read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[0-9][\w.]*", line)] == []


def test_a_profile_counts_the_standard_library_for_whoever_called_it_and_waiting_for_nobody():
    loop = "thread (1): MainThread;run (/usr/lib/python3.11/asyncio/base_events.py:9)"
    signer = f"{loop};sign (/venv/lib/python3.11/site-packages/botocore/auth.py:5)"
    samples = profiling.read(
        [
            f"{signer} 2",
            f"{signer};digest (/usr/lib/python3.11/hmac.py:1) 3",
            f"{loop};EpollSelector.select (/usr/lib/python3.11/selectors.py:3) 40",
            "thread (2): asyncio_0;_worker (/usr/lib/python3.11/concurrent/futures/thread.py:81) 50",
            f"{loop} 1",
        ]
    )
    assert samples.modules == {"botocore/auth.py": 5, "asyncio/base_events.py": 1}


def test_the_bench_measures_real_processes_from_end_to_end():
    words = ["compare", "no-op", RAW, "loafer", "--rounds", "1", "--share", "0.02"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    rows = {line.split(" | ")[0].strip("| "): line for line in done.stdout.splitlines() if line.startswith("| ")}
    for name in (RAW, "loafer"):
        assert "failed" not in rows[name]
        assert rows[name].endswith("| 0/0/0 |")  # duplicated, lost, unfinished
    assert re.search(rf"^\| CPU per message ÷ {RAW} \| loafer \| ≤ 1.2 \| [\d.]+ \|", done.stdout, re.MULTILINE)
