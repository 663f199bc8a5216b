"""An SQS server on a real socket that can be told what to do wrong, and keeps a log of everything that it was asked.

It speaks JSON protocol 1.0 and runs on the caller's loop. Behind it are queues in memory, or another server: then it is
a proxy, and the log and the faults are the same.

    async with FakeSQS() as fake:
        fake.create("orders", dead_letters_after=3, VisibilityTimeout="2")
        fake.fault("DeleteMessageBatch", Reset(), when="after_apply")
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import re
import socket
import ssl
import struct
import time
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from types import TracebackType
from typing import Any, NamedTuple, Self

from torture.fake_faults import Edit, Fault, Garbage, Hang, Kind, Late, Partial, Reset, Slow, Status, Twice, When
from torture.fake_operations import Queues
from torture.fake_queues import Json, Queue, Refusal, Stored


@dataclass(slots=True)
class Entry:
    """One request and what became of it. Times are the loop's, which is the monotonic clock of the machine."""

    arrived: float
    who: str
    """The access key that it was signed with."""
    operation: str
    queue: str
    request: Json
    fault: str = ""
    applied: float | None = None
    """When the server did it."""
    status: int = 0
    answer: Json = field(default_factory=dict)
    answered: float | None = None
    delivered: bool = False
    """``status`` and ``answer`` were written, just so, to a client that was still there."""

    @property
    def is_open(self) -> bool:
        return self.answered is None


class Answer(NamedTuple):
    status: int
    body: Json
    headers: dict[str, str]
    decided: float | None = None
    """When, by the wall clock. Messages that are handed out are hidden from then on."""


