"""For services that come from georgeyk/loafer or olist-loafer: their error handlers, called as they were there."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, TypeAlias

from loafer_core.api.components import Failure
from loafer_core.api.errors import ConfigError, Finding
from loafer_core.api.message import Message
from loafer_core.api.outcomes import Outcome, is_outcome
from loafer_core.config.importer import import_target
from loafer_core.delivery.handlers import entry, name_of

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]
LegacyErrorHandler: TypeAlias = Callable[[ExcInfo, dict[str, Any]], object]
Opinion: TypeAlias = Outcome | bool | None
"""What an error handler may answer; None: no opinion."""


def legacy_error_handler(
    target: str | LegacyErrorHandler,
) -> Callable[[Failure], Opinion | Awaitable[Opinion]]:
    """Make an error handler ``(exc_info, message)`` one that Loafer takes.

    ``exc_info`` is ``(type, value, traceback)``. ``message`` is a dict, made anew for each call, in the shape that
    SQS gives to a message: ``MessageId``, ``Body``, ``Attributes`` (``ApproximateReceiveCount``, ``SentTimestamp``,
    ``MessageGroupId``, where they are known) and ``MessageAttributes``. It has no ``ReceiptHandle``, with which anybody
    could delete the message.

    The answer counts as it did there: what is true acks, what is false nacks. There are two differences. None is no
    opinion, so that the next error handler is asked; and an outcome is taken as it is.

    Args:
        target: the function, sync or async, or ``"module:attribute"``; so in a configuration
            ``{ name = "loafer_core:legacy_error_handler", target = "shop.errors:handler" }``.

    Raises:
        ConfigError: it cannot be found, or not be called with two arguments.
    """
    function = entry(import_target(target, "") if isinstance(target, str) else target, "")
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError) as error:
        text = f"{name_of(function)} cannot be called as (exc_info, message): {error}; a new one takes (failure) alone"
        raise ConfigError(Finding("", text)) from None

    def ask(failure: Failure) -> Opinion | Awaitable[Opinion]:
        error = failure.error
        opinion = function((type(error), error, error.__traceback__), _raw(failure.message))
        return _awaited(opinion) if inspect.isawaitable(opinion) else _read(opinion)

    # So that logs name the function that the user wrote.
    ask.__module__, _, ask.__qualname__ = name_of(function).rpartition(":")
    return ask


async def _awaited(opinion: Awaitable[object]) -> Opinion:
    return _read(await opinion)


def _read(opinion: object) -> Opinion:
    return opinion if opinion is None or is_outcome(opinion) else bool(opinion)


def _raw(message: Message) -> dict[str, Any]:
    """Give the message as SQS's API gives one."""
    facts = {
        "ApproximateReceiveCount": message.receive_count,
        "SentTimestamp": None if message.sent_at is None else round(message.sent_at * 1000),
        "MessageGroupId": message.group,
    }
    types = message.metadata.get("attribute_types")
    types = types if isinstance(types, Mapping) else {}
    return {
        "MessageId": message.id,
        "Body": message.body,
        "Attributes": {name: str(fact) for name, fact in facts.items() if fact is not None},
        "MessageAttributes": {
            name: {"DataType": types.get(name, "Binary"), "BinaryValue": value}
            if isinstance(value, bytes)
            else {"DataType": types.get(name, "String"), "StringValue": value}
            for name, value in message.attributes.items()
        },
    }
