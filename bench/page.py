"""Puts what was measured into docs/explanation/performance.md; the words around it are written by hand.

A part stands between ``<!-- bench NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bench import report
from bench.figures import Table
from bench.runner import Run, load
from bench.scenarios import SCENARIOS
from bench.targets import Target

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "performance.md"
PICTURES = PAGE.parent / "pictures"
RESULTS = ROOT / "bench" / "results"
_PART = re.compile(r"(<!-- bench (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def saved(names: Iterable[str]) -> list[Run]:
    """What the parts of a session left in RESULTS."""
    return [run for name in names if (path := RESULTS / f"{name}.jsonl").exists() for run in load(path)]


def write(table: Table, targets: Iterable[Target], page: Path = PAGE) -> None:
    """What was not measured stays as it was."""
    parts = {"surroundings": report.surroundings(table), "targets": report.target_table(targets, table.is_quiet)}
    for name, scenario in SCENARIOS.items():
        if table.consumers(name):
            parts[name] = report.scenario_table(table, scenario).partition("\n\n")[2]
    text = page.read_text(encoding="utf-8")
    for found in _PART.finditer(text):
        if found[2] in parts:
            text = text.replace(found[0], f"{found[1]}{parts[found[2]]}{found[3]}")
    page.write_text(text, encoding="utf-8")
