"""The kinds of component, one row each. Who needs to know which kinds there are asks this table, and nobody else.

A row says how a plugin declares a component of the kind, where a configuration names it, and what its factory must
build. What a component then does in a route is code: ``app/build`` puts it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from loafer_core.api.components import Sandbox, Translator
from loafer_core.api.declarations import (
    CommandSpec,
    ErrorHandlerSpec,
    HandlerSpec,
    MiddlewareSpec,
    ObserverSpec,
    ProviderSpec,
    SandboxSpec,
    Spec,
    TranslatorSpec,
)
from loafer_core.api.provider import Provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of component."""

    spec: type[Spec[Any, Any]]
    """What a plugin declares it with; ``spec.kind`` is the kind's name."""
    hook: str
    """The hook that returns a list of ``spec``."""
    place: str = ""
    """Where a configuration names it: ``routes.*.handler``, ``loafer.observers``; ``""``: nowhere."""
    many: bool = False
    """A list of several may stand at ``place``, too."""
    command_line: str = ""
    """What uses it, where no configuration names it. ``{name}`` stands for the component's name."""
    methods: tuple[str, ...] = ()
    """What an object must have to be of this kind."""
    may_be_function: bool = False
    """Something that can be called will do in place of an object with ``methods``."""
    scaffold: str = ""
    """What a package made by ``loafer plugins new`` says of itself, with ``{name}``; ``""``: it makes none."""

    @property
    def name(self) -> str:
        """``error_handler``: how code, commands and a route's keys call it."""
        return self.spec.kind

    @property
    def label(self) -> str:
        """``error handler``: how people call it."""
        return self.name.replace("_", " ")

    @property
    def section(self) -> str:
        """The section of the configuration that ``place`` is in: ``routes``, ``loafer`` or none."""
        return self.place.partition(".")[0]

    @property
    def key(self) -> str:
        """The last key of ``place``: ``handler``, ``observers``."""
        return self.place.rpartition(".")[2]

    def missing(self, component: object) -> list[str]:
        """Name the methods that ``component`` lacks to be of this kind."""
        if self.may_be_function and callable(component):
            return []
        return [method for method in self.methods if not callable(getattr(component, method, None))]


def _methods_of(protocol: type) -> tuple[str, ...]:
    return tuple(name for name, member in vars(protocol).items() if name[0] != "_" and callable(member))


def _by_name(kinds: Iterable[Kind]) -> Mapping[str, Kind]:
    return MappingProxyType({kind.name: kind for kind in kinds})


KINDS: Mapping[str, Kind] = _by_name(
    [
        Kind(
            spec=ProviderSpec,
            hook="loafer_providers",
            place="routes.*.provider",
            methods=_methods_of(Provider),
            scaffold="Messages from {name}",
        ),
        Kind(
            spec=TranslatorSpec,
            hook="loafer_translators",
            place="routes.*.translator",
            methods=_methods_of(Translator),
            scaffold="Bodies in the format of {name}",
        ),
        Kind(
            spec=ErrorHandlerSpec,
            hook="loafer_error_handlers",
            place="routes.*.error_handler",
            many=True,
            methods=("handle",),
            may_be_function=True,
            scaffold="Decides about failures as {name} wants it",
        ),
        Kind(
            spec=HandlerSpec,
            hook="loafer_handlers",
            place="routes.*.handler",
            methods=("handle",),
            may_be_function=True,
            scaffold="Hands payloads to {name}",
        ),
        Kind(
            spec=MiddlewareSpec,
            hook="loafer_middlewares",
            place="routes.*.middleware",
            many=True,
            methods=("handle",),
            may_be_function=True,
            scaffold="Looks at messages for {name}",
        ),
        Kind(
            spec=ObserverSpec,
            hook="loafer_observers",
            place="loafer.observers",
            many=True,
            scaffold="Tells {name} how routes are doing",
        ),
        Kind(
            spec=CommandSpec,
            hook="loafer_commands",
            command_line="loafer {name}",
            scaffold="Commands for {name}",
        ),
        Kind(
            spec=SandboxSpec,
            hook="loafer_sandboxes",
            command_line="loafer run --sandbox",
            methods=_methods_of(Sandbox),
        ),
    ]
)
"""Every kind by its name. Hooks are called, and kinds are listed, in this order."""


def kinds_in(section: str) -> list[Kind]:
    """Give the kinds that a section of the configuration names: ``routes`` or ``loafer``."""
    return [kind for kind in KINDS.values() if kind.section == section]
