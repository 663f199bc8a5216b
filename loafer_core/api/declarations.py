"""What a plugin's hooks return: declarations of components. Nothing is built before a route uses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from loafer_core.api.components import Sandbox, Translator
from loafer_core.api.provider import Provider

# The type of the options, and the type of what the factory builds of them.
O = TypeVar("O")  # noqa: E741
T = TypeVar("T", covariant=True)

NAME = re.compile(r"[a-z][a-z0-9_-]*")
"""What a component, a route and a plugin may be called."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec(Generic[O, T]):
    """One component: a name, one line about it, the type of its options, and a function that builds it."""

    kind: ClassVar[str] = ""

    name: str
    summary: str
    factory: Callable[[O], T]
    """Builds the component of its validated options. It imports what is heavy inside its body, does no I/O and needs no
    running loop."""
    options: type[O] | None = None
    """Any type that pydantic validates. None: the component takes any option, and the factory gets the plain
    mapping."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderSpec(Spec[O, Provider]):
    """A place where messages come from."""

    kind: ClassVar[str] = "provider"


@dataclass(frozen=True, kw_only=True, slots=True)
class TranslatorSpec(Spec[O, Translator]):
    """A way to turn a message into what the handler wants."""

    kind: ClassVar[str] = "translator"


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorHandlerSpec(Spec[O, object]):
    """Someone to ask what becomes of a failure. The factory returns a callable, or an object with ``handle``."""

    kind: ClassVar[str] = "error_handler"


@dataclass(frozen=True, kw_only=True, slots=True)
class HandlerSpec(Spec[O, object]):
    """A ready-made handler, such as a publisher: a callable or an object with ``handle``, given (payload, metadata)."""

    kind: ClassVar[str] = "handler"


@dataclass(frozen=True, kw_only=True, slots=True)
class MiddlewareSpec(Spec[O, object]):
    """Something around translate and handle: ``async (message, call_next) -> outcome``."""

    kind: ClassVar[str] = "middleware"


@dataclass(frozen=True, kw_only=True, slots=True)
class ObserverSpec(Spec[O, object]):
    """Someone who watches. Runs only when named in ``loafer.observers``."""

    kind: ClassVar[str] = "observer"


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandSpec(Spec[Mapping[str, object], Any]):
    """One more ``loafer`` command. The factory imports click and returns a ``click.Command``."""

    kind: ClassVar[str] = "command"


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxSpec(Spec[Mapping[str, object], Sandbox]):
    """A local stand-in for this plugin's sources. Its name is the entry point's."""

    kind: ClassVar[str] = "sandbox"
