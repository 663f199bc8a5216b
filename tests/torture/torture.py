"""All that is too long for ``make check``, with a result for each part.

    python tests/torture/torture.py                          # everything; `make torture`
    python tests/torture/torture.py processes --rounds 1     # one part, less of it

processes: a service of two processes that empties queues on two servers (ours, with faults, and ministack) while
processes are killed, stopped and frozen at random; then a last one empties the queues in peace, and the checker says
whether anything was lost, came again without a reason, or broke another promise. stories: the tests with faults, at
their full counts. worlds: the simulation. Exits with 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

if not __package__:
    sys.path[0] = str(pathlib.Path(__file__).parents[1])  # its neighbours are torture.<name>, as in the tests

import aiohttp
import servers
from torture import seeds
from torture.causes import CAUSES, UNKNOWN, causes
from torture.checker import Report
from torture.clients import sqs_client
from torture.fake_faults import Reset, Status, Twice
from torture.fake_operations import Queues
from torture.fake_sqs import FakeSQS
from torture.parts import add_parts
from torture.process import Process, Workshop
from torture.upstream import Upstream

PARTS = ["processes", "stories", "worlds"]
BLOWS = ("SIGKILL", "SIGTERM", "SIGSTOP")
AT_ONCE = 2
LEASE, WAIT, CONCURRENCY, PROCESSES = 3, 1, 10, 2
PATIENCE = 90.0
"""Seconds for what is left to be emptied in peace."""
SETTLING, RECEIVE = ("DeleteMessageBatch", "ChangeMessageVisibilityBatch"), "ReceiveMessage"


@dataclass(slots=True)
class Round:
    """One round on one server."""

    fake: FakeSQS
    workshop: Workshop
    rng: random.Random
    sent: dict[str, str] = field(default_factory=dict)
    blows: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    running: list[Process] = field(default_factory=list)

    async def fight(self, client: Any, messages: int, blows: int, faults: float) -> Report:
        urls = [await self._create(client, name) for name in ("jobs", "steps.fifo")]
        self._disturb(faults)
        for _ in range(PROCESSES):
            self.running.append(await self.workshop.start())
        for number in range(blows):
            await self._send(client, urls, range(messages * number // blows, messages * (number + 1) // blows))
            await asyncio.sleep(self.rng.uniform(0, 1.0))  # the random moment, not a wait for anything
            await self._blow()
        for process in self.running:
            await self._stop(process)
        for fault in self.fake.faults:
            fault.heal()
        left = await self._empty(client, urls)
        history = self.workshop.history(self.sent, lease=LEASE, concurrency=CONCURRENCY, blind=WAIT)
        report = self.workshop.report(history)
        self.causes = causes(history)
        report.broken += self.odd + [f"{left} messages are left after {PATIENCE:g} s"] * bool(left)
        return report

    def _disturb(self, probability: float) -> None:
        """Lost answers, errors, and on the fake messages that are delivered twice."""
        faults = [(operation, Reset(), "after_apply", None) for operation in SETTLING]
        faults += [(operation, Status("InternalError", 500), "before", None) for operation in (*SETTLING, RECEIVE)]
        if isinstance(self.fake.backend, Queues):
            faults.append((RECEIVE, Twice(), "before", "jobs"))
        for operation, kind, when, queue in faults:
            seed = self.rng.randrange(2**32)
            self.fake.fault(operation, kind, when=when, queue=queue, probability=probability, count=math.inf, seed=seed)

    async def _create(self, client: Any, name: str) -> str:
        attributes = {"VisibilityTimeout": str(LEASE)} | ({"FifoQueue": "true"} if name.endswith(".fifo") else {})
        self.workshop.route(name, concurrency=CONCURRENCY, wait_time_seconds=WAIT)
        return str((await client.create_queue(QueueName=name, Attributes=attributes))["QueueUrl"])

    async def _send(self, client: Any, urls: Sequence[str], numbers: Iterable[int]) -> None:
        for number in numbers:
            fifo = number % 2
            sleep = self.rng.uniform(0, 0.1) if fifo else self.rng.uniform(0, 1.0)
            body = f'{{"n": {number}, "sleep": {sleep:.3f}, "fails": {int(self.rng.random() < 0.1)}}}'
            group = f"g{self.rng.randrange(8)}" if fifo else ""
            more = {"MessageGroupId": group, "MessageDeduplicationId": str(number)} if fifo else {}
            answer = await client.send_message(QueueUrl=urls[fifo], MessageBody=body, **more)
            self.sent[answer["MessageId"]] = group

    async def _blow(self) -> None:
        place = self.rng.randrange(len(self.running))
        process, kind = self.running[place], self.rng.choice(BLOWS)
        self.blows[kind] += 1
        if kind == "SIGSTOP":
            until = time.monotonic() + self.rng.uniform(0.1, 2 * LEASE)
            await process.pause(until=lambda: time.monotonic() > until)
            return
        if kind == "SIGKILL":
            await process.kill()
        else:
            await self._stop(process)
        self.running[place] = await self.workshop.start()

    async def _stop(self, process: Process) -> None:
        code = await process.stop(within=30)
        if code != 0:
            self.odd.append(f"{process.who} ended with {code} after SIGTERM")

    async def _empty(self, client: Any, urls: Sequence[str]) -> int:
        """In peace, by one process; gives how many messages could not be got rid of."""
        process, deadline = await self.workshop.start(), time.monotonic() + PATIENCE
        while (left := [await _count(client, url) for url in urls]) != [0, 0] and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        await self._stop(process)
        return sum(left)


async def _count(client: Any, url: str) -> int:
    answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    return sum(int(count) for name, count in answer["Attributes"].items() if name.startswith("ApproximateNumberOf"))


@contextlib.asynccontextmanager
async def server(kind: str) -> AsyncIterator[FakeSQS]:
    """A fake, or one in front of ministack."""
    async with contextlib.AsyncExitStack() as stack:
        backend = None
        if kind == "ministack":
            program = servers.ministack_program()
            if program is None:
                raise SystemExit(servers.MISSING)
            url = stack.enter_context(servers.ministack(program))
            session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
            backend = Upstream(url, session)
        yield await stack.enter_async_context(FakeSQS(backend, lifetime=600))


async def play(kind: str, seed: int, arguments: argparse.Namespace, keep: pathlib.Path) -> tuple[Round, Report]:
    """One round; what it left is in ``keep``."""
    async with server(kind) as fake, sqs_client(fake.endpoint, "producer") as client, Workshop(keep, fake) as workshop:
        workshop.loud = False
        fight = Round(fake, workshop, random.Random(seed))
        report = await fight.fight(client, arguments.messages, arguments.blows, arguments.faults)
        fake.dump(keep / "requests.jsonl")
        return fight, report


class Tally:
    """The rounds on one server, summed up."""

    def __init__(self) -> None:
        self.rounds = self.sent = self.lost = self.bad = 0
        self.blows: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.seconds = 0.0

    def add(self, fight: Round, report: Report, seconds: float) -> None:
        self.rounds += 1
        self.sent += len(fight.sent)
        self.lost += len(report.lost)
        self.bad += not report.ok or fight.causes[UNKNOWN] > 0
        self.blows += fight.blows
        self.causes += fight.causes
        self.seconds += seconds

    def __str__(self) -> str:
        cells = [self.rounds, *(self.blows[name] for name in BLOWS), self.sent, self.lost]
        cells += [self.causes[name] for name in CAUSES]
        verdict = f"FAILED in {self.bad}" if self.bad else "ok"
        return " ".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True)) + (
            f"  {verdict}, {self.seconds:.0f} s"
        )


COLUMNS = ["rounds", *BLOWS, "messages", "lost", *(f"again: {name}" for name in CAUSES)]
WIDTHS = [len(name) for name in COLUMNS]


async def fights(arguments: argparse.Namespace) -> bool:
    """Kill, stop and freeze processes; tells whether all went well."""
    rng = random.Random(arguments.seed)
    kinds = ["fake", "ministack"] if arguments.server == "both" else [arguments.server]
    print(
        f"processes, seed {arguments.seed}: {arguments.rounds} rounds a server, {arguments.messages} messages and "
        f"{arguments.blows} blows a round, {PROCESSES} processes, {arguments.faults:.0%} of requests go wrong; "
        "about a minute a round"
    )
    print(f"{'server':10} " + " ".join(COLUMNS), flush=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="loafer-torture-"))
    tallies = {kind: Tally() for kind in kinds}
    for number in range(arguments.rounds):
        for kind in kinds:
            keep, begin = folder / f"{kind}-{number + 1}", time.monotonic()
            keep.mkdir()
            fight, report = await play(kind, rng.randrange(2**32), arguments, keep)
            tallies[kind].add(fight, report, time.monotonic() - begin)
            print(f"{kind:10} {tallies[kind]}", flush=True)
            if not report.ok:
                print(f"  {report}", flush=True)
    if any(tally.bad for tally in tallies.values()):
        print(f"logs of processes, handlers and requests are in {folder}")
        return False
    shutil.rmtree(folder)
    return True


def stories() -> bool:
    """The tests with faults, at the counts of the fault matrix; tells whether they pass."""
    print("stories: every test of tests/torture at its full count; about ten minutes", flush=True)
    environment = os.environ | {"LOAFER_COUNTS": "full"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(AT_ONCE), "-p", "no:cacheprovider", "tests/torture"]
    return subprocess.run(command, cwd=seeds.REPOSITORY, env=environment, check=False).returncode == 0


async def worlds(arguments: argparse.Namespace) -> bool:
    """The simulation; tells whether every invariant holds in every world."""
    print(f"worlds: {arguments.seeds} seeds of the simulation, {AT_ONCE} processes side by side", flush=True)
    begin = time.monotonic()
    slices = await seeds.simulate(0, arguments.seeds, AT_ONCE)
    bad = [one for one in slices if one.failure]
    for one in bad:
        print(f"  seeds {one.first} to {one.last}:\n{one.failure}")
    verdict = f"{len(bad)} of {len(slices)} slices FAILED" if bad else "every invariant held in each"
    print(f"worlds: {arguments.seeds}, {verdict}, {time.monotonic() - begin:.0f} s", flush=True)
    return not bad


async def run(arguments: argparse.Namespace) -> int:
    results: dict[str, bool] = {}
    if "processes" in arguments.parts:
        results["processes"] = await fights(arguments)
    if "stories" in arguments.parts:
        results["stories"] = await asyncio.to_thread(stories)
    if "worlds" in arguments.parts:
        results["worlds"] = await worlds(arguments)
    print("torture: " + ", ".join(f"{name} {'ok' if good else 'FAILED'}" for name, good in results.items()))
    return 0 if all(results.values()) else 1


def read(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_parts(parser, PARTS)
    parser.add_argument("--rounds", type=int, default=5, help="per server (default 5)")
    parser.add_argument("--messages", type=int, default=400, help="per round (default 400)")
    parser.add_argument("--blows", type=int, default=10, help="per round (default 10)")
    parser.add_argument("--faults", type=float, default=0.02, help="share of requests that go wrong (default 0.02)")
    parser.add_argument("--seeds", type=int, default=100_000, help="worlds of the simulation (default 100,000)")
    parser.add_argument("--server", choices=["fake", "ministack", "both"], default="both")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    return parser.parse_args(words)


def main() -> int:
    return asyncio.run(run(read()))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
