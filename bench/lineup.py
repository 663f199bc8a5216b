"""Who is measured: Loafer, loops written by hand, and peers.

Loafer and the loops run on the interpreter that runs the bench; each peer has a venv of its own, because they do not
agree on versions.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.scenarios import Route, Scenario

ROOT = Path(__file__).parents[1]
CONSUMERS = ROOT / "bench" / "consumers"
LOAFER = Path(sys.executable).with_name("loafer")
BESIDES = ("no-op", "waiting", "beside", "alone", "idle", "stop")


@dataclass(frozen=True)
class Job:
    """One consumer's work: an empty folder of its own, the server's URL, what there is to do."""

    folder: Path
    endpoint: str
    scenario: Scenario

    def marks(self, route: Route) -> Path:
        return self.folder / f"marks-{route.queue}"


def _plain(job: Job, route: Route) -> list[str]:
    return []


@dataclass(frozen=True)
class Consumer:
    """``share``: of a scenario's messages. ``says``: what its output must hold, or it is not what it claims to be.

    ``bodies``: messages in its own format; none: ``{"seq": n, "pad": "..."}``, made by the server. ``grace``: seconds
    from SIGTERM to SIGKILL where the stop is not what is measured.
    """

    name: str
    note: str
    command: Callable[[Job], list[str]]
    environment: dict[str, str] = field(default_factory=dict)
    paths: tuple[Path, ...] = ()
    says: str = ""
    bodies: Callable[[Job, Route], list[str]] = _plain
    share: float = 1.0
    scenarios: tuple[str, ...] = BESIDES
    grace: float = 0.0


# --- Loafer


def _loafer(name: str, note: str, *, client: str = "", uvloop: bool = False) -> Consumer:
    def command(job: Job) -> list[str]:
        (job.folder / "loafer.toml").write_text(configuration(job.scenario, client))
        return [str(LOAFER), "run", "-c", str(job.folder / "loafer.toml")]

    return Consumer(
        name,
        note,
        command,
        paths=() if uvloop else (CONSUMERS / "without_uvloop",),
        says=f"event loop {'uvloop' if uvloop else 'asyncio'}",
        scenarios=(*BESIDES, "no-op-10", "waiting-120"),
    )


def configuration(scenario: Scenario, client: str = "") -> str:
    """The loafer.toml: what the scenario asks for, everything else by default."""
    lines = ["[loafer]", f"import_paths = [{json.dumps(str(CONSUMERS))}]"]
    for route in scenario.routes:
        lines += [
            "",
            f"[routes.{route.queue}]",
            f'provider = {{ name = "sqs", queue = "{route.queue}"' + (f', client = "{client}"' * bool(client)) + " }",
            'translator = "json"',
            f'handler = "loafer_handlers:{route.queue}"',
            *([f"concurrency = {scenario.concurrency}"] if scenario.concurrency else []),
        ]
    return "\n".join([*lines, ""])


def has_fast_client(folder: Path) -> bool:
    """Whether loafer-sqs has the option."""
    path = folder / "loafer.toml"
    path.write_text(
        '[routes.jobs]\nprovider = { name = "sqs", queue = "jobs", client = "fast" }\nhandler = "builtins:print"\n'
    )
    return subprocess.run([LOAFER, "check", "-c", path], capture_output=True, check=False).returncode == 0


LOAFERS = [
    _loafer("loafer", "`loafer run`, plain client"),
    _loafer("loafer-fast", '`loafer run`, `client = "fast"`', client="fast"),
    _loafer("loafer-uvloop", "`loafer run`, plain client, uvloop", uvloop=True),
    _loafer("loafer-fast-uvloop", '`loafer run`, `client = "fast"`, uvloop', client="fast", uvloop=True),
]


# --- loops written by hand


def _raw(name: str, note: str, *words: str, scenarios: tuple[str, ...] = ("no-op",)) -> Consumer:
    argv = [sys.executable, str(CONSUMERS / "raw.py"), *words]
    return Consumer(name, note, lambda job: argv, scenarios=scenarios)


RAW = "raw-aiobotocore-k10"
PIPELINE = "raw-aiobotocore-pipeline"
LOOPS = [
    _raw(
        RAW,
        "10 loops on aiobotocore: receive 10, handle, delete 10",
        *("loops", "--receivers", "10"),
        scenarios=("no-op", "waiting"),
    ),
    _raw(PIPELINE, "4 receivers, 100 tasks, deletes in batches, on aiobotocore", "pipeline", scenarios=BESIDES),
    _raw("raw-aiohttp", "4 loops on aiohttp with a signature of its own", "loops", "--client", "aiohttp"),
    _raw(
        "raw-aiohttp-uvloop",
        "the same on uvloop",
        *("loops", "--client", "aiohttp", "--uvloop"),
        scenarios=("no-op",),
    ),
    _raw(
        "raw-aiohttp-pipeline-uvloop",
        "the pipeline on aiohttp and uvloop",
        *("pipeline", "--client", "aiohttp", "--uvloop"),
        scenarios=("waiting", "beside", "alone", "stop"),
    ),
]
