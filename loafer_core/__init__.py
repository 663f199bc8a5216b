"""Loafer: an asyncio message dispatcher that is extended with ``pip install``.

The whole public API: what is in ``__all__``, plus ``loafer_core.testing``. Names are loaded on first use (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loafer_core.api.components import Failure, Sandbox, SandboxComponent, Translation, Translator
    from loafer_core.api.current import Current, Flag, current
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
    from loafer_core.api.errors import (
        ConfigError,
        CredentialError,
        Finding,
        LoaferError,
        OutcomeError,
        PluginError,
        ProviderError,
        RouteFailed,
        SourceConfigError,
        Throttled,
        TranslationError,
        Unavailable,
    )
    from loafer_core.api.hookspecs import LOAFER_API, hookimpl
    from loafer_core.api.message import Message
    from loafer_core.api.options import Options
    from loafer_core.api.outcomes import Ack, DeleteMessage, Nack, Outcome, Reject, Settle
    from loafer_core.api.provider import (
        Audits,
        BaseProvider,
        Context,
        Leases,
        Measures,
        Provider,
        Publishes,
        Rejects,
        Settled,
        Traits,
    )
    from loafer_core.api.route import Breaker, Retry, Route
    from loafer_core.app.legacy import legacy_error_handler
    from loafer_core.app.manager import Manager
    from loafer_core.config.importer import import_target
    from loafer_core.memory.provider import MemoryProvider, MemoryQueue
    from loafer_core.observability.health import InFlight

__version__ = "0.1.0"

_HOMES = {
    "app.legacy": "legacy_error_handler",
    "api.current": "Current Flag current",
    "api.errors": (
        "ConfigError CredentialError Finding LoaferError OutcomeError PluginError ProviderError RouteFailed "
        "SourceConfigError Throttled TranslationError Unavailable"
    ),
    "api.hookspecs": "LOAFER_API hookimpl",
    "config.importer": "import_target",
    "app.manager": "Manager",
    "memory.provider": "MemoryProvider MemoryQueue",
    "observability.health": "InFlight",
    "api.message": "Message",
    "api.options": "Options",
    "api.outcomes": "Ack DeleteMessage Nack Outcome Reject Settle",
    "api.components": "Failure Sandbox SandboxComponent Translation Translator",
    "api.provider": "Audits BaseProvider Context Leases Measures Provider Publishes Rejects Settled Traits",
    "api.route": "Breaker Retry Route",
    "api.declarations": (
        "CommandSpec ErrorHandlerSpec HandlerSpec MiddlewareSpec ObserverSpec ProviderSpec SandboxSpec TranslatorSpec"
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "__version__",
    "Ack",
    "Audits",
    "BaseProvider",
    "Breaker",
    "CommandSpec",
    "ConfigError",
    "Context",
    "CredentialError",
    "Current",
    "DeleteMessage",
    "ErrorHandlerSpec",
    "Failure",
    "Finding",
    "Flag",
    "HandlerSpec",
    "InFlight",
    "LOAFER_API",
    "Leases",
    "LoaferError",
    "Manager",
    "Measures",
    "MemoryProvider",
    "MemoryQueue",
    "Message",
    "MiddlewareSpec",
    "Nack",
    "ObserverSpec",
    "Options",
    "Outcome",
    "OutcomeError",
    "PluginError",
    "Provider",
    "ProviderError",
    "ProviderSpec",
    "Publishes",
    "Reject",
    "Rejects",
    "Retry",
    "Route",
    "RouteFailed",
    "Sandbox",
    "SandboxComponent",
    "SandboxSpec",
    "Settle",
    "Settled",
    "SourceConfigError",
    "Throttled",
    "Traits",
    "Translation",
    "TranslationError",
    "Translator",
    "TranslatorSpec",
    "Unavailable",
    "current",
    "hookimpl",
    "import_target",
    "legacy_error_handler",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