class FakeSQS:
    """Binds 127.0.0.1 and ends by itself after ``lifetime`` seconds."""

    def __init__(
        self, backend: Any = None, *, port: int = 0, tls: ssl.SSLContext | None = None, lifetime: float = 900.0
    ) -> None:
        self.backend = Queues() if backend is None else backend
        self.log: list[Entry] = []
        self.faults: list[Fault] = []
        self.port, self._tls, self._lifetime = port, tls, lifetime
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests = 0

    async def __aenter__(self) -> Self:
        await self.listen()
        self._end = asyncio.get_running_loop().call_later(self._lifetime, self.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.cancel()
        self.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self) -> None:
        """Also again after ``close``, on the same port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self._tls, limit=2**24)
        self.port = self._server.sockets[0].getsockname()[1]
        self.endpoint = f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"
        self.backend.endpoint = self.endpoint

    def close(self) -> None:
        """Refuse connections, and drop those that are open."""
        self._server.close()
        for task in self._tasks:
            task.cancel()

    # --- the test's side

    def fault(
        self,
        operation: str,
        kind: Kind,
        *,
        when: When = "before",
        queue: str | None = None,
        who: str | None = None,
        nth: int = 1,
        count: float = 1,
        probability: float = 1.0,
        seed: int = 0,
    ) -> Fault:
        """From now on, do this wrong. The first of several that fit is taken."""
        fault = Fault(operation, kind, when, queue, who, nth, count, probability)
        fault.rng.seed(seed)
        self.faults.append(fault)
        return fault

    def create(self, name: str, *, dead_letters_after: int | None = None, **attributes: str) -> Queue:
        """Make a queue; with ``<name>-dead`` behind it if wanted."""
        if dead_letters_after is not None:
            stem, dot, kind = name.partition(".fifo")
            dead = self.create(f"{stem}-dead{dot}{kind}").name
            target = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{dead}"}
            attributes["RedrivePolicy"] = json.dumps(target | {"maxReceiveCount": dead_letters_after})
        queue = self.backend.queues[name] = Queue(name, attributes)
        return queue

    def send(self, name: str, *bodies: object, group: str | None = None) -> list[str]:
        """Send bodies (what is no string, as JSON); gives their ids."""
        queue, first = self.backend.queues[name], len(self.log)
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        sent = [Stored("", text, {}, group) for text in texts]
        for number, stored in enumerate(sent):
            stored.id = f"{name.partition('.')[0]}-{first}-{len(queue.messages)}-{number}"
            stored.dedup = stored.id if queue.fifo else None
            queue.put(stored)
        return [stored.id for stored in sent]

    def asked(self, operation: str, queue: str | None = None) -> list[Entry]:
        """Requests of this operation, in the order in which they came."""
        return [entry for entry in self.log if entry.operation == operation and queue in (None, entry.queue)]

    def left(self, queue: str) -> list[str]:
        """Ids of what the queue still holds."""
        return list(self.backend.queues[queue].messages)

    def hidden(self, queue: str) -> list[str]:
        """Ids of what somebody holds, or has delayed."""
        return [one.id for one in self.backend.queues[queue].hidden()]

    def end_polls(self) -> None:
        """Answer the receives that are open, with nothing."""
        self.backend.end_polls()

    def dump(self, path: pathlib.Path) -> None:
        """Write the log as JSON Lines."""
        path.write_text("".join(json.dumps(asdict(entry), default=str) + "\n" for entry in self.log))

    # --- the wire's side

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError, ssl.SSLError):
            while await self._serve(reader, writer):
                pass
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in head.split("\r\n")[1:])}
        request = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        entry = self._entry(headers, request)
        place = entry.operation, entry.queue, entry.who
        fault = next((fault for fault in self.faults if fault.befalls(*place)), None)
        entry.fault = "" if fault is None else f"{type(fault.kind).__name__} {fault.when}"
        try:
            answer = await self._apply(entry, fault)
            return await self._answer(entry, answer, None if fault is None else fault.kind, reader, writer)
        finally:
            entry.answered = asyncio.get_running_loop().time()

    def _entry(self, headers: dict[str, str], request: Json) -> Entry:
        key = re.search(r"Credential=([^/]+)/", headers.get("authorization", ""))
        name = str(request.get("QueueUrl") or request.get("QueueName") or "").rpartition("/")[2]
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        entry = Entry(asyncio.get_running_loop().time(), key[1] if key else "", operation, name, request)
        self.log.append(entry)
        return entry

    async def _apply(self, entry: Entry, fault: Fault | None) -> Answer:
        kind = None if fault is None else fault.kind
        stays_away = fault is not None and fault.when == "before" and not isinstance(kind, (Slow, Late, Twice, Edit))
        if isinstance(kind, Late):
            await asyncio.sleep(kind.seconds)
        if isinstance(kind, Partial):
            return await self._apply_partly(entry, kind, applied=not stays_away)
        if stays_away:
            return Answer(0, {}, {})
        answer = await self._ask(entry.operation, entry.request)
        entry.applied = asyncio.get_running_loop().time()
        if isinstance(kind, Twice):
            for message in answer.body.get("Messages", ()):
                self.backend.queues[entry.queue].show(message["MessageId"])
        return answer

    async def _apply_partly(self, entry: Entry, kind: Partial, *, applied: bool) -> Answer:
        entries = entry.request["Entries"]
        failing = {one["Id"]: kind.entries[place] for place, one in enumerate(entries) if place in kind.entries}
        asked = [one for one in entries if applied or one["Id"] not in failing]
        answer = await self._ask(entry.operation, entry.request | {"Entries": asked}) if asked else Answer(200, {}, {})
        entry.applied = asyncio.get_running_loop().time()
        if answer.status == 200:
            good = [one for one in answer.body.get("Successful", ()) if one["Id"] not in failing]
            bad = [one for one in answer.body.get("Failed", ()) if one["Id"] not in failing]
            bad += [{"Id": id, "Code": code, "SenderFault": False} for id, code in failing.items() if code]
            answer = answer._replace(body={"Successful": good, "Failed": bad})
        return answer

    async def _ask(self, operation: str, request: Json) -> Answer:
        try:
            body = await self.backend.call(operation, request)
            return Answer(200, body, {}, time.time())
        except Refusal as no:
            return _refused(no)
        except (KeyError, TypeError, ValueError) as error:
            return _refused(Refusal("MissingParameter", repr(error)))

    async def _answer(
        self,
        entry: Entry,
        answer: Answer,
        kind: Kind | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Write it, or what the fault makes of it; tells whether the connection goes on."""
        if isinstance(kind, Hang):
            await reader.read(1)  # until the client goes away
            return False
        if isinstance(kind, Status):
            answer = _refused(Refusal(kind.code, kind.text, kind.http))
        if isinstance(kind, Edit):
            answer = answer._replace(body=_edited(answer.body, kind))
        entry.status, entry.answer = answer.status, answer.body
        body = kind.body if isinstance(kind, Garbage) else json.dumps(answer.body).encode()
        head = self._head(answer, kind, len(body))
        if isinstance(kind, Reset):
            writer.write((head + body)[: kind.after])
            await writer.drain()
            _abort(writer)
            return False
        if isinstance(kind, Slow):
            writer.write(head)
            for number in range(len(body)):
                await asyncio.sleep(kind.seconds / len(body))
                writer.write(body[number : number + 1])
        else:
            writer.write(head + body)
        await writer.drain()
        is_there = not reader.at_eof() and not writer.is_closing()
        entry.delivered = is_there and not isinstance(kind, Garbage)
        return is_there and not (isinstance(kind, Garbage) and kind.length is not None)

    def _head(self, answer: Answer, kind: Kind | None, length: int) -> bytes:
        self._requests += 1
        status, headers = answer.status, {"Content-Type": "application/x-amz-json-1.0", **answer.headers}
        date = formatdate(answer.decided, usegmt=True)
        headers |= {"x-amzn-RequestId": f"fake-{self._requests:08d}", "Date": date}
        if isinstance(kind, Garbage):
            status, headers = kind.http, dict(kind.headers)
            length = length if kind.length is None else kind.length
        headers["Content-Length"] = str(length)
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {text}" for name, text in headers.items()), "", ""]
        return "\r\n".join(lines).encode()


def _refused(no: Refusal) -> Answer:
    blame = "Sender" if no.status < 500 else "Receiver"
    body = {"__type": f"com.amazonaws.sqs#{no.code}", "message": str(no)}
    return Answer(no.status, body, {"x-amzn-query-error": f"{no.query_code};{blame}"})


def _edited(body: Json, edit: Edit) -> Json:
    messages = [dict(message) for message in body.get("Messages", ())]
    for place, change in edit.messages.items():
        if place < len(messages):
            messages[place] |= change
            messages[place] = {key: value for key, value in messages[place].items() if value is not ...}
    return body | ({"Messages": messages} if messages else {}) | edit.keys


def _abort(writer: asyncio.StreamWriter) -> None:
    """With a reset, not with an orderly end."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
