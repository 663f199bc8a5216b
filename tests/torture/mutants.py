"""Dispatchers with one thing wrong; each must make the test that is named for it fail.

    python tests/torture/mutants.py            # all
    python tests/torture/mutants.py flush      # those whose name has this

A mutant is a small patch of a copy of the packages, which is put first on PYTHONPATH. Exits with 1 if one survives or
the tests fail without any, with 2 if a patch does not fit any more: then it is to be written anew.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

REPOSITORY = pathlib.Path(__file__).parents[2]
PACKAGES = [REPOSITORY / "loafer_core", REPOSITORY / "plugins/loafer_sqs/src/loafer_sqs"]
AT_ONCE = 2


class Mutant(NamedTuple):
    """``patches``: file, what stands there once, and what shall stand there. ``test``: who must notice, for ``-k``."""

    name: str
    patches: Sequence[tuple[str, str, str]]
    test: str


MUTANTS = [
    Mutant(
        "acks before the handler is done",
        [
            (
                "loafer_core/deliveries.py",
                "decision = await self._decide(work)",
                "decision = Decision(Ack()); asyncio.ensure_future(self._decide(work))",
            )
        ],
        "t05",
    ),
    Mutant(
        "acks whatever the outcome",
        [
            (
                "loafer_core/deliveries.py",
                "self.settling.outcome(work, decision.outcome)",
                'self.settling.settle(work, "ack")',
            )
        ],
        "t02",
    ),
    Mutant(
        "stops without flushing acks",
        [
            (
                "loafer_core/lanes.py",
                "await self._flush(self._deliveries.acks, plan)",
                "await self._deliveries.acks.close()",
            )
        ],
        "t16",
    ),
    Mutant(
        "starts handlers without looking at the lease",
        [("loafer_core/deliveries.py", "await self.leases.secure(work.message)", "True")],
        "t43_an",
    ),
    Mutant(
        "releases a message whose thread still runs",
        [
            (
                "loafer_core/deliveries.py",
                'self.settling.close(work, "abandoned")',
                'self.settling.settle(work, "release")',
            )
        ],
        "t14",
    ),
    Mutant(
        "nacks when an ack failed",
        [
            (
                "loafer_core/acks.py",
                "        settlement.tries += 1\n",
                "        settlement.tries += 1\n"
                '        settlement.verb = "nack" if settlement.verb == "ack" else settlement.verb\n',
            )
        ],
        "t09",
    ),
    Mutant(
        "has one client for polls and acks, with the SDK's pool",
        [
            (
                "loafer_sqs/client.py",
                'self._pair.polls if method == "receive_message" else self._pair.control',
                "self._pair.polls",
            ),
            ("loafer_sqs/client.py", "max_pool_connections=1000", "max_pool_connections=10"),
        ],
        "t22_an_ack",
    ),
    Mutant(
        "runs plain functions in the loop's own threads",
        [
            (
                "loafer_core/threads.py",
                "call = self._executor.submit(",
                "loop = asyncio.get_running_loop()\n"
                "        if loop._default_executor is None:\n"
                "            loop.set_default_executor(ThreadPoolExecutor(5))\n"
                "        call = loop._default_executor.submit(",
            )
        ],
        "t22_plain",
    ),
    Mutant(
        "takes an entry that was not answered for done",
        [
            (
                "loafer_sqs/batches.py",
                'done = {ids[entry["Id"]]: entry for entry in answer.get("Successful")',
                'done = {ids[entry["Id"]]: entry for entry in numbered',
            )
        ],
        "t09",
    ),
    Mutant(
        "lets leases go while it drains",
        [
            (
                "loafer_core/lanes.py",
                "        receiver.stop()\n",
                "        receiver.stop()\n        await self._chores.stop()\n",
            )
        ],
        "t12",
    ),
    Mutant(
        "forgets what it has finished",
        [
            (
                "loafer_core/deliveries.py",
                "return self._ledger is not None and self._ledger.knows(message, _now())",
                "return False",
            )
        ],
        "t08",
    ),
    Mutant(
        "goes on in a group after a failure",
        [("loafer_core/deliveries.py", "if work.confirmed and chain:", "if chain:")],
        "t31",
    ),
    Mutant(
        "hangs up on open polls when it stops",
        [
            (
                "loafer_core/lanes.py",
                "await self._until(lambda: not receiver.open, plan.polls_until, plan.hurry)",
                "await self._until(lambda: not receiver.open, 0.0, plan.hurry)",
            )
        ],
        "t10",
    ),
    Mutant(
        "asks again at once when receiving failed",
        [("loafer_core/receiver.py", "get_running_loop().time() + delay", "get_running_loop().time()")],
        "t40",
    ),
    Mutant(
        "lets the SDK repeat a receive",
        [("loafer_sqs/client.py", '"total_max_attempts": 1}', '"total_max_attempts": 3}')],
        "t42",
    ),
    Mutant(
        "asks for a lost answer under a new attempt id",
        [("loafer_sqs/provider.py", "if not isinstance(error, Unavailable):", "if True:")],
        "t33",
    ),
    Mutant(
        "does not notice a lost lease",
        [("loafer_core/leases.py", "elif answer is Settled.LOST or hold.until <= now:", "elif hold.until <= now:")],
        "t25",
    ),
    Mutant(
        "extends while a settlement is under way",
        [
            (
                "loafer_core/leases.py",
                "            hold.beat_at = math.inf\n        return",
                "            pass\n        return",
            )
        ],
        "t43_an",
    ),
    Mutant(
        "asks for more messages than there are free slots",
        [("loafer_core/receiver.py", "limit = min(self._free(), self._share)", "limit = self._share")],
        "t05",
    ),
]


def copy(folder: pathlib.Path, mutant: Mutant | None) -> str:
    """Lay the packages there, with one thing wrong in them; gives what is the matter if that cannot be done."""
    for package in PACKAGES:
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in () if mutant is None else mutant.patches:
        text = (folder / name).read_text()
        if text.count(old) != 1:
            return f"the patch fits {text.count(old)} times into {name}: {old.strip()!r}"
        (folder / name).write_text(text.replace(old, new))
    return ""


def test(folder: pathlib.Path, selection: str) -> tuple[int, str]:
    """Run the tests against the packages there; gives pytest's exit code and its output."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-x", "-n0", "--tb=short", "-p", "no:cacheprovider", "--no-header", "-k", selection]
    python = [sys.executable, "-P", "-m"]  # -P: not what is in the current folder, which has the packages, too
    run = subprocess.run(
        [*python, "pytest", *options, f"--basetemp={folder / 'tmp'}", "tests/torture"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return run.returncode, run.stdout


def judge(mutant: Mutant) -> tuple[str, str]:
    """killed, survived or broken, and why."""
    with tempfile.TemporaryDirectory(prefix="loafer-mutant-") as folder:
        if problem := copy(pathlib.Path(folder), mutant):
            return "broken", problem
        code, output = test(pathlib.Path(folder), mutant.test)
    reasons = re.findall(r"^E   +(\S.*)", output, re.MULTILINE)
    reason = " | ".join(reasons[:2])[:160] if reasons else output[-500:]
    if code == 0:
        return "survived", f"{mutant.test} passes"
    return ("killed", f"{mutant.test}: {reason}") if code == 1 else ("broken", f"pytest ended with {code}: {reason}")


def baseline(names: Sequence[str]) -> tuple[int, str]:
    """The tests must pass where nothing is wrong."""
    with tempfile.TemporaryDirectory(prefix="loafer-mutant-") as folder:
        copy(pathlib.Path(folder), None)
        return test(pathlib.Path(folder), " or ".join(names))


def main(wanted: Sequence[str]) -> int:
    mutants = [one for one in MUTANTS if all(word in one.name for word in wanted)]
    verdicts = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        nothing_wrong = pool.submit(baseline, sorted({one.test for one in mutants}))
        for mutant, (verdict, why) in zip(mutants, pool.map(judge, mutants), strict=True):
            verdicts.append(verdict)
            print(f"{verdict:8}  {mutant.name:55}  {why}", flush=True)
        code, output = nothing_wrong.result()
    print(", ".join(f"{verdicts.count(one)} {one}" for one in ("killed", "survived", "broken")))
    if code:
        print(f"and the tests do not even pass where nothing is wrong:\n{output[-3000:]}")
    return 2 if "broken" in verdicts else int(code != 0 or "survived" in verdicts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
