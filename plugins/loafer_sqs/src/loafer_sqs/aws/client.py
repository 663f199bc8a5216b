"""The clients that all routes of one account, region and endpoint share: a pair for SQS, one for SNS.

Polls go over one of the pair, everything else over the other, so that an ack never queues behind a long poll. Only the
second one retries by itself: a receive that is repeated after a lost answer hides ten messages more each time.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from loafer_core import Context, CredentialError, ProviderError, Unavailable
from loafer_sqs.aws.connecting import Pair, Service, connect, is_loopback
from loafer_sqs.aws.errors import classify
from loafer_sqs.aws.server_clock import ServerClock
from loafer_sqs.options import AWSOptions

logger = logging.getLogger("loafer.sqs")

CONTROL_TIMEOUT = 20.0
"""Seconds for a call that is no poll, with its retries."""
POLL_GRACE = 15.0
"""Seconds that a poll may take beyond its wait: connecting, and up to ten megabytes of answer."""
RENEW_AFTER, RENEW_EVERY = 3, 60.0
"""Credential errors in a row after which session and clients are made anew, and the least seconds between two times."""

_warned_of: set[str] = set()
"""Endpoints that were warned of: opening is tried again and again while a source is down."""


async def shared(context: Context, connection: AWSOptions, service: Service, *, fast: bool = False) -> Clients:
    """Give the manager's clients for this connection. Raises as the provider's ``open`` does."""
    open = functools.partial(Clients, connection, service, fast=fast)
    return await context.shared(("loafer-sqs", service, connection, fast), open)


class Clients:
    """An async context manager; ``ask`` while it is open. ``fast``: hot operations go the way of ``fast.py``."""

    def __init__(self, connection: AWSOptions, service: Service = "sqs", *, fast: bool = False) -> None:
        self._connection, self._service, self._fast = connection, service, fast
        self.clock = ServerClock()
        self._pair: Pair | None = None
        self._retired: AsyncExitStack | None = None
        self._renewing = asyncio.Lock()
        self._connected_at = 0.0
        self._refusals = 0
        self._proven = False
        self._unusual_things: set[str] = set()

    def __repr__(self) -> str:
        return f"<Clients of {self.place}>"

    @property
    def place(self) -> str:
        """Region and endpoint, as resolved."""
        if self._pair is None:
            return self._service.upper()
        return f"{self._pair.control.meta.region_name} at {self.endpoint}"

    @property
    def endpoint(self) -> str:
        return "" if self._pair is None else str(self._pair.control.meta.endpoint_url)

    async def __aenter__(self) -> Self:
        _quiet_loggers()
        self._pair = await connect(self._connection, self._service, self._unusual if self._fast else None)
        self._connected_at = asyncio.get_running_loop().time()
        self._warn()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pair, self._pair = self._pair, None
        retired, self._retired = self._retired, None
        for stack in (retired, None if pair is None else pair.stack):
            if stack is not None:
                await stack.aclose()

    async def ask(
        self, method: str, *, of: object, request: Mapping[str, object], within: float = CONTROL_TIMEOUT
    ) -> dict[str, Any]:
        """Call ``method`` (``receive_message``) and give AWS's answer; every failure becomes a ProviderError.

        A 200 that AWS did not write (a captive portal's page parses to an empty answer) is Unavailable. ``of`` is who
        it is about, for people: ``queue 'orders'``.
        """
        if self._refusals >= RENEW_AFTER:
            await self._renew()
        if self._pair is None:
            raise Unavailable(f"the {self.place} clients are closed")
        loop, call = asyncio.get_running_loop(), self._pair.call_of(method)
        sent = loop.time()
        try:
            async with asyncio.timeout(within):
                answer = await call(**request)
        except Exception as error:
            # From a call, not from a variable: this frame would hold the error, and its traceback this frame and all
            # that awaits it, messages included, until the garbage collector comes.
            raise self._failed(error, method, of) from None  # boto's text holds receipts, signatures and parameters
        if not _is_from_aws(answer):
            raise Unavailable(f"{self.place_of(method, of)}: the answer is not AWS's")
        self._proven, self._refusals = True, 0
        self.clock.learn(_date(answer), sent, loop.time())
        return answer

    def _failed(self, error: Exception, method: str, of: object) -> ProviderError:
        failure = classify(error, self.place_of(method, of), method, proven=self._proven)
        self._refusals = self._refusals + 1 if isinstance(failure, CredentialError) else 0
        return failure

    def handed_out(self, answer: Mapping[str, Any], sent: float, came: float) -> float:
        """Give the loop's time before which ``answer`` cannot have been written, at most ``came``."""
        return self.clock.handed_out(_date(answer), sent, came)

    def place_of(self, method: str, of: object) -> str:
        """Where something went wrong, for people."""
        operation = "".join(part.title() for part in method.split("_"))
        return f"{operation} on {of} ({self.place})"

    def _unusual(self, what: str) -> None:
        if what in self._unusual_things:
            return
        self._unusual_things.add(what)
        logger.warning('%s: client = "fast" does not know %s: all goes the SDK\'s usual way', self.place, what)

    async def _renew(self) -> None:
        """Read the credentials anew. What is under way on the old pair ends there: it is closed a renewal later."""
        async with self._renewing:
            now = asyncio.get_running_loop().time()
            if self._pair is None or now - self._connected_at < RENEW_EVERY:
                return
            logger.warning("%s: credentials were refused %d times: reading them anew", self.place, self._refusals)
            self._connected_at = now
            try:
                pair = await connect(self._connection, self._service, self._unusual if self._fast else None)
            except ProviderError as error:
                logger.warning("%s: %s; going on with the old ones", self.place, error)
                return
            retired, self._retired = self._retired, self._pair.stack
            self._pair, self._refusals = pair, 0
            if retired is not None:
                await retired.aclose()

    def _warn(self) -> None:
        host = urlsplit(self.endpoint)
        if self.endpoint in _warned_of:
            return
        _warned_of.add(self.endpoint)
        if host.scheme == "http" and not is_loopback(self.endpoint):
            logger.warning("%s is spoken to without TLS: %s", self._service.upper(), self.endpoint)
        if self._connection.endpoint_url is None and not (host.hostname or "").endswith(_AWS_DOMAINS):
            logger.warning("the endpoint %s comes from the environment or the AWS profile", self.endpoint)


_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")


def _date(answer: Mapping[str, Any]) -> str | None:
    headers: Mapping[str, str] = (answer.get("ResponseMetadata") or {}).get("HTTPHeaders") or {}
    return headers.get("date")


def _is_from_aws(answer: dict[str, Any]) -> bool:
    metadata = answer.get("ResponseMetadata") or {}
    kind = str((metadata.get("HTTPHeaders") or {}).get("content-type", ""))
    return bool(metadata.get("RequestId")) or len(answer) > 1 or kind.startswith("application/x-amz-json")


def _quiet_loggers() -> None:
    """At DEBUG these write tokens, signatures, bodies and receipts; LOAFER_DEBUG_AWS=1 lets them."""
    if os.environ.get("LOAFER_DEBUG_AWS") == "1":
        return
    for name in ("botocore", "aiobotocore", "aiohttp"):
        if logging.getLogger(name).level < logging.WARNING:
            logging.getLogger(name).setLevel(logging.WARNING)
