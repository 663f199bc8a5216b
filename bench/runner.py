"""One run: a fresh server, a consumer in a process of its own, and what can be seen of it from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from bench.backend import Server, environment
from bench.lineup import CONSUMERS, Consumer, Job
from bench.scenarios import Scenario
from bench.watch import Failed, Watch


@dataclass(frozen=True)
class Run:
    """``figures``: what was measured, by name, as `bench.figures` explains. ``failed``: why there are none.

    ``round``: runs of one round were made one after the other, so they can be held against each other.
    """

    consumer: str
    scenario: str
    figures: dict[str, float] = field(default_factory=dict)
    failed: str = ""
    round: int = 0


def run(consumer: Consumer, scenario: Scenario, meanwhile: Callable[[int], None] = lambda pid: None) -> Run:
    """Never raises for what a consumer does. ``meanwhile`` is called with its process, once it is at work."""
    with at_work(consumer, scenario.sized(consumer.share), meanwhile) as watch:
        name, folder = watch.scenario.name, watch.job.folder
        try:
            figures = watch.figures()
        except Failed as error:
            return Run(consumer.name, name, failed=f"{error}: {_last_words(folder)}")
        if consumer.says not in (folder / "output").read_text(errors="replace"):
            return Run(consumer.name, name, failed=f"it did not say {consumer.says!r}")
        figures |= _end(watch.process, 30.0 if scenario.kind == "stop" else consumer.grace)
        return Run(consumer.name, name, figures | _verdict(watch.server, watch.job))


@contextlib.contextmanager
def at_work(
    consumer: Consumer, scenario: Scenario, meanwhile: Callable[[int], None] = lambda pid: None
) -> Iterator[Watch]:
    """A server with what there is to do, and the consumer's process, spawned just now."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        server = Server(scenario.latency, [route.queue for route in scenario.routes])
        stack.callback(server.stop)
        job = Job(folder, server.url, scenario)
        for route in scenario.routes:
            job.marks(route).write_bytes(bytes(2 * max(route.count, 1)))
        if not scenario.late:
            server.fill(consumer, job)
        before = sum(server.ask("/stats")["requests"].values())
        spawned = time.monotonic()
        process = stack.enter_context(_process(consumer, job))
        yield Watch(server, process, consumer, job, spawned, before, meanwhile)


@contextlib.contextmanager
def _process(consumer: Consumer, job: Job) -> Iterator[subprocess.Popen[bytes]]:
    routes = [
        {"queue": route.queue, "count": max(route.count, 1), "seconds": route.seconds, "marks": str(job.marks(route))}
        for route in job.scenario.routes
    ]
    settings = environment() | {
        "AWS_ACCESS_KEY_ID": "AKIABENCHBENCHBENCH0",
        "AWS_SECRET_ACCESS_KEY": "benchbenchbenchbenchbenchbenchbenchbench",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ENDPOINT_URL_SQS": job.endpoint,
        "BENCH_ENDPOINT": job.endpoint,
        "BENCH_ROUTES": json.dumps(routes),
        "BENCH_CONCURRENCY": str(job.scenario.concurrency or 10),
        **consumer.environment,
    }
    path = [*map(str, consumer.paths), str(CONSUMERS), settings.get("PYTHONPATH", "")]
    settings["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    with open(job.folder / "output", "wb") as output:
        words: dict[str, Any] = {"env": settings, "stdout": output, "stderr": output, "start_new_session": True}
        with machine.on_core(machine.CONSUMER_CORE):
            process = subprocess.Popen(consumer.command(job), cwd=CONSUMERS, **words)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own session: the children go with it
        process.wait()


def _last_words(folder: Path) -> str:
    lines = (folder / "output").read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "no output")


def _end(process: subprocess.Popen[bytes], patience: float) -> dict[str, float]:
    began = time.monotonic()
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
        return {"exit": time.monotonic() - began}
    return {}


def _verdict(server: Server, job: Job) -> dict[str, float]:
    """What became of the messages of the first route: marks of the handlers against the queue."""
    route = job.scenario.routes[0]
    marks = job.marks(route).read_bytes()
    starts, ends = marks[: route.count], marks[route.count :]
    queue = server.ask(f"/left?queue={route.queue}")
    left = {ordinal: state for ordinal, state, _ in queue["left"]}
    return {
        "handled": sum(map(bool, ends)),
        "cut": sum(start > end for start, end in zip(starts, ends, strict=True)),
        "duplicated": sum(end - 1 for end in ends if end) + sum(bool(ends[seq]) for seq in left),
        "hidden": sum(state == "in_flight" for state in left.values()),
        "lost": sum(seq not in left and not ends[seq] for seq in range(queue["made"])),
    }


def save(runs: list[Run], path: Path) -> None:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(run)) + "\n" for run in runs))


def load(path: Path) -> list[Run]:
    return [Run(**json.loads(line)) for line in path.read_text().splitlines()]
