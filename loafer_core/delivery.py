"""One message through one route.

middlewares(translate -> handle) -> outcome; what raises -> error handlers -> outcome.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from loafer_core.account import Account
from loafer_core.errors import OutcomeError, TranslationError
from loafer_core.handlers import Handler, name_of
from loafer_core.message import Message
from loafer_core.outcomes import RETURNS, Ack, Nack, Outcome, described, is_outcome, read, settled_by
from loafer_core.protocols import Failure, Stage, Translation, Translator
from loafer_core.route import Route

logger = logging.getLogger("loafer.delivery")

T = TypeVar("T")
CallNext = Callable[[Message], Awaitable[Outcome]]
Middleware = Callable[[Message, CallNext], Awaitable[object]]
ErrorHandler = Callable[[Failure], Awaitable[object]]

ERROR_HANDLER_TIMEOUT = 30.0
"""Seconds that one error handler may think."""


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
class Delivery:
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

    async def decide(self, message: Message, is_cancelled: Callable[[], bool]) -> Decision:
        """Decide how this delivery ends. Raises nothing but CancelledError, and that only when it is ours.

        Args:
            message: the delivery.
            is_cancelled: tells whether a CancelledError is our doing; any other one is the handler's own failure.
        """
        attempt = _Attempt(id(asyncio.current_task()))
        _attempt.set(attempt)
        try:
            return Decision(await _unharmed(self._chain(message)))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            stage = attempt.stage if attempt.raised is error else "middleware"
            # Error, traceback, frame, attempt, error: the circle would keep the body until the garbage collector comes.
            attempt.raised = None
            return Decision(await self._ask(Failure(error, message, self.route.name, stage), is_cancelled), error)

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
        def metadata() -> Mapping[str, object]:
            return self._metadata(message, translation)

        work = self.handler(translation.payload, metadata)
        if self.handler.in_thread:
            result = await self._wait_for_thread(work, message)
            if not inspect.isawaitable(result):
                return result
            work = result
        try:
            async with asyncio.timeout(self.route.handler_timeout) as limit:
                result = await work
                # A coroutine that returns another has forgotten to await it: the work is still to be done.
                return await result if inspect.isawaitable(result) else result
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

    async def _ask(self, failure: Failure, is_cancelled: Callable[[], bool]) -> Outcome:
        """Ask the error handlers in turn; the first that decides, decides. Nobody decides = nack."""
        for ask in self.error_handlers:
            try:
                async with asyncio.timeout(ERROR_HANDLER_TIMEOUT):
                    opinion = await _unharmed(ask(failure))
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and is_cancelled():
                    raise
                self._log_bad_opinion(ask, failure, f"raised {type(error).__name__}{_place(error)}")
                continue
            if opinion is True:
                return Ack()
            if opinion is False:
                return Nack()
            if is_outcome(opinion):
                return opinion
            if opinion is not None:
                self._log_bad_opinion(ask, failure, f"returned {described(opinion)}, which is no outcome")
        self._log_failure(failure)
        return Nack()

    def _log_failure(self, failure: Failure) -> None:
        # The text of an exception is the handler's own and may hold a body: only error_handler = "log" shows it.
        message = failure.message
        logger.warning(
            "%s: message %s failed (stage %s, receive %s): %s%s",
            failure.route,
            message.id,
            failure.stage,
            message.receive_count,
            _summary(failure.error),
            _place(failure.error),
            extra={"route": failure.route, "message_id": message.id, "stage": failure.stage},
        )

    def _log_bad_opinion(self, ask: ErrorHandler, failure: Failure, what: str) -> None:
        logger.error(
            "%s: error handler %s %s when asked about message %s; it has no opinion",
            failure.route,
            name_of(ask),
            what,
            failure.message.id,
            extra={"route": failure.route, "message_id": failure.message.id},
        )


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


async def _unharmed(work: Awaitable[T]) -> T:
    """Await other people's code. It may cancel its own task; whoever runs there next shall not suffer from that."""
    try:
        return await work
    finally:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            try:
                await asyncio.sleep(0)  # where a cancellation that is still pending comes out
            except asyncio.CancelledError:
                pass
            while task.cancelling():
                task.uncancel()


def _summary(error: BaseException) -> str:
    # Our own texts never show a payload; other people's may.
    if isinstance(error, (TranslationError, OutcomeError)):
        return f"{type(error).__name__}: {error}"
    return type(error).__name__


def _place(error: BaseException) -> str:
    # Of a timeout it is of interest where the handler was, not where asyncio raises it.
    inside = error.__cause__ if isinstance(error.__cause__, asyncio.CancelledError) else error
    frames = list(traceback.walk_tb(inside.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    return f" at {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
