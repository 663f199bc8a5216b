"""The machine: cores for server and consumer, and what /proc says of time and memory. Linux only."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
CONSUMER_CORE, SERVER_CORE = CORES[0], CORES[-1]


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started in here stays on that core; on a machine with one core that changes nothing."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def description() -> str:
    """Processor, cores, memory, kernel and Python, in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    model = models[0] if models else platform.machine()
    return f"{model}, {len(CORES)} cores, {memory:.0f} GiB, {system}, Python {platform.python_version()}"


@dataclass(frozen=True)
class Load:
    """The time at which it was read, and CPU seconds of everybody, of the consumer and of the bench itself."""

    at: float
    everybody: float
    consumer: float
    bench: float

    def since(self, before: Load) -> Load:
        return Load(
            self.at - before.at,
            self.everybody - before.everybody,
            self.consumer - before.consumer,
            self.bench - before.bench,
        )

    @property
    def foreign(self) -> float:
        """The share of the machine that others took, for a difference of two loads."""
        return max(0.0, self.everybody - self.consumer - self.bench) / self.at / len(CORES)


def load(consumer: int, server_seconds: float) -> Load:
    """``consumer``: a process, taken with its children. ``server_seconds``: what the server says it has used."""
    busy = Path("/proc/stat").read_text().partition("\n")[0].split()
    user, nice, system, _, _, irq, softirq, steal = map(int, busy[1:9])
    everybody = (user + nice + system + irq + softirq + steal) / TICKS
    return Load(time.monotonic(), everybody, cpu_seconds(consumer), server_seconds + time.process_time())


def family(pid: int) -> list[int]:
    """The process and all that it has started."""
    with contextlib.suppress(OSError):
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
        return [pid, *(one for child in children for one in family(int(child)))]
    return []


def cpu_seconds(pid: int) -> float:
    """User and system time of the whole family: what getrusage says of each, summed."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / TICKS


def memory_mib(pid: int, field: str) -> float:
    """``field`` of /proc/PID/status, such as VmHWM (the most that was ever resident), summed over the family."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return total / 1024
