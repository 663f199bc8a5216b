"""One message through one route.

middlewares(translate -> handle) -> outcome; what raises -> error handlers -> outcome.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from loafer_core._tasks import uncancel
from loafer_core.api.components import Failure, Stage, Translation, Translator
from loafer_core.api.errors import OutcomeError, TranslationError
from loafer_core.api.message import Message
from loafer_core.api.outcomes import RETURNS, Ack, Outcome, described, is_outcome, read, settled_by
from loafer_core.api.route import Route
from loafer_core.delivery.error_handlers import ErrorHandler, consult
from loafer_core.delivery.handlers import Handler, name_of
from loafer_core.observability.account import Account

logger = logging.getLogger("loafer.delivery")

CallNext = Callable[[Message], Awaitable[Outcome]]
Middleware = Callable[[Message, CallNext], Awaitable[object]]


class Decision(NamedTuple):
    """The outcome of a delivery, and what was raised on the way to it."""

    outcome: Outcome
    error: BaseException | None = None


@dataclass(slots=True)
class _Attempt:
    """Where the running delivery is, so that a failure can tell its stage. ``raised`` is what came out of there."""

    task: int
    """The ``id()`` of the task that decides; the task itself would hold this and be held by it."""
    stage: Stage = "middleware"
    raised: BaseException | None = None


_attempt: ContextVar[_Attempt] = ContextVar("loafer_attempt")


@dataclass(slots=True)
class Pipeline:
    """The way of every message of one route, compiled once. ``decide`` finds the outcome; settling is not its job."""

    route: Route
    translator: Translator
    translator_name: str
    handler: Handler
    error_handlers: Sequence[ErrorHandler] = ()
    middlewares: Sequence[Middleware] = ()
    state: object = None
    """What the lifespan yielded."""
    account: Account = field(default_factory=Account)
    _chain: CallNext = field(init=False)

    def __post_init__(self) -> None:
        self._chain = self._translate_and_handle
        for middleware in reversed(self.middlewares):
            self._chain = _around(middleware, self._chain)

    async def decide(
        self, message: Message, is_cancelled: Callable[[], bool], task: asyncio.Task[Any] | None = None
    ) -> Decision:
        """Decide how this delivery ends. Raises nothing but CancelledError, and that only when it is ours.

        Args:
            message: the delivery.
            is_cancelled: tells whether a CancelledError is our doing; any other one is the handler's own failure.
            task: the running one, from who has it at hand: looking for it costs more than all else here.
        """
        task = task or asyncio.current_task()
        attempt = _Attempt(id(task))
        _attempt.set(attempt)
        try:
            try:
                return Decision(await self._chain(message))
            finally:
                if task is not None and task.cancelling():
                    await _take_back_cancels(task)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            stage = attempt.stage if attempt.raised is error else "middleware"
            outcome = await consult(self.error_handlers, Failure(error, message, self.route.name, stage))
            return Decision(outcome, error)
        finally:
            # Error, traceback, frame, attempt, error: the circle would keep the body until the garbage collector comes.
            attempt.raised = None

    async def _translate_and_handle(self, message: Message) -> Outcome:
        attempt = _attempt.get()
        try:
            attempt.stage = "translate"
            translation = self._translate(message)
            attempt.stage = "handle"
            result = await self._handle(message, translation)
            attempt.stage = "result"
            return self._read(result)
        except BaseException as error:
            outcome = settled_by(error)
            if outcome is not None:
                return outcome
            attempt.raised = error
            if isinstance(error, (SystemExit, KeyboardInterrupt)) and id(asyncio.current_task()) != attempt.task:
                # A middleware runs this in a task of its own. Leaving a task, these two end the event loop.
                attempt.raised = RuntimeError(f"a handler raised {type(error).__name__}")
                raise attempt.raised from error
            raise

    def _translate(self, message: Message) -> Translation:
        try:
            translation = self.translator.translate(message)
        except StopIteration as error:
            raise RuntimeError("a StopIteration cannot leave a coroutine") from error
        if not isinstance(translation, Translation):
            raise TranslationError(f"translator {self.translator_name!r} returned no Translation")
        return translation

    async def _handle(self, message: Message, translation: Translation) -> object:
        metadata = None if self.handler.metadata is None else self._metadata(message, translation)
        work = self.handler(translation.payload, metadata)
        if self.handler.in_thread:
            result = await self._wait_for_thread(work, message)
            if result is None or not inspect.isawaitable(result):
                return result
            work = result
        if self.route.handler_timeout is None:
            return await _awaited(work)
        try:
            async with asyncio.timeout(self.route.handler_timeout) as limit:
                return await _awaited(work)
        except TimeoutError:
            if limit.expired():
                _attempt.get().stage = "timeout"
            raise

    async def _wait_for_thread(self, work: Awaitable[object], message: Message) -> object:
        """A thread cannot be stopped: its message stays ours, and what it comes back with counts."""
        timeout = self.route.handler_timeout
        if timeout is None:
            return await work
        warn = asyncio.get_running_loop().call_later(timeout, self._warn_late, message)
        try:
            return await work
        finally:
            warn.cancel()

    def _warn_late(self, message: Message) -> None:
        logger.warning(
            "%s: message %s has been in its handler for %g s (handler_timeout); a plain function cannot be stopped, "
            "so it is waited for",
            self.route.name,
            message.id,
            self.route.handler_timeout,
            extra={"route": self.route.name, "message_id": message.id},
        )

    def _metadata(self, message: Message, translation: Translation) -> Mapping[str, object]:
        facts: dict[str, object] = dict(message.metadata)
        if translation.metadata:
            facts[self.translator_name] = MappingProxyType(dict(translation.metadata))
        facts.update(
            message_id=message.id,
            receive_count=message.receive_count,
            route=self.route.name,
            attributes=MappingProxyType(dict(message.attributes)),
            group=message.group,
            sent_at=message.sent_at,
            state=self.state,
        )
        return MappingProxyType(facts)

    def _read(self, result: object) -> Outcome:
        outcome = read(result, self.route.returns, self.handler.name)
        if outcome is not None:
            return outcome
        self.account.odd_returns += 1
        if self.account.odd_returns == 1:
            logger.warning(
                "%s: handler %s returned %s; the work is done, so the message is acked (said once per route). %s",
                self.route.name,
                self.handler.name,
                described(result),
                RETURNS,
                extra={"route": self.route.name},
            )
        return Ack()


async def _awaited(work: Awaitable[object]) -> object:
    result = await work
    # A coroutine that returns another has forgotten to await it: the work is still to be done.
    return await result if result is not None and inspect.isawaitable(result) else result


def _around(middleware: Middleware, call_next: CallNext) -> CallNext:
    async def call(message: Message) -> Outcome:
        try:
            outcome = await middleware(message, call_next)
        except BaseException as error:
            settled = settled_by(error)
            if settled is None:
                raise
            return settled
        if is_outcome(outcome):
            return outcome
        raise OutcomeError(f"middleware {name_of(middleware)} returned {described(outcome)}, which is no outcome")

    return call


async def _take_back_cancels(task: asyncio.Task[Any]) -> None:
    """Other people's code may have cancelled its own task; what comes next there shall not suffer from that."""
    try:
        await asyncio.sleep(0)  # where a cancellation that is still pending comes out
    except asyncio.CancelledError:
        pass
    uncancel(task)
