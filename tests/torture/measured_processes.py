"""Numbers from real processes on the fake SQS: Loafer and the raw loop under the same treatment."""

from __future__ import annotations

import asyncio
import math
import pathlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from torture.fake_faults import Reset, Status
from torture.fake_sqs import FakeSQS
from torture.process import HERE, Process, Workshop, eventually

Kind = Literal["Loafer", "raw loop"]
Treatment = Literal["left alone", "rolling restarts", "kill -9", "1 % lost deletes", "15 s without deletes"]
TREATMENTS: Sequence[Treatment] = get_args(Treatment)
DELETES = ("DeleteMessage", "DeleteMessageBatch")

LEASE, CONCURRENCY, PROCESSES, LONGEST = 10, 10, 2, 1.0
BLOWS = 12
"""Restarts or kills, evenly over the messages: not over the time, which says more of the machine."""
GLANCE = 0.05
PATIENCE = 600.0


@dataclass(slots=True)
class Result:
    """One run: how many messages, how often each succeeded and was received, and how long each stop took."""

    messages: int
    again: int = 0
    receives: int = 0
    blows: int = 0
    lost: int = 0
    stops: list[float] = field(default_factory=list)

    @property
    def per_million(self) -> float:
        return self.again / self.messages * 1e6

    @property
    def burned(self) -> float:
        """Receives beyond the one that every message costs, per message."""
        return self.receives / self.messages - 1


async def measure(kind: Kind, treatment: Treatment, messages: int, seed: int) -> Result:
    """Let two processes empty a queue while that happens to them."""
    rng, result = random.Random(seed), Result(messages)
    with tempfile.TemporaryDirectory(prefix="loafer-numbers-") as folder:
        async with FakeSQS(lifetime=2 * PATIENCE) as fake, Workshop(pathlib.Path(folder), fake) as workshop:
            workshop.loud = False
            fake.create("orders", VisibilityTimeout=str(LEASE))
            workshop.route("orders", concurrency=CONCURRENCY, wait_time_seconds=1)
            ids = fake.send("orders", *({"sleep": rng.uniform(0, LONGEST)} for _ in range(messages)))
            if treatment == "1 % lost deletes":
                for operation in DELETES:
                    fake.fault(operation, Reset(), when="after_apply", probability=0.01, count=math.inf, seed=seed)
            running = [await _start(workshop, kind) for _ in range(PROCESSES)]
            if treatment == "15 s without deletes":
                for operation in DELETES:
                    fault = fake.fault(operation, Status("ServiceUnavailable", 503), count=math.inf)
                    asyncio.get_running_loop().call_later(15, fault.heal)
            deadline = time.monotonic() + PATIENCE
            while (left := len(fake.left("orders"))) and time.monotonic() < deadline:
                is_due = messages - left > messages * (result.blows + 1) / (BLOWS + 1)
                if treatment in ("rolling restarts", "kill -9") and is_due:
                    running.append(await _start(workshop, kind))  # first, as a rolling deploy does
                    await _strike(running.pop(0), treatment, result)
                await asyncio.sleep(GLANCE)
            result.lost = len(fake.left("orders"))
            succeeded = Counter(line.message_id for line in workshop.lines("end") if line.outcome == "ok")
            result.lost += len(set(ids) - succeeded.keys())
            result.again = sum(count - 1 for count in succeeded.values())
            result.receives = sum(len(one.answer.get("Messages", ())) for one in fake.asked("ReceiveMessage"))
    return result


async def _strike(process: Process, treatment: Treatment, result: Result) -> None:
    result.blows += 1
    if treatment == "kill -9":
        await process.kill()
        return
    begin = time.monotonic()
    await process.stop()
    result.stops.append(time.monotonic() - begin)


async def _start(workshop: Workshop, kind: Kind) -> Process:
    if kind == "Loafer":
        process = await workshop.launch()
        await process.says(r"lease \d+ s, ordered", PATIENCE)  # opened, however long that took
        return process
    process = Process(workshop, f"p{len(workshop.processes) + 1}")
    workshop.processes.append(process)
    await process.spawn(str(HERE / "raw_loop.py"), workshop.fake.endpoint, "orders")
    await process.says("running: raw", PATIENCE)
    return process


async def recovery(outage: float, times: int) -> list[float]:
    """Seconds from when a server that was gone is back to the first message that is handled, each time."""
    waited = []
    with tempfile.TemporaryDirectory(prefix="loafer-numbers-") as folder:
        async with FakeSQS(lifetime=times * (outage + 60)) as fake, Workshop(pathlib.Path(folder), fake) as workshop:
            workshop.loud = False
            fake.create("orders", VisibilityTimeout="30")
            workshop.route("orders", wait_time_seconds=1)
            await workshop.start()
            for number in range(times):
                fake.close()
                await asyncio.sleep(outage)
                [sent] = fake.send("orders", {"number": number})
                await fake.listen()
                begin = time.monotonic()
                [line] = await eventually(lambda id=sent: workshop.lines("start", message_id=id), 60)
                waited.append(line.at - begin)
    return waited
