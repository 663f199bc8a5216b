"""The test client: one message through one route as it is configured, without its broker.

Everything is real but the two ends: the provider is ``memory``, and a plugin's ready-made handler, which would publish,
is not even built; what it was to send is written down.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from loafer_core.api.errors import ConfigError, Finding
from loafer_core.api.outcomes import Ack, Nack, Outcome, Reject
from loafer_core.api.provider import Provider, Publishes
from loafer_core.api.route import Component, Route
from loafer_core.app.manager import Manager
from loafer_core.app.session import Session
from loafer_core.config.settings import Config, Settings, check_route, read
from loafer_core.delivery.pipeline import Decision
from loafer_core.engine.shutdown import ShutdownDeadlines
from loafer_core.testing.rehearsal import Published, Rehearsal, StandIn, rehearse

Source = str | os.PathLike[str] | Mapping[str, object] | Manager | Route | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """How one delivery ended."""

    outcome: Outcome
    """As handler, error handlers and middlewares decided: ``Nack()`` leaves the delay to the route."""
    error: BaseException | None
    """What was raised on the way, also where an error handler then acked; with its traceback."""
    published: tuple[Published, ...]
    logs: tuple[logging.LogRecord, ...] = field(repr=False)
    """What anybody logged on the way, from the level on that each logger has."""

    @property
    def acked(self) -> bool:
        return isinstance(self.outcome, Ack)

    @property
    def nacked(self) -> bool:
        return isinstance(self.outcome, Nack)

    @property
    def rejected(self) -> bool:
        return isinstance(self.outcome, Reject)


async def deliver(
    source: Source,
    route: str | None,
    payload: object,
    attributes: Mapping[str, str | bytes] | None = None,
    *,
    group: str | None = None,
    receive_count: int = 1,
    metadata: Mapping[str, object] | None = None,
    provider: Component | Provider = "memory",
    overrides: Sequence[str] = (),
    timeout: float = 30.0,
) -> Delivered:
    """Put one message through one route, once, and tell how that ended. The route's own source is not touched.

    Translator, middlewares, handler, error handlers and lifespan are the real ones, opened before and closed after.
    Observers are left out. It is one delivery: what a nack leads to is not waited for.

    Args:
        source: ``loafer.toml`` by path, the same as a mapping, None for what lies in the working directory; or a
            Manager, or a Route.
        route: the route's name; None where there is only one.
        payload: str and bytes are the body as it is, anything else becomes JSON (models and dataclasses too).
        attributes: what the sender puts beside the body.
        group: the ordering key.
        receive_count: which delivery of the message this is; only with ``memory``.
        metadata: the source's own facts, such as ``{"queue": "orders"}``; only with ``memory``.
        provider: in place of the route's own. ``"memory"`` is a queue of this delivery's own, with a dead-letter
            queue; any other component must be able to publish (``Publishes``).
        overrides: as ``--set``: ``loafer.lifespan=tests.app:lifespan``. Only where ``source`` is a file or a mapping.
        timeout: seconds that all of it may take.

    Raises:
        ConfigError: the route cannot be built or opened; with every finding.
        RouteFailed: it ended by itself.
        TimeoutError: it took longer than ``timeout``.
        TypeError: ``payload`` cannot be written as JSON; or arguments that do not go together.
    """
    body = _body(payload)
    if provider == "memory":
        provider = StandIn(receive_count, metadata or {})
    elif receive_count != 1 or metadata:
        raise TypeError("receive_count and metadata are what provider='memory' makes up; another source has its own")
    rehearsal = rehearse(_config(source, overrides), route, provider)
    with _Logs() as logs:
        decision = await _run(rehearsal, lambda source: source.publish(body, attributes, group), timeout)
    return Delivered(decision.outcome, decision.error, tuple(rehearsal.published), tuple(logs.records))


def _body(payload: object) -> str | bytes:
    if isinstance(payload, str | bytes):
        return payload
    try:
        return to_json(payload).decode()
    except PydanticSerializationError as error:
        raise TypeError(f"a {type(payload).__name__} that cannot be written as JSON: {error}") from None


def _config(source: Source, overrides: Sequence[str]) -> Config:
    if not isinstance(source, Manager | Route):
        return read(source, overrides=overrides)
    if overrides:
        raise TypeError("overrides are for a file or a mapping; a Manager and a Route are what they are")
    if isinstance(source, Manager):
        return Config(source.settings)
    return Config(Settings(routes=(source,)), tuple(check_route(source)))


async def _run(
    rehearsal: Rehearsal, publish: Callable[[Publishes], Coroutine[Any, Any, str]], timeout: float
) -> Decision:
    loop, hurry = asyncio.get_running_loop(), asyncio.Event()
    session = Session(rehearsal, {}, max_wait=1.0)

    async def decision() -> Decision:
        id_ = await publish(_publishing(session))
        while id_ not in rehearsal.decisions:
            rehearsal.decided.clear()
            await rehearsal.decided.wait()
        return rehearsal.decisions[id_]

    waits: list[asyncio.Future[Any]] = []
    try:
        async with asyncio.timeout(timeout):
            await session.start()
            waits += [asyncio.ensure_future(decision()), asyncio.ensure_future(session.wait())]
            [first, *_], _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            result: Decision = first.result()
            return result
    except TimeoutError:
        hurry.set()
        raise TimeoutError(f"the delivery did not end within {timeout:g} s (deliver's timeout)") from None
    finally:
        for wait in waits:
            wait.cancel()
        await session.stop(ShutdownDeadlines.of(loop.time(), rehearsal.settings.shutdown_timeout, hurry), "done")


def _publishing(session: Session) -> Publishes:
    [consumer] = session.consumers
    if not isinstance(consumer.provider, Publishes):
        raise ConfigError(Finding("deliver", "the provider that was given cannot publish, so it takes no message"))
    return consumer.provider


_logs: ContextVar[logging.Handler] = ContextVar("loafer_test_logs")


class _Logs(logging.Handler):
    """Collects what is logged in the context that entered it, and in the tasks and threads that began there."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def __enter__(self) -> _Logs:
        self._token = _logs.set(self)
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger().removeHandler(self)
        _logs.reset(self._token)

    def emit(self, record: logging.LogRecord) -> None:
        if _logs.get(None) is self:
            self.records.append(record)
