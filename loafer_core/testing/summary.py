"""A line for each contract at the end of a pytest run: what was proved, and what was not for want of an ability.

It registers itself where the contracts are run. With pytest-xdist they run in other processes than the one that
prints: name it there, with ``-p loafer_core.testing.summary`` or in a conftest's ``pytest_plugins``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_NAME = "loafer-contracts"


@dataclass(slots=True)
class _Tally:
    proved: int = 0
    failed: int = 0
    skipped: int = 0
    lacks: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        said = [f"{self.proved} proved"]
        if self.failed:
            said.append(f"{self.failed} FAILED")
        if self.skipped:
            said.append(f"{self.skipped} skipped (no: {', '.join(sorted(self.lacks))})")
        return ", ".join(said)


def pytest_configure(config: pytest.Config) -> None:
    """Count and print what is reported to this process."""
    if not config.pluginmanager.has_plugin(_NAME):
        config.pluginmanager.register(Summary(), _NAME)


def note(request: pytest.FixtureRequest, subject: str) -> None:
    """Count the test that asks under ``subject``."""
    request.node.user_properties.append((_NAME, subject))
    pytest_configure(request.config)


class Summary:
    """The plugin of one pytest run."""

    def __init__(self) -> None:
        self._tallies: dict[str, _Tally] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what a test of a contract came to."""
        subject = dict(report.user_properties).get(_NAME)
        if subject is None or (report.when != "call" and report.passed):
            return
        tally = self._tallies.setdefault(str(subject), _Tally())
        if report.skipped:
            tally.skipped += 1
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            lacks = re.search(r"no: (.+)", reason)
            tally.lacks.add(lacks[1] if lacks else "run")
        elif report.passed:
            tally.proved += 1
        else:
            tally.failed += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say it."""
        if self._tallies:
            terminalreporter.section("contracts", "-")
        for subject, tally in self._tallies.items():
            line = f"contract: {subject}: {tally}"
            terminalreporter.write_line(line, red=bool(tally.failed), green=not tally.failed)
