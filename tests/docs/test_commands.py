"""The commands of the pages that begin with nothing: run for real, in processes of their own and side by side."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete, FishComplete, ZshComplete

LOAFER = f'loafer() {{ {shlex.quote(sys.executable)} -m loafer_core "$@"; }}\n'


def sh(text: str, folder: Path) -> subprocess.Popen[str]:
    """Start the lines of a block in ``folder``; their ``loafer`` is the one that is under test."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LOAFER_", "AWS_"))}
    return subprocess.Popen(
        ["sh", "-ec", LOAFER + text],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def started(pages, desk, tmp_path):
    """Lay out each page in a folder of its own, and start its commands."""
    runs: dict[str, subprocess.Popen[str]] = {}

    def start(name: str, text: str) -> None:
        folder = tmp_path / str(len(runs))
        runs[name] = sh(text, desk(pages[name], folder))

    yield start, runs
    for run in runs.values():
        run.kill()
        run.communicate()


def lines_beginning(page, beginning: str) -> str:
    [text] = [block.text for block in page.blocks if block.language == "sh" and block.text.startswith(beginning)]
    return text


@pytest.mark.timeout(60)
def test_the_commands_of_readme_and_quickstart_do_what_these_pages_say(pages, started):
    readme, quickstart = pages["README.md"], pages["docs/quickstart.md"]
    start, runs = started
    start("README.md", lines_beginning(readme, "echo"))
    start("docs/quickstart.md", "loafer check\n" + lines_beginning(quickstart, "printf"))
    said = {name: (*run.communicate(timeout=50), run.returncode) for name, run in runs.items()}

    out, log, code = said["README.md"]
    assert (out, code) == ("order A1: 30.00 paid\n", 0), log
    assert f"It prints `{out.strip()}`" in readme.text
    assert "account of orders: 1 received = 1 acked" in log

    out, log, code = said["docs/quickstart.md"]
    assert (out, code) == ("ok: 1 route\n", 0), log
    assert f"says `{out.strip()}`" in quickstart.text
    assert [line for line in quickstart.one("log").text.splitlines() if line not in log] == []


@pytest.mark.parametrize("shell", [BashComplete, ZshComplete, FishComplete], ids=lambda shell: shell.name)
def test_the_line_for_a_shell_prints_the_script_that_completes_for_it(shell, pages):
    cells = pages["docs/reference/commands.md"].section("Shell completion")
    [asked] = re.findall(rf"_LOAFER_COMPLETE={shell.name}_source loafer\b", cells)
    loafer = Path(sys.executable).with_name("loafer")

    script = subprocess.check_output(["sh", "-ec", asked.replace(" loafer", f" {shlex.quote(str(loafer))}")], text=True)

    assert "_loafer_completion" in script
    assert f"_LOAFER_COMPLETE={shell.name}_complete" in script


def test_bash_completes_commands_after_the_line_for_it():
    bin_ = Path(sys.executable).parent
    begin = 'eval "$(_LOAFER_COMPLETE=bash_source loafer)"; COMP_WORDS=(loafer plugins s); COMP_CWORD=2'
    words = ["bash", "--norc", "-ec", begin + '; _loafer_completion loafer; echo "${COMPREPLY[@]}"']

    completed = subprocess.check_output(words, text=True, env=os.environ | {"PATH": f"{bin_}:{os.environ['PATH']}"})

    assert completed == "show\n"
