"""``loafer run`` as a process, and what it left behind: its log, its exit code, and the lines of its handlers."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import re
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import tomli_w
from environment import nobodys
from torture.checker import Report, check
from torture.counts import PATIENCE
from torture.fake_sqs import FakeSQS
from torture.history import Handling, History, Interruption

from loafer_core.observability.account import DISPOSITIONS

HERE = pathlib.Path(__file__).parent
T = TypeVar("T")


async def eventually(find: Callable[[], T], within: float = PATIENCE, what: str = "it") -> T:
    """Wait until ``find()`` gives something true, and give that."""
    deadline = time.monotonic() + within
    while not (found := find()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {within:g} s")
        await asyncio.sleep(0.01)
    return found


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a handler: ``event`` is start, end or failure."""

    at: float
    who: str
    event: str
    outcome: str
    lost: bool
    message_id: str
    receive_count: int
    group: str | None
    route: str


class Held(NamedTuple):
    """``most_mebibytes``: so far."""

    files: int
    threads: int
    mebibytes: float
    most_mebibytes: float


class Workshop:
    """A folder with one configuration for any number of processes, and the log that their handlers write."""

    def __init__(self, folder: pathlib.Path, fake: FakeSQS) -> None:
        self.folder, self.fake = folder, fake
        self.settings: dict[str, Any] = {"import_paths": [str(HERE)], "shutdown_timeout": 10}
        self.defaults: dict[str, Any] = {
            "region_name": "us-east-1",
            "endpoint_url": fake.endpoint,
            "wait_time_seconds": 1,
            "client": os.environ.get("LOAFER_SQS_CLIENT", "sdk"),
        }
        self.routes: dict[str, Any] = {}
        self.processes: list[Process] = []
        self.interruptions: list[Interruption] = []
        self.environment: dict[str, str] = {}
        self.loud = True
        self._log = folder / "handlers.jsonl"
        self._log.touch()
        self._read = 0
        self._lines: list[Line] = []

    def route(self, queue: str, name: str = "", *, handler: str = "handle", **options: Any) -> None:
        """Give a queue to the service; of ``options``, those of the provider are told apart by their names."""
        ours = {"visibility_timeout", "wait_time_seconds", "receives", "max_messages"}
        provider = {"name": "sqs", "queue": queue} | {k: v for k, v in options.items() if k in ours}
        settings = {"retry": {"base": 1, "cap": 1}} | {k: v for k, v in options.items() if k not in ours}
        name = name or queue.partition(".")[0]
        self.routes[name] = {"provider": provider, "handler": f"service:{handler}", **settings}

    async def start(self, *arguments: str, who: str = "") -> Process:
        """``loafer run`` with these arguments more; gives it once it receives."""
        process = await self.launch(*arguments, who=who)
        await process.says("running: ")
        for name in self.routes:  # one that took long to open goes on by itself
            await process.says(f"{name}: queue '")
        return process

    async def launch(self, *arguments: str, who: str = "") -> Process:
        """As ``start``, without waiting for anything."""
        config = self.folder / "loafer.toml"
        tables = {"loafer": self.settings, "defaults": {"sqs": self.defaults}, "routes": self.routes}
        config.write_text(tomli_w.dumps(tables))
        process = Process(self, who or f"p{len(self.processes) + 1}")
        self.processes.append(process)
        await process.spawn("-m", "loafer_core", "run", "-c", str(config), *arguments)
        return process

    async def finish(self, *queues: str, within: float = PATIENCE) -> None:
        """A process more empties the queues and stops."""
        process = await self.start()
        await self.emptied(*queues, within=within)
        assert await process.stop_early() == 0

    async def emptied(self, *queues: str, within: float = PATIENCE) -> None:
        """Wait until nothing is left in them."""
        await eventually(lambda: not any(map(self.fake.left, queues)), within, f"{' and '.join(queues)} being empty")

    def release(self, name: str) -> None:
        """Let the handlers end that were told to work until then."""
        (self.folder / name).touch()

    def lines(self, event: str = "", **wanted: object) -> list[Line]:
        """What the handlers wrote so far; ``wanted`` by field."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            complete, newline, _ = log.read().rpartition(b"\n")
        self._read += len(complete) + len(newline)
        self._lines += [Line(**json.loads(line)) for line in complete.splitlines()]
        wanted |= {"event": event} if event else {}
        return [line for line in self._lines if all(getattr(line, name) == value for name, value in wanted.items())]

    @property
    def handlings(self) -> list[Handling]:
        """Start and end of each handling; what a kill cut off ends there."""
        ends = {(line.who, line.message_id, line.receive_count): line for line in self.lines("end")}
        killed = {one.who: one.begin for one in self.interruptions if one.kind == "kill"}
        handlings = []
        for line in self.lines("start"):
            end = ends.get((line.who, line.message_id, line.receive_count))
            at, word = (killed.get(line.who), "killed") if end is None else (end.at, end.outcome)
            group = line.group or ""
            handlings.append(Handling(line.who, line.message_id, line.receive_count, group, line.at, at, word))
        return handlings

    def history(self, sent: Collection[str] | Mapping[str, str], **facts: Any) -> History:
        """``sent``: the ids in order, with their groups if they have any; ``facts``: see History."""
        groups = sent if isinstance(sent, Mapping) else dict.fromkeys(sent, "")
        return History(self.fake.log, self.handlings, groups, interruptions=self.interruptions, **facts)

    def report(self, history: History) -> Report:
        """Hold it against the promises, and the accounts of all processes that ended in order as well."""
        report = check(history)
        for process in self.processes:
            for route, account in process.accounts().items():
                if account["received"] != sum(account.get(word, 0) for word in DISPOSITIONS):
                    report.broken.append(f"the account of {route} in {process.who} does not add up: {account}")
        return report

    def check(self, sent: Collection[str] | Mapping[str, str], *, dead: str = "", **facts: Any) -> Report:
        """Fail where a promise was broken. ``dead``: name of the dead-letter queue."""
        facts = {"concurrency": 10, "dead": self.fake.left(dead) if dead else (), **facts}
        report = self.report(self.history(sent, **facts))
        assert report.ok, str(report)
        return report

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self.processes:
            await process.end()
            if self.loud:
                print(f"--- {process.who}\n{process.log}")  # shown where the test fails


class Process:
    """One process of the service. ``who`` is the access key that it signs its requests with."""

    def __init__(self, workshop: Workshop, who: str) -> None:
        self.workshop, self.who = workshop, who
        self._log = workshop.folder / f"{who}.log"

    async def spawn(self, *arguments: str) -> None:
        environment = nobodys() | {
            "AWS_ACCESS_KEY_ID": self.who,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SHARED_CREDENTIALS_FILE": str(self.workshop.folder / "credentials"),
            "TORTURE_WHO": self.who,
            "TORTURE_LOG": str(self.workshop.folder / "handlers.jsonl"),
            "PYTHONFAULTHANDLER": "1",
            **self.workshop.environment,
        }
        environment = {name: value for name, value in environment.items() if value}
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, cwd=self.workshop.folder, env=environment, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def says(self, pattern: str, within: float = PATIENCE) -> re.Match[str]:
        """Wait until its log has this."""

        def find() -> re.Match[str] | None:
            found = re.search(pattern, self.log)
            if not found and not self.is_running:
                raise AssertionError(f"{self.who} ended with {self._process.returncode}:\n{self.log}")
            return found

        return await eventually(find, within, f"{self.who} saying {pattern!r}")

    def holds(self) -> Held:
        """What it holds now. Linux only."""
        folder = pathlib.Path(f"/proc/{self._process.pid}")
        facts = dict(re.findall(r"(\w+):\s+(\d+)", (folder / "status").read_text()))
        files = len(os.listdir(folder / "fd"))
        return Held(files, int(facts["Threads"]), int(facts["VmRSS"]) / 1024, int(facts["VmHWM"]) / 1024)

    def accounts(self) -> Mapping[str, Mapping[str, int]]:
        """What it counted, said at its end: received, acked, nacked and so on, by route."""
        found = re.findall(r"account of (\S+): (.*)", self.log)
        return {name: {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", text)} for name, text in found}

    def send(self, number: signal.Signals) -> float:
        """Gives when it was sent."""
        self._process.send_signal(number)
        return time.monotonic()

    async def exit_code(self, within: float = PATIENCE) -> int:
        """Wait until it ends."""
        async with asyncio.timeout(within):
            return await self._process.wait()

    async def stop(self, within: float = PATIENCE) -> int:
        """SIGTERM; gives the exit code."""
        self.send(signal.SIGTERM)
        return await self.exit_code(within)

    async def stop_early(self) -> int:
        """SIGTERM, and no poll keeps it waiting: where the stop is not what the story is about."""
        self.send(signal.SIGTERM)
        return await self.ends_early()

    async def ends_early(self) -> int:
        """As ``exit_code``, and its polls end now."""
        await eventually(lambda: self.workshop.fake.end_polls() or not self.is_running, what=f"the end of {self.who}")
        return await self.exit_code()

    async def pause(self, until: Callable[[], object], within: float = PATIENCE) -> None:
        """SIGSTOP, and SIGCONT when ``until()`` is true; noted for the checker."""
        begin = self.send(signal.SIGSTOP)
        try:
            await eventually(until, within, f"what {self.who} was stopped for")
        finally:
            end = self.send(signal.SIGCONT)
            self.workshop.interruptions.append(Interruption("stop", self.who, begin, end))

    async def kill(self) -> None:
        """SIGKILL, noted for the checker."""
        if self.is_running:
            at = self.send(signal.SIGKILL)
            await self._process.wait()
            self.workshop.interruptions.append(Interruption("kill", self.who, at, time.monotonic()))

    async def end(self) -> None:
        """For tidying up: nothing is left of it."""
        if self.is_running:
            self._process.kill()
            await self._process.wait()
