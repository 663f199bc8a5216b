"""Requests to one URL over aiohttp's connections, without its making of a request and an answer for each.

What aiohttp made of the first request is the example for those that follow: its pool, writer, parser and timeouts do
the work, called as its own request calls them. Proxies, cookies and redirects are left to it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiohttp import (
    BaseConnector,
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ConnectionTimeoutError,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, StreamWriter
from multidict import CIMultiDict
from yarl import URL

REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Reply(NamedTuple):
    """Status, headers as they came, body."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


def knows_aiohttp() -> bool:
    """Tell whether aiohttp is made as we think. Where not, it sends every request itself."""
    return (
        "middlewares" in inspect.signature(ClientSession._request).parameters
        and list(inspect.signature(BaseConnector.connect).parameters) == ["self", "req", "traces", "timeout"]
        and all(hasattr(ResponseHandler, name) for name in ("set_response_params", "start_timeout", "read"))
    )


class Way:
    """The way to one URL, through ``proxy`` if there is one."""

    def __init__(self, url: str, proxy: str | None, proxy_headers: Mapping[str, str] | None) -> None:
        self.proxy = proxy
        self._url = URL(url, encoded=True)
        self._options: dict[str, Any] = {} if proxy is None else {"proxy": proxy, "proxy_headers": proxy_headers}
        if proxy is None and knows_aiohttp():
            self._options["middlewares"] = (self._look,)
        self._sent: ClientRequest | None = None
        self._example: Example | None = None

    async def post(self, session: ClientSession, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send, and read the whole answer. Raises what aiohttp raises."""
        if self._example is not None and not session.cookie_jar:
            reply = await _exchange(session, self._example, headers, body)
            if reply.status not in REDIRECTS:
                return reply
        response = await session.request("POST", self._url, headers=headers, data=body, **self._options)
        content = await response.read()
        if self._example is None and self._sent is not None:
            self._example = example_of(self._sent, headers)
        return Reply(response.status, response.raw_headers, content)

    async def _look(
        self, request: ClientRequest, send: Callable[[ClientRequest], Awaitable[ClientResponse]]
    ) -> ClientResponse:
        """Called by aiohttp with each request, those to where it was redirected too."""
        if request.url == self._url:
            self._sent = request
        return await send(request)


class Example(NamedTuple):
    """``line`` and ``headers``: what aiohttp itself put before, and between, those that it was given."""

    request: ClientRequest
    line: str
    headers: Mapping[str, str]


def example_of(request: ClientRequest, given: Mapping[str, str]) -> Example:
    """``given``: the headers that were asked for. Others come with each request anew."""
    names = {name.lower() for name in (*given, "Content-Length")}
    own = {name: text for name, text in request.headers.items() if name.lower() not in names}
    return Example(request, f"POST {request.url.raw_path_qs} HTTP/1.1", own)


async def _exchange(session: ClientSession, example: Example, headers: Mapping[str, str], body: bytes) -> Reply:
    request, line, own = example
    connector = session.connector
    assert connector is not None  # the session is open: it was just now given to us
    try:
        connection = await connector.connect(request, traces=[], timeout=session.timeout)
    except TimeoutError as error:
        raise ConnectionTimeoutError(f"Connection timeout to host {request.url}") from error
    try:
        protocol = connection.protocol
        assert protocol is not None
        protocol.set_response_params(read_until_eof=True, auto_decompress=False, read_timeout=session.timeout.sock_read)
        writer = StreamWriter(protocol, asyncio.get_running_loop())
        await writer.write_headers(line, CIMultiDict({**own, **headers, "Content-Length": str(len(body))}))
        await writer.write(body)
        protocol.start_timeout()
        message, payload = await protocol.read()
        while 100 <= message.code < 200 and message.code != 101:
            message, payload = await protocol.read()
        content = await payload.read()
    except HttpProcessingError as error:
        connection.close()
        raise ClientResponseError(
            request.request_info, (), status=error.code, message=error.message, headers=error.headers
        ) from error
    except BaseException:
        connection.close()
        raise
    connection.release()
    if cookies := message.headers.getall("Set-Cookie", ()):
        session.cookie_jar.update_cookies_from_headers(cookies, request.url)
    return Reply(message.code, message.raw_headers, content)
