"""What every Python consumer does with a message: mark its start, perhaps wait as for I/O, mark its end.

Marks are a shared file of 2 * count bytes for each route: byte ``seq`` counts the starts of message ``seq``, byte
``count + seq`` its ends. The kernel keeps them when the process is killed. `bench.runner` says in the environment what
there is to do: BENCH_ENDPOINT, BENCH_CONCURRENCY, BENCH_ROUTES.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import time
from typing import Any

ENDPOINT = os.environ.get("BENCH_ENDPOINT", "http://127.0.0.1:9324")
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "100"))
REGION = "us-east-1"
ACCESS_KEY, SECRET_KEY = "AKIABENCHBENCHBENCH0", "benchbenchbenchbenchbenchbenchbenchbench"
PAD = "x" * 180


class Route:
    def __init__(self, queue: str, count: int, seconds: float, marks: str) -> None:
        """``seconds``: how long a handler waits. ``marks``: path of the file."""
        self.queue, self.count, self.seconds = queue, count, seconds
        self.url = f"{ENDPOINT}/000000000000/{queue}"
        with open(marks, "r+b") as file:
            self.marks = mmap.mmap(file.fileno(), 2 * count)

    async def handle(self, payload: dict[str, Any]) -> None:
        seq = payload["seq"]
        self.marks[seq] += 1
        if self.seconds:
            await asyncio.sleep(self.seconds)
        self.marks[self.count + seq] += 1

    def handle_in_thread(self, payload: dict[str, Any]) -> None:
        seq = payload["seq"]
        self.marks[seq] += 1
        if self.seconds:
            time.sleep(self.seconds)
        self.marks[self.count + seq] += 1


ROUTES = {each["queue"]: Route(**each) for each in json.loads(os.environ.get("BENCH_ROUTES", "[]"))}
