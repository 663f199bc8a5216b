"""Looks at one run while it is under way: at the server's counters, and at the consumer in /proc."""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench import machine
from bench.backend import Server
from bench.lineup import Consumer, Job
from bench.scenarios import WAIT, Scenario

Condition = Callable[[dict[str, Any]], bool]
BEGIN, END = 0.1, 0.95
"""Measured between these shares of the messages: neither the first connections nor the last stragglers count."""


class Failed(Exception):
    pass


@dataclass
class Watch:
    """Looks at the server and at /proc, and waits for moments. ``before``: requests that were not the consumer's."""

    server: Server
    process: subprocess.Popen[bytes]
    consumer: Consumer
    job: Job
    spawned: float
    before: int
    meanwhile: Callable[[int], None]

    @property
    def scenario(self) -> Scenario:
        return self.job.scenario

    def figures(self) -> dict[str, float]:
        first = self._until(self._all_received, 60.0, pause=0.005)
        moment = max(queue["first_receive_at"] for queue in self._watched(first))
        figures = {"start": moment - self.spawned}
        match self.scenario.kind:
            case "work":
                figures |= self._late() if self.scenario.late else self._work(moment + self.scenario.limit)
            case "idle":
                figures |= self._idle()
            case "stop":
                time.sleep(self.scenario.limit)
        return figures

    def _work(self, deadline: float) -> dict[str, float]:
        count = self.scenario.count
        begin = self.reach(BEGIN * count, deadline)
        load, anon = self._load(begin), machine.memory_mib(self.process.pid, "RssAnon")
        self.meanwhile(self.process.pid)
        end = self.reach(END * count, deadline)
        spent = self._load(end).since(load)
        figures = self._rates(begin, end, spent, end["now"])
        figures["growth"] = machine.memory_mib(self.process.pid, "RssAnon") - anon
        return figures | self._whole(self.reach(count, deadline))

    def _late(self) -> dict[str, float]:
        begin = self.server.ask("/stats")
        load = self._load(begin)
        self.server.fill(self.consumer, self.job)
        deadline = time.monotonic() + self.scenario.limit
        self.reach(BEGIN * self.scenario.count, deadline)
        anon = machine.memory_mib(self.process.pid, "RssAnon")
        end = self.reach(self.scenario.count, deadline)
        spent = self._load(end).since(load)
        growth = machine.memory_mib(self.process.pid, "RssAnon") - anon
        moment = max(queue.get("last_delete_at", end["now"]) for queue in self._watched(end))
        return (
            self._rates(begin, end, spent, moment)
            | {"seconds": moment - begin["now"], "growth": growth}
            | self._whole(end)
        )

    def _rates(self, begin: dict[str, Any], end: dict[str, Any], spent: machine.Load, until: float) -> dict[str, float]:
        done = self.deleted(end) - self.deleted(begin)
        if not done:
            raise Failed(f"{self.deleted(end)} messages in {self.scenario.limit:g} s")
        rate = done / (until - begin["now"])
        return {"cpu": spent.consumer / done * 1e6, "rate": rate, "foreign": spent.foreign}

    def _whole(self, stats: dict[str, Any]) -> dict[str, float]:
        deleted = self.deleted(stats)
        return {
            "peak": machine.memory_mib(self.process.pid, "VmHWM"),
            "requests": (sum(stats["requests"].values()) - self.before) / max(1, deleted),
            "unfinished": self.scenario.count - deleted,
        }

    def _idle(self) -> dict[str, float]:
        self.reach(self.scenario.count, time.monotonic() + 30)
        self._sleep(WAIT + 1)  # receives of the time when there was work run out
        begin = self.server.ask("/stats")
        load = self._load(begin)
        self._sleep(self.scenario.limit)
        end = self.server.ask("/stats")
        spent = self._load(end).since(load)
        requests = sum(end["requests"].values()) - sum(begin["requests"].values())
        waits = spent.at / WAIT * len(self.scenario.routes)
        return {"per wait": requests / waits, "idle": spent.consumer / spent.at, "foreign": spent.foreign}

    def _watched(self, stats: dict[str, Any]) -> list[dict[str, Any]]:
        return [stats["queues"][route.queue] for route in self.scenario.routes[: self.scenario.watched]]

    def _all_received(self, stats: dict[str, Any]) -> bool:
        return all("first_receive_at" in queue for queue in self._watched(stats))

    def _load(self, stats: dict[str, Any]) -> machine.Load:
        return machine.load(self.process.pid, stats["cpu"])

    def deleted(self, stats: dict[str, Any]) -> int:
        """Of the routes that are measured."""
        return sum(queue["deleted"] for queue in self._watched(stats))

    def reach(self, deleted: float, deadline: float) -> dict[str, Any]:
        """The stats once so many are deleted, or at the deadline."""
        return self._until(lambda stats: self.deleted(stats) >= deleted or time.monotonic() > deadline)

    def _until(self, condition: Condition, patience: float = math.inf, pause: float = 0.02) -> dict[str, Any]:
        began = time.monotonic()
        while True:
            stats: dict[str, Any] = self.server.ask("/stats")
            if condition(stats):
                return stats
            if self.process.poll() is not None:
                raise Failed(f"exit status {self.process.returncode}")
            if time.monotonic() - began > patience:
                raise Failed(f"no receive within {patience:g} s")
            time.sleep(pause)

    def _sleep(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise Failed(f"exit status {self.process.returncode}")
