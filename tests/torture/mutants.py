"""Dispatchers with one thing wrong; each must make the test that is named for it fail.

    python tests/torture/mutants.py            # all
    python tests/torture/mutants.py flush      # those whose name has this

A mutant is a small patch of a copy of the packages, which is put first on PYTHONPATH; what is in the repository is not
touched. Exits with 1 if one survives or its test fails without it, with 2 if a patch does not fit any more or a test is
not there: then it is to be written anew.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

sys.path.pop(0)
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # its neighbours are torture.<name>, as in the tests

from torture.mutations import MUTANTS, PACKAGES, REPOSITORY, Mutant, misfits, named

AT_ONCE = 2
PATIENCE = 300.0
"""Seconds for one test."""
ENOUGH_SEEDS = "300"
"""Worlds of the simulation in which a mutant must be noticed."""


class Verdict(NamedTuple):
    """killed, survived or broken; why; and how many seconds that took."""

    word: str
    why: str
    seconds: float


def copy(folder: pathlib.Path, mutant: Mutant | None) -> None:
    """Lay the packages there, with one thing wrong in them."""
    for name, package in PACKAGES.items():
        shutil.copytree(package, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for patch in () if mutant is None else mutant.patches:
        path = folder / patch.file
        path.write_text(path.read_text().replace(patch.old, patch.new))


def test(folder: pathlib.Path, *names: str) -> tuple[int, str]:
    """Run tests against the packages there; gives pytest's exit code and its output."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "LOAFER_SEEDS": ENOUGH_SEEDS}
    options = ["-q", "-x", "-n0", "--tb=short", "-p", "no:cacheprovider", "--no-header", f"--basetemp={folder / 'tmp'}"]
    python = [sys.executable, "-P", "-m"]  # -P: not what is in the current folder, which has the packages, too
    try:
        run = subprocess.run(
            [*python, "pytest", *options, *names],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return 1, f"E   no end within {PATIENCE:g} s\n"
    return run.returncode, run.stdout


def judge(mutant: Mutant) -> Verdict:
    """Set the test on it that is named for it."""
    if problem := next(misfits(mutant), ""):
        return Verdict("broken", problem, 0.0)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="loafer-mutant-") as folder:
        copy(pathlib.Path(folder), mutant)
        code, output = test(pathlib.Path(folder), *named(mutant.test))
    seconds = time.monotonic() - begin
    reasons = re.findall(r"^E   +(\S.*)", output, re.MULTILINE)
    reason = reasons[0] if reasons else output[-500:]
    word = {0: "survived", 1: "killed"}.get(code, "broken")
    return Verdict(word, reason if word != "broken" else f"pytest ended with {code}: {reason}", seconds)


def baseline(mutants: Sequence[Mutant]) -> tuple[int, str]:
    """The tests must pass where nothing is wrong."""
    with tempfile.TemporaryDirectory(prefix="loafer-mutant-") as folder:
        copy(pathlib.Path(folder), None)
        return test(pathlib.Path(folder), *sorted({name for mutant in mutants for name in named(mutant.test)}))


def main(wanted: Sequence[str]) -> int:
    mutants = [one for one in MUTANTS if all(word in one.name for word in wanted)]
    begin, words = time.monotonic(), []
    print(f"{'':8}  {'a dispatcher that':63}  {'seconds':>7}  by")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        nothing_wrong = pool.submit(baseline, mutants)
        for mutant, verdict in zip(mutants, pool.map(judge, mutants), strict=True):
            words.append(verdict.word)
            by = ", ".join(named(mutant.test)).rpartition("/")[2]
            print(f"{verdict.word:8}  {mutant.name:63}  {verdict.seconds:7.1f}  {by}")
            if verdict.word != "killed" or wanted:
                print(f"{'':10}{verdict.why[:300]}")
            sys.stdout.flush()
        code, output = nothing_wrong.result()
    counts = ", ".join(f"{words.count(word)} {word}" for word in ("killed", "survived", "broken"))
    print(f"{counts}, in {time.monotonic() - begin:.0f} s; where nothing is wrong, all of these tests ", end="")
    print("fail, too:\n" + output[-3000:] if code else "pass")
    return 2 if "broken" in words else int(code != 0 or "survived" in words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
