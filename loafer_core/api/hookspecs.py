"""What a plugin may implement: hooks of one shape. Each takes nothing and returns a list of declarations.

pluggy is used at start-up and nowhere else: every hook is called once per process, before any route is built, and no
message ever passes through one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import pluggy

from loafer_core.api.declarations import (
    CommandSpec,
    ErrorHandlerSpec,
    HandlerSpec,
    MiddlewareSpec,
    ObserverSpec,
    ProviderSpec,
    SandboxSpec,
    TranslatorSpec,
)


class PluginAPI(NamedTuple):
    """What one number of the plugin API stands for."""

    since: str
    """The first loafer-core that loads plugins of this number."""
    means: str


APIS: Mapping[int, PluginAPI] = MappingProxyType(
    {
        1: PluginAPI(
            since="0.1",
            means="hooks that take nothing and return declarations; components with the methods of the protocols",
        ),
    }
)
"""The numbers whose plugins this core loads. docs/reference/stability.md shows the same table."""

LOAFER_API = max(APIS)
"""The newest of them. A plugin's module says which one it was written for: ``LOAFER_API = 1``."""

hookimpl = pluggy.HookimplMarker("loafer")
hookspec = pluggy.HookspecMarker("loafer")


class Hooks(Protocol):
    """The hooks. A plugin is a module with functions of these names, marked with ``hookimpl``."""

    @hookspec
    def loafer_providers(self) -> list[ProviderSpec[Any]]:
        """Called once at start-up. Return the places where messages can come from (``provider`` of a route)."""

    @hookspec
    def loafer_translators(self) -> list[TranslatorSpec[Any]]:
        """Called once at start-up. Return ways to read a message (``translator`` of a route)."""

    @hookspec
    def loafer_error_handlers(self) -> list[ErrorHandlerSpec[Any]]:
        """Called once at start-up. Return who can be asked when a delivery raised (``error_handler`` of a route)."""

    @hookspec
    def loafer_handlers(self) -> list[HandlerSpec[Any]]:
        """Called once at start-up. Return ready-made handlers, such as publishers (``handler`` of a route)."""

    @hookspec
    def loafer_middlewares(self) -> list[MiddlewareSpec[Any]]:
        """Called once at start-up. Return what can be put around translate and handle (``middleware`` of a route)."""

    @hookspec
    def loafer_observers(self) -> list[ObserverSpec[Any]]:
        """Called once at start-up. Return who can watch. None watches unless ``loafer.observers`` names it."""

    @hookspec
    def loafer_commands(self) -> list[CommandSpec]:
        """Called once at start-up of the command line. Return more ``loafer`` commands."""

    @hookspec
    def loafer_sandboxes(self) -> list[SandboxSpec]:
        """Called once at start-up. Return the local stand-in for this plugin's sources, at most one, or nothing."""
