"""Builds a component as a route would: it is found by its name, its options are validated, its factory is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from loafer_core.api.errors import ConfigError
from loafer_core.api.kinds import KINDS
from loafer_core.app.build import ResolvedComponent, Resolver
from loafer_core.delivery.executors import ThreadExecutor
from loafer_core.delivery.handlers import compile_error_handler, compile_handler, compile_middleware
from loafer_core.discovery.loader import load
from loafer_core.discovery.registry import Offer, Registry

WHERE = "contract"
"""The place of the component in findings; that of an option is ``contract.queue``."""


def resolve(kind: str, component: str, options: Mapping[str, object]) -> ResolvedComponent:
    """Find a component and validate its options. Raises ConfigError."""
    return Resolver(_installed(tuple(sys.path)), {}).component(kind, {**options, "name": component}, WHERE)


def build(kind: str, component: str, options: Mapping[str, object]) -> Any:
    """Find a component and build it. Raises ConfigError."""
    return resolve(kind, component, options).build()


def offer_of(kind: str, component: str) -> Offer | None:
    """Give what a plugin declared; None for ``module:attribute``."""
    return None if ":" in component else _installed(tuple(sys.path)).find(kind, component)


def objection(kind: str, component: Any) -> str | None:
    """Say why ``component`` is none of its kind; None = it is one."""
    threads = ThreadExecutor("contract", 1)
    try:
        match kind:
            case "handler":
                compile_handler(component, threads, WHERE)
            case "error_handler":
                compile_error_handler(component, threads, WHERE)
            case "middleware":
                compile_middleware(component, WHERE)
            case _ if missing := KINDS[kind].missing(component):
                return f"a {type(component).__name__} without {', '.join(f'{method}()' for method in missing)}"
    except ConfigError as error:
        return str(error)
    finally:
        threads.close()
    return None


@cache
def _installed(path: tuple[str, ...]) -> Registry:
    """Load the plugins once. ``path`` is ``sys.path``: with another one, other plugins are installed."""
    return load().registry
