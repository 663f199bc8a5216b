"""HTTP/1.1 with keep-alive, as far as SDKs use it: AWS JSON 1.0 by POST, the bench's own questions by GET."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from bench.server.actions import Later, Service
from bench.server.queues import Refused

try:
    import orjson

    dumps: Callable[[Any], bytes] = orjson.dumps
    loads: Callable[[bytes], Any] = orjson.loads
except ImportError:

    def dumps(value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":")).encode()

    loads = json.loads

JSON = "application/x-amz-json-1.0"
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found"}


class Server:
    """What connections share. ``latency`` is added to every answer, in seconds."""

    def __init__(self, service: Service, latency: float) -> None:
        self.service, self.latency, self.loop = service, latency, service.loop
        self.requests: Counter[str] = Counter()
        self._date, self._date_at = "", -1.0

    def date(self) -> str:
        now = self.loop.time()
        if now - self._date_at > 1:
            self._date, self._date_at = formatdate(usegmt=True), now
        return self._date

    def look(self, target: str) -> Any:
        """GET /stats · /left?queue= · /preload?queue=&count=&size="""
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        if url.path == "/stats":
            queues = {name: queue.state() for name, queue in self.service.queues.items()}
            return {"now": time.monotonic(), "cpu": time.process_time(), "requests": self.requests, "queues": queues}
        queue = self.service.ensure(query["queue"])
        if url.path == "/preload":
            queue.preload(int(query["count"]), int(query["size"]))
        return queue.left() if url.path == "/left" else queue.state()


class Connection(asyncio.Protocol):
    """Requests of one connection are answered one after the other."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport: asyncio.Transport | None = None
        self.buffer = b""
        self.busy = False
        self.waiting: Later | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.waiting is not None:
            self.waiting.forget()

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        self._serve()

    def _serve(self) -> None:
        while self.buffer and not self.busy and self.transport is not None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end]
            lowered = head.lower()
            until = end + 4 + int(_header(head, lowered, b"content-length") or 0)
            if len(self.buffer) < until:
                if len(self.buffer) == end + 4 and b"\r\nexpect: 100-continue" in lowered:
                    self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body, self.buffer = self.buffer[end + 4 : until], self.buffer[until:]
            self._handle(head, lowered, body)

    def _handle(self, head: bytes, lowered: bytes, body: bytes) -> None:
        target = _header(head, lowered, b"x-amz-target")
        if target is None:
            self._write(200, dumps(self.server.look(head.split(b" ", 2)[1].decode())))
            return
        action = target.decode().rpartition(".")[2]
        self.server.requests[action] += 1
        try:
            answer = self.server.service.act(action, loads(body))
        except Refused as error:
            self._answer(400, {"__type": f"com.amazonaws.sqs#{error.code}", "message": str(error)})
            return
        if isinstance(answer, Later):
            self.busy, self.waiting = True, answer
            answer.then = lambda found: self._answer(200, found)
        else:
            self._answer(200, answer)

    def _answer(self, status: int, answer: Any) -> None:
        if self.server.latency:
            self.busy = True
            self.server.loop.call_later(self.server.latency, self._resume, status, dumps(answer))
        elif self.busy:
            self._resume(status, dumps(answer))
        else:
            self._write(status, dumps(answer))

    def _resume(self, status: int, body: bytes) -> None:
        self.busy, self.waiting = False, None
        self._write(status, body)
        self._serve()

    def _write(self, status: int, body: bytes) -> None:
        if self.transport is None:
            return
        head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\n"
            f"x-amzn-RequestId: {self.server.requests.total():08x}-0000-4000-8000-000000000000\r\n"
            f"Date: {self.server.date()}\r\n"
            f"Content-Type: {JSON}\r\n"
            f"Content-Length: {len(body)}\r\n"
            "connection: keep-alive\r\n\r\n"
        )
        self.transport.write(head.encode() + body)


def _header(head: bytes, lowered: bytes, name: bytes) -> bytes | None:
    start = lowered.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return (head[start:] if end < 0 else head[start:end]).strip()
