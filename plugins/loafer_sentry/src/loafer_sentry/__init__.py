"""Sentry for Loafer: the error handler ``sentry``. Names are loaded on first use (PEP 562)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loafer_sentry.options import SentryOptions
    from loafer_sentry.reporter import SentryReporter

__version__ = "0.1.0"

_HOME = {"SentryOptions": "options", "SentryReporter": "reporter"}

__all__ = ["SentryOptions", "SentryReporter"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
