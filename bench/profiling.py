"""Where the CPU of `loafer run` goes: py-spy looks at it from outside, a thousand times a second, at work."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import machine
from bench.lineup import Consumer
from bench.report import rows
from bench.runner import Run, run
from bench.scenarios import NO_OP, Route

SECONDS = 5
LONG = replace(NO_OP, routes=(Route("jobs", 100_000),))
OUTSIDE = re.compile(r".*/(?:site-packages|src|python3\.\d+)/|.*/(?=loafer_core/|bench/consumers/)")


@dataclass
class Samples:
    """``modules``: samples by the innermost module that is not the standard library's; ``functions``: those of each."""

    modules: Counter[str] = field(default_factory=Counter)
    functions: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, frames: list[str], count: int) -> None:
        """``frames``: ``function (file:line)``, the innermost last. Waiting is not counted."""
        if "select (" in frames[-1]:
            return
        found = [one for one in map(_place, frames) if one is not None]
        module, function = found[-1] if found else ("python", "start and imports")
        self.modules[module] += count
        self.functions[module][function] += count


def _place(frame: str) -> tuple[str, str] | None:
    """Module and function; None for the standard library, which works for whoever called it, but for asyncio."""
    function, _, file = frame.partition(" (")
    path = file.rpartition(":")[0] or file.rstrip(")")
    standard = "/python3." in path and "site-packages" not in path and "/asyncio/" not in path
    if standard or "/" not in path:
        return None
    return OUTSIDE.sub("", path), function


def read(lines: Iterable[str]) -> Samples:
    """What py-spy writes with ``--format raw --threads``. Of the main thread, where the loop is: the others wait."""
    samples = Samples()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if thread.endswith(": MainThread") and frames:
            samples.add(frames, int(count))
    return samples


def table(samples: Samples, cpu: float, most: int = 40) -> str:
    """``cpu``: microseconds per message, which the shares are shares of."""
    total = samples.modules.total()
    packages: Counter[str] = Counter()
    for module, count in samples.modules.items():
        packages[module.partition("/")[0]] += count
    body = [[name, f"{count / total:.1%}", f"{count / total * cpu:.0f}"] for name, count in packages.most_common(12)]
    parts = [rows(["package", "share", "µs/message"], body)]
    body = []
    for module, count in samples.modules.most_common(most):
        top = ", ".join(f"{name} {each / total:.1%}" for name, each in samples.functions[module].most_common(3))
        body.append([module, f"{count / total:.1%}", f"{count / total * cpu:.1f}", top])
    return "\n".join([*parts, rows(["module", "share", "µs/message", "functions"], body)])


def profile(consumer: Consumer) -> tuple[Run, Samples]:
    """The run is one without py-spy, whose looking takes time. Raises CalledProcessError where it may not look."""
    plain = run(consumer, NO_OP)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "samples"
        run(consumer, LONG, meanwhile=lambda pid: _record(pid, written))
        return plain, read(written.read_text().splitlines())


def _record(pid: int, path: Path) -> None:
    options = [
        "--rate",
        "1000",
        "--duration",
        str(SECONDS),
        "--format",
        "raw",
        "--full-filenames",
        "--threads",
        "--output",
        str(path),
    ]
    argv = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(pid), *options]
    with machine.on_core(machine.SERVER_CORE):
        subprocess.run(argv, check=True, capture_output=True)
