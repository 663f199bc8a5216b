"""The peers, tuned as their documentation suggests: as much as they can receive at once, long polls, 100 handlers.

Each has a venv of its own, with the versions in constraints-NAME.txt; Node's packages are in consumers/package.json.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

from bench import venvs
from bench.lineup import CONSUMERS, Consumer, Job
from bench.scenarios import Route

ONE_QUEUE = ("no-op", "waiting", "idle", "stop")
"""For peers that take one queue an application."""
Bodies = Callable[[Job, Route], list[str]]


def _bodies(venv: str, program: str) -> Bodies:
    def write(job: Job, route: Route) -> list[str]:
        """What the peer's own producer writes, in a process of its own."""
        argv = [str(venvs.python(venv)), str(CONSUMERS / program), str(route.count), route.queue]
        routes = []
        for each in job.scenario.routes:
            job.marks(each).touch()
            routes.append({"queue": each.queue, "count": 1, "seconds": 0, "marks": str(job.folder / "unused")})
        (job.folder / "unused").write_bytes(bytes(2))
        environment = {
            "PATH": os.environ["PATH"],
            "BENCH_ROUTES": json.dumps(routes),
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        done = subprocess.run(argv, env=environment, check=True, capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return write


def _peer(venv: str, note: str, words: str, **more: Any) -> Consumer:
    """``words``: a program of the venv, and its arguments."""
    program, *arguments = words.split()
    argv = [str(venvs.place(venv) / "bin" / program), *arguments]
    return Consumer(venv, note, lambda job: argv, **more)


def _node(name: str, note: str, words: str) -> Consumer:
    argv = ["node", "sqs_consumer.mjs", *words.split()]
    environment = {"BENCH_NODE": str(venvs.place("node")), "NODE_ENV": "production"}
    return Consumer(name, note, lambda job: argv, environment=environment, grace=0.5)


PEERS = {
    "olist": [_peer("olist", "olist-loafer: shared client, receive 10, 100 workers", "python olist_app.py", share=0.3)],
    "taskiq": [
        _peer(
            "taskiq",
            "taskiq-aio-sqs: receive 10, prefetch 100, uvloop",
            "taskiq worker --workers 1 --log-level WARNING --max-async-tasks 100 --max-prefetch 100 --no-parse "
            "taskiq_app:broker",
            bodies=_bodies("taskiq", "taskiq_app.py"),
            share=0.2,
            scenarios=ONE_QUEUE,
        )
    ],
    "dramatiq": [
        _peer(
            "dramatiq",
            "dramatiq-sqs: 1 process, 100 threads, async actors, prefetch 10, which is its most",
            "dramatiq dramatiq_app -p 1 -t 100",
            environment={"dramatiq_queue_prefetch": "10"},
            bodies=_bodies("dramatiq", "dramatiq_app.py"),
            share=0.1,
        )
    ],
    "celery": [
        _peer(
            "celery",
            "kombu's SQS: 100 threads, prefetch x10, acks late, no gossip",
            "celery -A celery_app worker -l WARNING -P threads -c 100 --without-gossip --without-mingle",
            bodies=_bodies("celery", "celery_app.py"),
            share=0.05,
            scenarios=ONE_QUEUE,
        )
    ],
    "onestep": [_peer("onestep", "onestep-sqs: concurrency 100", "python onestep_app.py", share=0.2)],
    "node": [
        _node("sqs-consumer-batch", "Node: handleMessageBatch, 10 consumers", "--batch --consumers 10"),
        _node("sqs-consumer", "Node: handleMessage, 4 consumers", "--consumers 4"),
    ],
}
"""By the name of their venv."""


def there() -> list[Consumer]:
    """Those whose venv is made."""
    return [consumer for venv, consumers in PEERS.items() if venvs.is_there(venv) for consumer in consumers]
