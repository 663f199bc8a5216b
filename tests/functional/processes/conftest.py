"""The product from outside: a service on disk, ``loafer`` in a process of its own, and real servers on loopback.

Conditions are waited for by what a process says and by what a queue has, always with a deadline.
"""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from environment import nobodys

REGION = "us-east-1"
CANARY = "canary-of-the-environment"
"""The secret key of every service; no process may ever show it."""
PATIENCE = 30.0
"""Seconds for anything that is waited for."""

SAY = """\
import os

def say(*words):
    # print() writes a line in pieces, and those of two threads get mixed up.
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""


# --- queues


class Queue:
    """The other side of a queue: whoever sends to it, and looks into it."""

    def __init__(self, client: Any, name: str, dead: Queue | None, attributes: dict[str, str]) -> None:
        self.client, self.name, self.dead = client, name, dead
        self.url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def send(self, *bodies: object, **more: Any) -> list[str]:
        """Send; what is no string as JSON. Gives the ids."""
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        return [self.client.send_message(QueueUrl=self.url, MessageBody=text, **more)["MessageId"] for text in texts]

    def attributes(self, *names: str) -> list[str]:
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names))["Attributes"]
        return [found[name] for name in names]

    @property
    def counts(self) -> tuple[int, int]:
        """How many messages are visible, and how many hidden."""
        visible, hidden = self.attributes("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return int(visible), int(hidden)

    def take(self) -> list[dict[str, Any]]:
        """Receive what is visible, and delete it."""
        request = {"MaxNumberOfMessages": 10, "AttributeNames": ["All"], "MessageAttributeNames": ["All"]}
        taken: list[dict[str, Any]] = []
        while messages := self.client.receive_message(QueueUrl=self.url, **request).get("Messages"):
            for message in messages:
                self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            taken += messages
        return taken


MakeQueue = Callable[..., Queue]


def _queues(endpoint: str) -> Iterator[MakeQueue]:
    import botocore.session
    from botocore.config import Config

    client = botocore.session.Session().create_client(
        "sqs",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(proxies={}),
    )

    def make(name: str = "orders", *, dead_after: int | None = None, **attributes: str) -> Queue:
        stem, fifo, _ = name.partition(".fifo")
        dead = make(f"{stem}-dead{fifo}") if dead_after is not None else None
        if dead is not None:
            policy = {"deadLetterTargetArn": dead.attributes("QueueArn")[0], "maxReceiveCount": dead_after}
            attributes["RedrivePolicy"] = json.dumps(policy)
        if fifo:
            attributes["FifoQueue"] = "true"
        return Queue(client, f"{stem}-{uuid.uuid4().hex[:8]}{fifo}", dead, attributes)

    yield make
    client.close()


@pytest.fixture
def moto(moto_server: str) -> Iterator[MakeQueue]:
    """``moto("orders", dead_after=3)``: a new queue on moto."""
    yield from _queues(moto_server)


@pytest.fixture
def ministack(ministack_server: str) -> Iterator[MakeQueue]:
    """``ministack("orders.fifo", VisibilityTimeout="5")``: a new queue on ministack."""
    yield from _queues(ministack_server)


# --- processes


class Process:
    """One ``loafer``. What it says is read as it comes."""

    def __init__(self, arguments: list[str], cwd: pathlib.Path, environment: dict[str, str]) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "loafer_core", *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said = threading.Condition()
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._readers = [threading.Thread(target=self._read, args=[name], daemon=True) for name in self._lines]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str) -> None:
        for line in getattr(self._popen, name):
            with self._said:
                self._lines[name].append(line.rstrip("\n"))
                self._said.notify_all()

    @property
    def stdout(self) -> list[str]:
        return list(self._lines["stdout"])

    @property
    def stderr(self) -> str:
        return "\n".join(self._lines["stderr"])

    def says(self, pattern: str, times: int = 1) -> None:
        """Wait until so many lines match, on stdout or stderr."""

        def said() -> int:
            return sum(re.search(pattern, line) is not None for lines in self._lines.values() for line in lines)

        deadline = time.monotonic() + PATIENCE
        with self._said:
            while said() < times and time.monotonic() < deadline and any(map(threading.Thread.is_alive, self._readers)):
                self._said.wait(0.5)  # the end of a process notifies nobody
        assert said() >= times, f"{pattern!r} {said()} of {times} times in:\n{self.stdout}\n{self.stderr}"

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def ends(self, within: float = PATIENCE) -> int:
        """Wait for its end; gives the exit code."""
        code = self._popen.wait(within)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def close(self) -> None:
        """End it, whatever it does. It has shown no secret."""
        if self._popen.poll() is None:
            self._popen.kill()
        self.ends()
        for stream in (self._popen.stdout, self._popen.stderr):
            if stream is not None:
                stream.close()
        assert CANARY not in self.stderr
        assert CANARY not in "\n".join(self.stdout)


class Service:
    """A folder with a ``loafer.toml`` and a module ``shop``."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.environment = nobodys("LOAFER_", "PYTHON") | {"SHOP_SECRET": CANARY}
        self._processes: list[Process] = []

    def module(self, source: str, name: str = "shop") -> None:
        """Write a module; it has ``say(*words)``, a line on stdout."""
        (self.folder / f"{name}.py").write_text(SAY + textwrap.dedent(source))

    def config(self, *parts: str) -> None:
        (self.folder / "loafer.toml").write_text("\n".join(map(textwrap.dedent, parts)))

    def sqs(self, endpoint: str, **more: object) -> str:
        """The ``[defaults.sqs]`` table for a server."""
        options = {
            "endpoint_url": endpoint,
            "region_name": REGION,
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "${SHOP_SECRET}",
            **more,
        }
        return "[defaults.sqs]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items())

    def route(self, queue: Queue | str, handler: str = "shop:handle", name: str = "orders", **more: object) -> str:
        """The table of a route on a queue."""
        component = {"name": "sqs", "queue": queue if isinstance(queue, str) else queue.name}
        options = {"provider": component, "handler": handler, **more}
        return f"[routes.{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in options.items())

    def loafer(self, *arguments: str, **environment: str) -> Process:
        process = Process([*arguments], self.folder, {**self.environment, **environment})
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            process.close()


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture
def service(tmp_path: pathlib.Path) -> Iterator[Service]:
    """A service on disk; its processes are ended with the test."""
    service = Service(tmp_path)
    yield service
    service.close()
