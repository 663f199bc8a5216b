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
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from loafer_core import Context, CredentialError, ProviderError, SourceConfigError, Unavailable
from loafer_sqs.errors import classify
from loafer_sqs.options import AWSOptions

logger = logging.getLogger("loafer.sqs")

Service = Literal["sqs", "sns"]

CONTROL_TIMEOUT = 20.0
"""Seconds for a call that is no poll, with its retries."""
POLL_GRACE = 15.0
"""Seconds that a poll may take beyond its wait: connecting, and up to ten megabytes of answer."""
RENEW_AFTER, RENEW_EVERY = 3, 60.0
"""Credential errors in a row after which session and clients are made anew, and the least seconds between two times."""

_POLLS = AioConfig(
    connect_timeout=5,
    read_timeout=25,  # the longest poll and 5 s
    max_pool_connections=1000,  # a limit, not a reservation: no sum of routes may reach it
    retries={"mode": "standard", "total_max_attempts": 1},
)
_CONTROL = AioConfig(
    connect_timeout=3,
    read_timeout=5,
    max_pool_connections=100,
    retries={"mode": "standard", "total_max_attempts": 3},
)


@dataclass(frozen=True, slots=True)
class _Pair:
    polls: Any
    control: Any
    stack: AsyncExitStack


async def shared(context: Context, connection: AWSOptions, service: Service) -> Clients:
    """Give the manager's clients for this connection. Raises as the provider's ``open`` does."""
    open = functools.partial(Clients, connection, service)
    return await context.shared(("loafer-sqs", service, connection), open)


class Clients:
    """An async context manager; ``ask`` while it is open."""

    def __init__(self, connection: AWSOptions, service: Service = "sqs") -> None:
        self._connection, self._service = connection, service
        self._pair: _Pair | None = None
        self._retired: AsyncExitStack | None = None
        self._renewing = asyncio.Lock()
        self._connected_at = 0.0
        self._refusals = 0
        self._proven = False

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
        self._pair = await self._connect()
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
        client = self._pair.polls if method == "receive_message" else self._pair.control
        try:
            async with asyncio.timeout(within):
                answer: dict[str, Any] = await getattr(client, method)(**request)
        except Exception as error:
            failure = classify(error, self.place_of(method, of), method, proven=self._proven)
            self._refusals = self._refusals + 1 if isinstance(failure, CredentialError) else 0
            raise failure from None  # boto's text holds receipts, signatures and parameters
        if not _is_from_aws(answer):
            raise Unavailable(f"{self.place_of(method, of)}: the answer is not AWS's")
        self._proven, self._refusals = True, 0
        return answer

    def place_of(self, method: str, of: object) -> str:
        """Where something went wrong, for people."""
        operation = "".join(part.title() for part in method.split("_"))
        return f"{operation} on {of} ({self.place})"

    async def _connect(self) -> _Pair:
        options = self._connection
        given: dict[str, Any] = {"region_name": options.region_name, "endpoint_url": options.endpoint_url}
        if options.aws_access_key_id is not None:
            given |= {
                name: _plain(getattr(options, name)) for name in AWSOptions.model_fields if name.startswith("aws_")
            }
        stack = AsyncExitStack()
        try:
            session = _session(options)
            route = AioConfig(proxies={}) if _is_loopback(options.endpoint_url) else AioConfig()
            clients = [
                await stack.enter_async_context(
                    session.create_client(self._service, config=config.merge(route), **given)
                )
                for config in ((_POLLS, _CONTROL) if self._service == "sqs" else (_CONTROL,))
            ]
        except Exception as error:
            await stack.aclose()
            raise _unusable(error, self._service.upper()) from None
        return _Pair(clients[0], clients[-1], stack)

    async def _renew(self) -> None:
        """Read the credentials anew. What is under way on the old pair ends there: it is closed a renewal later."""
        async with self._renewing:
            now = asyncio.get_running_loop().time()
            if self._pair is None or now - self._connected_at < RENEW_EVERY:
                return
            logger.warning("%s: credentials were refused %d times: reading them anew", self.place, self._refusals)
            self._connected_at = now
            try:
                pair = await self._connect()
            except ProviderError as error:
                logger.warning("%s: %s; going on with the old ones", self.place, error)
                return
            retired, self._retired = self._retired, self._pair.stack
            self._pair, self._refusals = pair, 0
            if retired is not None:
                await retired.aclose()

    def _warn(self) -> None:
        host = urlsplit(self.endpoint)
        if host.scheme == "http" and not _is_loopback(self.endpoint):
            logger.warning("%s is spoken to without TLS: %s", self._service.upper(), self.endpoint)
        if self._connection.endpoint_url is None and not (host.hostname or "").endswith(_AWS_DOMAINS):
            logger.warning("the endpoint %s comes from the environment or the AWS profile", self.endpoint)


_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")


def _session(options: AWSOptions) -> AioSession:
    if options.aws_access_key_id and options.region_name and options.endpoint_url:
        # Nothing is left for a profile to say, so a stale AWS_PROFILE must not stop us.
        return AioSession(session_vars={"profile": (None, None, None, None)})
    return AioSession(profile=options.profile_name)


def _plain(value: Any) -> Any:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def _unusable(error: Exception, service: str) -> ProviderError:
    if isinstance(error, ValueError) and not hasattr(error, "kwargs"):
        text = f"{service}: the endpoint is not usable: correct endpoint_url or AWS_ENDPOINT_URL_{service}"
        return SourceConfigError(text)
    return classify(error, service, proven=False)


def _is_from_aws(answer: dict[str, Any]) -> bool:
    metadata = answer.get("ResponseMetadata") or {}
    kind = str((metadata.get("HTTPHeaders") or {}).get("content-type", ""))
    return bool(metadata.get("RequestId")) or len(answer) > 1 or kind.startswith("application/x-amz-json")


def _is_loopback(url: str | None) -> bool:
    host = urlsplit(url or "").hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _quiet_loggers() -> None:
    """At DEBUG these write tokens, signatures, bodies and receipts; LOAFER_DEBUG_AWS=1 lets them."""
    if os.environ.get("LOAFER_DEBUG_AWS") == "1":
        return
    for name in ("botocore", "aiobotocore", "aiohttp"):
        if logging.getLogger(name).level < logging.WARNING:
            logging.getLogger(name).setLevel(logging.WARNING)
