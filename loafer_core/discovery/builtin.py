"""The core's own plugin, by the same hooks as any other: ``memory``, ``text`` and ``log``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from pydantic import Field

from loafer_core.api.components import Failure, Translation
from loafer_core.api.declarations import ErrorHandlerSpec, ProviderSpec, TranslatorSpec
from loafer_core.api.errors import TranslationError
from loafer_core.api.hookspecs import hookimpl
from loafer_core.api.options import Options
from loafer_core.api.provider import Provider

if TYPE_CHECKING:
    from loafer_core.api.message import Message
    from loafer_core.memory.provider import MemoryOptions

LOAFER_API = 1

_log = logging.getLogger("loafer.failure")


def _memory(options: MemoryOptions) -> Provider:
    from loafer_core.memory.provider import MemoryProvider

    return MemoryProvider(options)


@hookimpl
def loafer_providers() -> list[ProviderSpec[MemoryOptions]]:
    from loafer_core.memory.provider import MemoryOptions

    return [
        ProviderSpec(name="memory", summary="A queue in this process", options=MemoryOptions, factory=_memory),
    ]


class TextTranslator:
    """The body as ``str``: bytes are read as UTF-8, and what is a string stays the same string, empty or not."""

    def translate(self, message: Message) -> Translation:
        """Raise TranslationError, which does not hold the body, where the bytes are not UTF-8."""
        if isinstance(message.body, str):
            return Translation(message.body)
        try:
            return Translation(message.body.decode())
        except UnicodeDecodeError as error:
            place = error.start
        # Raised outside of the except: the decoder's error holds the whole body, and would come along as the context.
        raise TranslationError(f"the body is not UTF-8: byte {place} of {len(message.body)} cannot be read")


@hookimpl
def loafer_translators() -> list[TranslatorSpec[Options]]:
    return [
        TranslatorSpec(
            name="text", summary="The body as text (UTF-8)", options=Options, factory=lambda _: TextTranslator()
        ),
    ]


class LogOptions(Options):
    """Options of the error handler ``log``."""

    traceback: bool = Field(
        True,
        description="Log the traceback. It ends with the error's own text, in which a handler may have quoted the body",
    )


def _log_failures(options: LogOptions) -> Callable[[Failure], Awaitable[None]]:
    async def report(failure: Failure) -> None:
        """Log the failure, and leave the decision to the next error handler. Our own words never show the body."""
        message = failure.message
        _log.error(
            "route %r: message %r failed with %s (stage %s, receive count %s)",
            failure.route,
            message.id,
            type(failure.error).__qualname__,
            failure.stage,
            message.receive_count,
            exc_info=failure.error if options.traceback else None,
            extra={
                "route": failure.route,
                "message_id": message.id,
                "stage": failure.stage,
                "receive_count": message.receive_count,
            },
        )

    return report


@hookimpl
def loafer_error_handlers() -> list[ErrorHandlerSpec[LogOptions]]:
    return [
        ErrorHandlerSpec(name="log", summary="Log the failure", options=LogOptions, factory=_log_failures),
    ]
