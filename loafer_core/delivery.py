"""One message through one route.

middlewares(translate -> handle) -> outcome; what raises -> error handlers -> outcome.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from loafer_core.account import Account
from loafer_core.errors import OutcomeError, TranslationError
from loafer_core.handlers import Handler
from loafer_core.message import Message
from loafer_core.outcomes import Ack, Nack, Outcome, Reject, settled_by
from loafer_core.protocols import Failure, Stage, Translation, Translator
from loafer_core.route import Route

logger = logging.getLogger("loafer.delivery")

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
        attempt = _Attempt()
        _attempt.set(attempt)
        try:
            return Decision(await self._chain(message))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                if is_cancelled():
                    raise
                _uncancel()
            stage = attempt.stage if attempt.raised is error else "middleware"
            failure = Failure(error, message, self.route.name, stage)
            return Decision(await self._ask(failure, is_cancelled), error)

    async def _translate_and_handle(self, message: Message) -> Outcome:
        attempt = _attempt.get()
        try:
            attempt.stage = "translate"
            translation = self.translator.translate(message)
            if not isinstance(translation, Translation):
                raise TranslationError(f"translator {self.translator_name!r} returned no Translation")
            attempt.stage = "handle"
            result = await self._handle(message, translation)
            attempt.stage = "result"
            return self._read(result)
        except BaseException as error:
            outcome = settled_by(error)
            if outcome is None:
                attempt.raised = error
                raise
            return outcome

    async def _handle(self, message: Message, translation: Translation) -> object:
        def metadata() -> Mapping[str, object]:
            return self._metadata(message, translation)

        timeout = self.route.handler_timeout
        if timeout is None:
            return await self.handler(translation.payload, metadata)
        if self.handler.in_thread:
            # A thread cannot be stopped: its message stays ours, and what it comes back with counts.
            warn = asyncio.get_running_loop().call_later(timeout, self._warn_late, message)
            try:
                return await self.handler(translation.payload, metadata)
            finally:
                warn.cancel()
        try:
            async with asyncio.timeout(timeout) as limit:
                return await self.handler(translation.payload, metadata)
        except TimeoutError:
            if limit.expired():
                _attempt.get().stage = "timeout"
            raise

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
        if isinstance(result, (Ack, Nack, Reject)):
            return result
        if self.route.returns == "truthy":
            return Ack() if result else Nack()
        if result is None or result is True:
            return Ack()
        if result is False:
            return Nack()
        if self.route.returns == "strict":
            raise OutcomeError(f"handler {self.handler.name} returned {_kind(result)}; {_RETURNS}")
        self.account.odd_returns += 1
        if self.account.odd_returns == 1:
            logger.warning(
                "%s: handler %s returned %s; the work is done, so the message is acked (said once per route). %s",
                self.route.name,
                self.handler.name,
                _kind(result),
                _RETURNS,
                extra={"route": self.route.name},
            )
        return Ack()

    async def _ask(self, failure: Failure, is_cancelled: Callable[[], bool]) -> Outcome:
        """Ask the error handlers in turn; the first that decides, decides. Nobody decides = nack."""
        for ask in self.error_handlers:
            try:
                async with asyncio.timeout(ERROR_HANDLER_TIMEOUT):
                    opinion = await ask(failure)
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError):
                    if is_cancelled():
                        raise
                    _uncancel()
                self._log_bad_opinion(failure, f"raised {type(error).__name__}{_place(error)}")
                continue
            if opinion is True:
                return Ack()
            if opinion is False:
                return Nack()
            if isinstance(opinion, (Ack, Nack, Reject)):
                return opinion
            if opinion is not None:
                self._log_bad_opinion(failure, f"returned {_kind(opinion)}, which is no outcome")
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

    def _log_bad_opinion(self, failure: Failure, what: str) -> None:
        logger.error(
            "%s: an error handler %s when asked about message %s; it has no opinion",
            failure.route,
            what,
            failure.message.id,
            extra={"route": failure.route, "message_id": failure.message.id},
        )


_RETURNS = "Documented are None, True, False, Ack(), Nack() and Reject()."


def _around(middleware: Middleware, call_next: CallNext) -> CallNext:
    async def call(message: Message) -> Outcome:
        try:
            outcome = await middleware(message, call_next)
        except BaseException as error:
            settled = settled_by(error)
            if settled is None:
                raise
            return settled
        if isinstance(outcome, (Ack, Nack, Reject)):
            return outcome
        raise OutcomeError(f"middleware {_callable_name(middleware)} returned {_kind(outcome)}, which is no outcome")

    return call


def _uncancel() -> None:
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__!r}"


def _callable_name(function: object) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def _summary(error: BaseException) -> str:
    # Our own texts never show a payload; other people's may.
    if isinstance(error, (TranslationError, OutcomeError)):
        return f"{type(error).__name__}: {error}"
    return type(error).__name__


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
