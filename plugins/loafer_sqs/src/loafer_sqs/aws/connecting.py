"""Making clients: session, credentials, timeouts, pools, proxies. aiobotocore is imported when somebody connects.

That takes a quarter of a second, for which ``loafer check`` need not wait.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from loafer_core import ProviderError, SourceConfigError
from loafer_sqs import __version__
from loafer_sqs.aws.errors import classify
from loafer_sqs.options import AWSOptions

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from botocore.loaders import Loader

    from loafer_sqs.fast.calls import FastCalls

Service = Literal["sqs", "sns"]

READ_TIMEOUT = 25
"""Seconds without a byte after which a poll is given up: the longest wait, and five."""
_POLLS: Mapping[str, Any] = {
    "connect_timeout": 5,
    "read_timeout": READ_TIMEOUT,
    "max_pool_connections": 1000,  # a limit, not a reservation: no sum of routes may reach it
    "retries": {"mode": "standard", "total_max_attempts": 1},
}
_CONTROL: Mapping[str, Any] = {
    "connect_timeout": 3,
    "read_timeout": 5,
    "max_pool_connections": 100,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Open clients; for SNS both are one. ``fast`` is what goes another way, by method."""

    polls: Any
    control: Any
    fast: Mapping[str, FastCalls]
    stack: AsyncExitStack

    def call_of(self, method: str) -> Callable[..., Awaitable[dict[str, Any]]]:
        """What to call for ``method``: polls have a client of their own."""
        if (fast := self.fast.get(method)) is not None:
            return functools.partial(fast.call, method)
        call: Callable[..., Awaitable[dict[str, Any]]]
        call = getattr(self.polls if method == "receive_message" else self.control, method)
        return call


async def connect(options: AWSOptions, service: Service, fast: Callable[[str], None] | None = None) -> Pair:
    """Make the clients. ``fast``: hot operations take the short way, until this is told why they cannot.

    Raises:
        ProviderError: region, profile, endpoint or credentials are not to be had.
    """
    from aiobotocore.config import AioConfig

    stack = AsyncExitStack()
    # Requests are made here, of checked options and AWS's own answers: checking them once more is 5 % of a call.
    common: dict[str, Any] = {"parameter_validation": False}
    if is_loopback(options.endpoint_url):
        common["proxies"] = {}
    sessions: list[Any] = []
    if fast is not None:
        from loafer_sqs.fast.session import session_class

        common["http_session_cls"] = session_class(sessions)
    given = {"region_name": options.region_name, "endpoint_url": options.endpoint_url}
    try:
        session = _session(options)
        if session.get_config_variable("user_agent_appid") is None:
            # Given once; otherwise the SDK assembles it twice for each call, a sixth of all that a call costs.
            common["user_agent"] = f"{session.user_agent()} loafer-sqs/{__version__}"
        polls, *others = [
            await stack.enter_async_context(
                session.create_client(service, config=AioConfig(**config, **common), **given)
            )
            for config in ((_POLLS, _CONTROL) if service == "sqs" else (_CONTROL,))
        ]
        control = others[0] if others else polls
        calls = {} if fast is None else await _fast_calls(session, polls, control, sessions, fast)
    except Exception as error:
        await stack.aclose()
        raise _unusable(error, service.upper()) from None
    return Pair(polls, control, calls, stack)


async def _fast_calls(
    session: AioSession, polls: Any, control: Any, sessions: list[Any], unusual: Callable[[str], None]
) -> dict[str, FastCalls]:
    from loafer_sqs.fast.calls import FastCalls
    from loafer_sqs.fast.session import knows_the_sdk

    credentials = await session.get_credentials()
    if credentials is None:  # the SDK will say so
        return {}
    if not knows_the_sdk():
        unusual("this version of aiobotocore")
        return {}
    return {
        "receive_message": FastCalls(polls, sessions[0], credentials, unusual),
        "delete_message_batch": FastCalls(control, sessions[1], credentials, unusual),
    }


def _session(options: AWSOptions) -> AioSession:
    from aiobotocore.session import AioSession

    key, secret, token = options.aws_access_key_id, options.aws_secret_access_key, options.aws_session_token
    if key and options.region_name and options.endpoint_url:
        # Nothing is left for a profile to say, so a stale AWS_PROFILE must not stop us.
        session = AioSession(session_vars={"profile": (None, None, None, None)})
    else:
        session = AioSession(profile=options.profile_name)
    if key is not None and secret is not None:
        session.set_credentials(key, secret.get_secret_value(), token and token.get_secret_value())
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


@functools.cache
def _loader(data_path: str | None) -> Loader:
    """Make the SDK's reader of AWS's models as a session does, but one for all: it keeps what it has read."""
    from botocore.loaders import create_loader

    return create_loader(data_path)


def _unusable(error: Exception, service: str) -> ProviderError:
    if isinstance(error, ValueError) and not hasattr(error, "kwargs"):
        text = f"{service}: the endpoint is not usable: correct endpoint_url or AWS_ENDPOINT_URL_{service}"
        return SourceConfigError(text)
    return classify(error, service, proven=False)


def is_loopback(url: str | None) -> bool:
    """Tell whether a URL stays on this machine."""
    host = urlsplit(url or "").hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
