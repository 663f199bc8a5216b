"""Builds a component as a route would: found by its name, options validated, factory called."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from loafer_core.api.components import Translator
from loafer_core.api.errors import ConfigError
from loafer_core.api.provider import Provider
from loafer_core.app.build import Kind, ResolvedComponent, Resolver
from loafer_core.delivery.executors import ThreadExecutor
from loafer_core.delivery.handlers import compile_error_handler, compile_handler, compile_middleware
from loafer_core.discovery import loader as plugins
from loafer_core.discovery.registry import Offer, Registry

WHERE = "contract"
"""Where the options stand, in the words of a finding: ``contract.queue``."""


def part(kind: Kind, component: str, options: Mapping[str, object]) -> ResolvedComponent:
    """Find it and validate its options. Raises ConfigError."""
    return Resolver(_installed(tuple(sys.path)), {}).part(kind, {**options, "name": component}, WHERE)


def build(kind: Kind, component: str, options: Mapping[str, object]) -> Any:
    """Build it. Raises ConfigError."""
    return part(kind, component, options).build()


def offer_of(kind: Kind, component: str) -> Offer | None:
    """What a plugin declared; None for ``module:attribute``."""
    return None if ":" in component else _installed(tuple(sys.path)).find(kind, component)


def objection(kind: Kind, component: Any) -> str | None:
    """Say why it is not what its kind is; None = it is."""
    if kind in ("provider", "translator"):
        wanted = [name for name, member in vars(Provider if kind == "provider" else Translator).items()]
        missing = [name for name in wanted if name[0] != "_" and not callable(getattr(component, name, None))]
        return f"a {type(component).__name__} without {', '.join(f'{name}()' for name in missing)}" if missing else None
    threads = ThreadExecutor("contract", 1)
    try:
        match kind:
            case "handler":
                compile_handler(component, threads, WHERE)
            case "error_handler":
                compile_error_handler(component, threads, WHERE)
            case "middleware":
                compile_middleware(component, WHERE)
    except ConfigError as error:
        return str(error)
    finally:
        threads.close()
    return None


@cache
def _installed(path: tuple[str, ...]) -> Registry:
    return plugins.load().registry
