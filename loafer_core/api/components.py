"""The contract of what a route has beside its provider: translators and error handlers; and of sandboxes.

Handlers and middlewares are plain callables and need no class here. Any object of the right shape will do: nobody has
to inherit from a protocol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from loafer_core.api.message import Message


@dataclass(frozen=True, slots=True)
class Translation:
    """What a translator made of one message."""

    payload: object
    """The handler's first argument. ``0``, ``""``, ``[]`` and ``None`` are payloads like any other."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """Facts for the handler's ``metadata``, where they stand under the translator's name."""


class Translator(Protocol):
    """Turns a message into what the handler wants.

    It may have ``async open(context)`` and ``async close()``. Neither does I/O: ``loafer check`` calls both, offline.
    """

    def translate(self, message: Message) -> Translation:
        """Give the payload of one message, and facts about it.

        It is a plain method that runs on the event loop, so it never blocks. It is pure: the same message gives the
        same translation, and the message is left as it was.

        Raises:
            TranslationError: the message cannot be read, whatever its bytes are. The error's text never shows them.
            Settle: the message needs no handler; the delivery ends with the outcome that the exception carries.
        """


Stage = Literal["translate", "handle", "timeout", "result", "middleware"]
"""What raised: the translator, the handler, or a middleware. "timeout" is an async handler that took longer than the
route's ``handler_timeout``; "result" is a handler that returned something which stands for no outcome."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What an error handler is asked about: one thing that was raised in one delivery."""

    error: BaseException
    """What was raised, with its traceback."""
    message: Message
    """The message as its provider handed it out."""
    route: str
    """The route's name."""
    stage: Stage


@dataclass(frozen=True, slots=True)
class SandboxComponent:
    """A provider or a handler that a sandbox shall stand in for."""

    where: str
    """Its place in the configuration: ``routes.orders.provider``."""
    name: str
    """The component's name, as its plugin declared it."""
    options: object
    """Its options, validated."""


class Sandbox(Protocol):
    """A local stand-in for the sources of one plugin (``loafer run --sandbox``)."""

    def start(self, components: Sequence[SandboxComponent]) -> Mapping[str, Mapping[str, object]]:
        """Start servers, on loopback only, and create in them what the components name.

        Returns for each component, by its ``where``, the options to override, so that no real source is reached. A
        component that is missing ends the start: its real options would be left.

        Raises:
            ConfigError: the stand-in cannot be started. Anything else that is raised ends the start, too.
        """

    def stop(self) -> None:
        """Stop what ``start`` started. Idempotent. It is called after a failed start, too."""
