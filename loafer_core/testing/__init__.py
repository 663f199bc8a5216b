"""For tests of services and plugins: a loop whose time is virtual, and the contracts that plugins keep.

Names are loaded on first use (PEP 562): only the contracts need pytest (``pip install loafer-core[testing]``).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loafer_core.testing.client import Delivered, deliver
    from loafer_core.testing.contracts.error_handler import ErrorHandlerContract
    from loafer_core.testing.contracts.handler import HandlerContract
    from loafer_core.testing.contracts.middleware import MiddlewareContract
    from loafer_core.testing.contracts.plugin import PluginContract
    from loafer_core.testing.contracts.provider.contract import ProviderContract
    from loafer_core.testing.contracts.translator import TranslatorContract
    from loafer_core.testing.kit.component_rig import ComponentHarness
    from loafer_core.testing.kit.harness import ProviderHarness
    from loafer_core.testing.rehearsal import Published
    from loafer_core.testing.virtual import VirtualLoop, run_virtual

_HOME = {
    "ComponentHarness": "kit.component_rig",
    "Delivered": "client",
    "ErrorHandlerContract": "contracts.error_handler",
    "HandlerContract": "contracts.handler",
    "MiddlewareContract": "contracts.middleware",
    "PluginContract": "contracts.plugin",
    "ProviderContract": "contracts.provider.contract",
    "ProviderHarness": "kit.harness",
    "Published": "rehearsal",
    "TranslatorContract": "contracts.translator",
    "VirtualLoop": "virtual",
    "deliver": "client",
    "run_virtual": "virtual",
}

__all__ = [
    "ComponentHarness",
    "Delivered",
    "ErrorHandlerContract",
    "HandlerContract",
    "MiddlewareContract",
    "PluginContract",
    "ProviderContract",
    "ProviderHarness",
    "Published",
    "TranslatorContract",
    "VirtualLoop",
    "deliver",
    "run_virtual",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name != "pytest":
            raise
        raise ImportError(f"{name} needs pytest: pip install 'loafer-core[testing]'") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
