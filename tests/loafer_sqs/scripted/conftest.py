"""A server of our own for what others cannot do: faults, lost answers, exact counts. It speaks as SQS and as SNS."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import urllib.parse
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import pytest


@dataclass(frozen=True)
class Fault:
    """An answer that is an error, in the words of whoever is asked."""

    code: str
    status: int
    message: str

    def written(self, as_xml: bool) -> bytes:
        if as_xml:
            error = to_xml({"Error": {"Code": self.code, "Message": self.message}, "RequestId": "test"})
            return http(self.status, f"<ErrorResponse>{error}</ErrorResponse>".encode(), content_type="text/xml")
        answer = {"__type": f"com.amazonaws.sqs#{self.code}", "message": self.message}
        return http(self.status, json.dumps(answer).encode())


def http(status: int, body: bytes, **headers: str) -> bytes:
    lines = {"content_type": "application/x-amz-json-1.0", "x_amzn_requestid": "test", "connection": "close"}
    head = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in {**lines, **headers}.items() if text)
    return f"HTTP/1.1 {status} X\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body


def to_xml(value: Any, name: str = "") -> str:
    if name == "Attributes":
        value = {"entry": [{"key": key, "value": text} for key, text in value.items()]}
        return "".join(f"<entry>{to_xml(entry)}</entry>" for entry in value["entry"])
    if isinstance(value, dict):
        return "".join(f"<{key}>{to_xml(inner, key)}</{key}>" for key, inner in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{to_xml(inner)}</member>" for inner in value)
    return escape(str(value))


def from_form(text: str) -> dict[str, Any]:
    """``Entries.member.1.Id=a`` -> ``{"Entries": [{"Id": "a"}]}``; a map's entries by their names."""
    tree: dict[str, Any] = {}
    for path, value in urllib.parse.parse_qsl(text, keep_blank_values=True):
        *parents, last = path.split(".")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    folded: dict[str, Any] = _fold(tree)
    return folded


def _fold(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    folded = {key: _fold(value) for key, value in node.items()}
    if folded.keys() == {"member"}:
        return list(folded["member"].values())
    if folded.keys() == {"entry"}:
        return {entry["Name"]: entry["Value"] for entry in folded["entry"].values()}
    return folded


@dataclass
class Scripted:
    """A reply is a dict, a Fault, raw bytes, or a function giving one of them.

    Raw bytes, such as what ``http`` gives, are written as they are, and the connection is closed.
    """

    endpoint: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    replies: dict[str, Any] = field(default_factory=dict)
    authorizations: list[str] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    """Request line, headers and body of each call, as they came."""
    connections: set[Any] = field(default_factory=set)
    http = staticmethod(http)

    def on(self, operation: str, reply: Any) -> None:
        self.replies[operation] = reply

    @staticmethod
    def error(code: str, status: int = 400, message: str = "no") -> Fault:
        return Fault(code, status, message)

    @staticmethod
    async def done(request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a batch of settlements whose every entry went well."""
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]]}

    @staticmethod
    async def taken(request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a batch of messages that were all taken; the id of each is ``id of <body>``."""
        if "TopicArn" in request:
            entries = request["PublishBatchRequestEntries"]
            return {"Successful": [{"Id": e["Id"], "MessageId": f"id of {e['Message']}"} for e in entries]}
        return {"Successful": [_taken(entry["Id"], entry["MessageBody"]) for entry in request["Entries"]]}

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [request for name, request in self.calls if name == operation]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        as_xml = "x-amz-target" not in headers
        request = from_form(body) if as_xml else json.loads(body or "{}")
        operation = request["Action"] if as_xml else headers["x-amz-target"].partition(".")[2]
        self.calls.append((operation, request))
        self.requests.append((head[0], headers, body))
        self.authorizations.append(headers.get("authorization", ""))
        reply = self.replies.get(operation, self.error("InvalidAction"))
        if callable(reply):
            reply = await reply(request)
        writer.write(_written(operation, reply, as_xml))
        await writer.drain()
        return isinstance(reply, dict)


def _taken(id: str, body: str) -> dict[str, str]:
    digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    return {"Id": id, "MessageId": f"id of {body}", "MD5OfMessageBody": digest}


def _written(operation: str, reply: Any, as_xml: bool) -> bytes:
    if isinstance(reply, Fault):
        return reply.written(as_xml)
    if isinstance(reply, bytes):
        return reply
    if as_xml:
        result = to_xml({f"{operation}Result": reply, "ResponseMetadata": {"RequestId": "test"}})
        body = f"<{operation}Response>{result}</{operation}Response>".encode()
        return http(200, body, content_type="text/xml", connection="keep-alive")
    return http(200, json.dumps(reply).encode(), connection="keep-alive")


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    scripted = Scripted()
    listener = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    scripted.endpoint = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    scripted.on("GetQueueUrl", {"QueueUrl": f"{scripted.endpoint}/000000000000/orders"})
    scripted.on("GetQueueAttributes", {"Attributes": {"VisibilityTimeout": "30"}})
    scripted.on("GetTopicAttributes", {"Attributes": {}})
    scripted.on("SendMessageBatch", scripted.taken)
    scripted.on("PublishBatch", scripted.taken)
    yield scripted
    listener.close()
    for task in scripted.connections:
        task.cancel()
    await asyncio.gather(*scripted.connections, return_exceptions=True)
    await listener.wait_closed()


@dataclass(frozen=True)
class Way:
    """One of the two handlers, as it sees the scripted server."""

    scripted: Scripted
    operation: str
    options: dict[str, Any]
    of: str

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Every entry that was sent, in order."""
        return [entry for request in self.requests for entry in request]

    @property
    def requests(self) -> list[list[dict[str, Any]]]:
        """The entries of each request."""
        key = "PublishBatchRequestEntries" if self.operation == "PublishBatch" else "Entries"
        return [request[key] for request in self.scripted.asked(self.operation)]

    def body(self, entry: dict[str, Any]) -> str:
        return str(entry["Message" if self.operation == "PublishBatch" else "MessageBody"])


@pytest.fixture(params=["sqs", "sns"])
def way(request: pytest.FixtureRequest, scripted: Scripted) -> Way:
    if request.param == "sqs":
        return Way(scripted, "SendMessageBatch", {"queue": "orders"}, "queue 'orders'")
    return Way(scripted, "PublishBatch", {"topic": "arn:aws:sns:us-east-1:123456789012:orders"}, "topic 'orders'")
