"""Asking the error handlers what becomes of a failure. Whatever one of them does, the next is asked."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence

from loafer_core.api.components import Failure
from loafer_core.api.errors import OutcomeError, TranslationError
from loafer_core.api.outcomes import Ack, Nack, Outcome, described, is_outcome
from loafer_core.delivery.handlers import name_of

logger = logging.getLogger("loafer.delivery")

ErrorHandler = Callable[[Failure], Awaitable[object]]

ERROR_HANDLER_TIMEOUT = 30.0
"""Seconds that one error handler may think."""


async def consult(error_handlers: Sequence[ErrorHandler], failure: Failure) -> Outcome:
    """Ask in turn; the first that decides, decides. Nobody decides = nack."""
    for ask in error_handlers:
        opinion, wrong = await _opinion(ask, failure)
        if wrong:
            _log_bad_opinion(ask, failure, wrong)
            continue
        if opinion is True:
            return Ack()
        if opinion is False:
            return Nack()
        if is_outcome(opinion):
            return opinion
        if opinion is not None:
            _log_bad_opinion(ask, failure, f"returned {described(opinion)}, which is no outcome")
    _log_failure(failure)
    return Nack()


async def _opinion(ask: ErrorHandler, failure: Failure) -> tuple[object, str]:
    """Give what it says, or what is wrong with it.

    It runs in a task of its own, because one that resists being cancelled would hold the message up for ever.
    """
    loop = asyncio.get_running_loop()
    asked = loop.create_task(_answer(ask, failure), name=f"{failure.route}/{failure.message.id}/error_handler")
    try:
        await asyncio.wait([asked], timeout=ERROR_HANDLER_TIMEOUT)
        if asked.done():
            return (None, "was cancelled") if asked.cancelled() else asked.result()
    finally:
        asked.cancel()
    return None, f"gave no answer within {ERROR_HANDLER_TIMEOUT:g} s"


async def _answer(ask: ErrorHandler, failure: Failure) -> tuple[object, str]:
    try:
        return await ask(failure), ""
    except BaseException as error:  # as text: SystemExit would end the loop, others keep the body
        return None, f"raised {type(error).__name__}{_place(error)}"


def _log_failure(failure: Failure) -> None:
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


def _log_bad_opinion(ask: ErrorHandler, failure: Failure, what: str) -> None:
    logger.error(
        "%s: error handler %s %s when asked about message %s; it has no opinion",
        failure.route,
        name_of(ask),
        what,
        failure.message.id,
        extra={"route": failure.route, "message_id": failure.message.id},
    )


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
