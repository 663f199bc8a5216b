"""Processes that are killed, stopped and interrupted at random while they empty a queue; nothing may be lost.

    python tests/torture/torture.py --rounds 3 --server both

Each round: messages into a standard and a FIFO queue, two processes of a service, so many random blows (SIGKILL,
SIGTERM, SIGSTOP and SIGCONT), a last process that empties the queues in peace, and the checker. Exits with 1 if
something was lost, came twice without a reason, or broke another promise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

sys.path.pop(0)
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # its neighbours are torture.<name>, as in the tests

import aiohttp
from torture import ministack
from torture.checker import Report
from torture.clients import sqs_client
from torture.fake_faults import Reset, Status, Twice
from torture.fake_operations import Queues
from torture.fake_sqs import FakeSQS
from torture.process import Process, Workshop

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
        process, kind = self.running[place], self.rng.choice(["SIGKILL", "SIGTERM", "SIGSTOP"])
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
            program = ministack.where()
            if program is None:
                raise SystemExit("ministack is not installed: make install, or name it in LOAFER_MINISTACK")
            url = await stack.enter_async_context(ministack.running(program))
            session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
            backend = ministack.Upstream(url, session)
        yield await stack.enter_async_context(FakeSQS(backend, lifetime=600))


async def play(kind: str, seed: int, arguments: argparse.Namespace, keep: pathlib.Path) -> tuple[Round, Report]:
    """One round; what it left is in ``keep``."""
    async with server(kind) as fake, sqs_client(fake.endpoint, "producer") as client, Workshop(keep, fake) as workshop:
        workshop.loud = False
        fight = Round(fake, workshop, random.Random(seed))
        report = await fight.fight(client, arguments.messages, arguments.blows, arguments.faults)
        fake.dump(keep / "requests.jsonl")
        return fight, report


async def run(arguments: argparse.Namespace) -> int:
    rng = random.Random(arguments.seed)
    kinds = ["fake", "ministack"] if arguments.server == "both" else [arguments.server]
    print(f"seed {arguments.seed}: {arguments.rounds} rounds of {arguments.messages} messages, {PROCESSES} processes")
    print("server     round    sent handled  killed  termed stopped   twice unexpl.    lost  broken    time")
    bad = 0
    folder = pathlib.Path(tempfile.mkdtemp(prefix="loafer-torture-"))
    for number in range(arguments.rounds):
        for kind in kinds:
            keep, begin = folder / f"{kind}-{number + 1}", time.monotonic()
            keep.mkdir()
            fight, report = await play(kind, rng.randrange(2**32), arguments, keep)
            counts = [
                len(fight.sent),
                report.handled,
                *(fight.blows[name] for name in ("SIGKILL", "SIGTERM", "SIGSTOP")),
            ]
            counts += [report.duplicated.total(), len(report.unexplained), len(report.lost), len(report.broken)]
            cells = " ".join(f"{count:7d}" for count in counts)
            print(f"{kind:10} {number + 1:5d} {cells} {time.monotonic() - begin:6.1f}s", flush=True)
            if not report.ok:
                bad += 1
                print(f"  {report}", flush=True)
    if bad:
        print(f"FAILED in {bad} rounds; logs of processes, handlers and requests are in {folder}")
    else:
        print("nothing was lost, and what came twice has a reason")
        _remove(folder)
    return 1 if bad else 0


def _remove(folder: pathlib.Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    folder.rmdir()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="per server (default 3)")
    parser.add_argument("--messages", type=int, default=400, help="per round (default 400)")
    parser.add_argument("--blows", type=int, default=10, help="per round (default 10)")
    parser.add_argument("--faults", type=float, default=0.02, help="share of requests that go wrong (default 0.02)")
    parser.add_argument("--server", choices=["fake", "ministack", "both"], default="both")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
