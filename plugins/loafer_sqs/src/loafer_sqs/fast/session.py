"""The SDK's HTTP session with a shorter way in: the same pool, timeouts, proxy, TLS and errors, less wrapping."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from aiobotocore.httpsession import AIOHTTPSession
from botocore.awsrequest import AWSPreparedRequest

from loafer_sqs.fast.http import Way


class Answer(NamedTuple):
    """One HTTP answer; the names of its headers are in lower case."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes


_raised: contextvars.ContextVar[Exception | None] = contextvars.ContextVar("raised", default=None)
"""What aiohttp raised and the SDK is to put into its own words."""


def knows_the_sdk() -> bool:
    """Tell whether the SDK's session is made as we think. Where not, an error of ours would send the request again."""
    return inspect.iscoroutinefunction(getattr(AIOHTTPSession, "_get_session", None))


class FastSession(AIOHTTPSession):  # type: ignore[misc]  # it has no types
    """For ``AioConfig(http_session_cls=...)``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ways: dict[str, Way] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send, and read the whole answer. Raises what ``send`` would."""
        headers = {**headers, "Accept-Encoding": "identity"}  # or aiohttp would ask for a compressed answer
        if (way := self._ways.get(url)) is None:
            proxy = self._proxy_config.proxy_url_for(url)
            way = self._ways[url] = Way(url, proxy, proxy and self._proxy_config.proxy_headers_for(url))
        try:
            session = await self._get_session(way.proxy)
            reply = await way.post(session, headers, body)
        except Exception as error:
            await self._raise(error, AWSPreparedRequest("POST", url, headers, body, False))
        named = {name.decode().lower(): value.decode() for name, value in reply.headers}
        return Answer(url, reply.status, named, reply.body)

    async def _raise(self, error: Exception, request: AWSPreparedRequest) -> NoReturn:
        token = _raised.set(error)
        try:
            await self.send(request)
        finally:
            _raised.reset(token)
        raise error

    async def _get_session(self, proxy_url: str | None) -> Any:
        if (error := _raised.get()) is not None:
            raise error
        return await super()._get_session(proxy_url)


def session_class(made: list[FastSession]) -> type[FastSession]:
    """A class whose instances are told to ``made``: the SDK makes them, and shows them to nobody."""

    class Told(FastSession):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    return Told
