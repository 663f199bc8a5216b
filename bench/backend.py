"""The server of one run, in a process of its own; see `bench.server`."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from typing import Any

from bench import machine
from bench.lineup import ROOT, Consumer, Job


def environment() -> dict[str, str]:
    """What a process needs to run, and nobody's profile, region, proxy or plugins."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "LANG", "TMPDIR") if name in os.environ}


class Server:
    """A server process of our own, for one run. It ends with our end of its pipe, whatever becomes of us."""

    def __init__(self, latency: float, queues: list[str]) -> None:
        names = [word for queue in queues for word in ("--queue", queue)]
        argv = [sys.executable, "-m", "bench.server", "--latency", str(latency), *names]
        with machine.on_core(machine.SERVER_CORE):
            self.process = subprocess.Popen(
                argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self._connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)

    def ask(self, path: str) -> Any:
        self._connection.request("GET", path)
        return json.load(self._connection.getresponse())

    def send(self, queue: str, bodies: list[str]) -> None:
        """The way that every producer has."""
        headers = {"X-Amz-Target": "AmazonSQS.SendMessageBatch"}
        for at in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[at : at + 10])]
            self._connection.request("POST", "/", json.dumps({"QueueUrl": f"/{queue}", "Entries": entries}), headers)
            self._connection.getresponse().read()

    def fill(self, consumer: Consumer, job: Job) -> None:
        """Every queue with its messages, in the consumer's own format."""
        for route in job.scenario.routes:
            if bodies := consumer.bodies(job, route) if route.count else []:
                self.send(route.queue, bodies)
            elif route.count:
                self.ask(f"/preload?queue={route.queue}&count={route.count}&size={route.size}")

    def stop(self) -> None:
        self._connection.close()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.wait(10)
