"""What the shell offers for an argument: names of routes and of plugins. No plugin is imported for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import click


def routes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Offer the routes of the configuration, but for those that stand on the command line already."""
    from loafer_core.api.errors import ConfigError
    from loafer_core.config.sources import load

    try:
        raw, _, _ = load(ctx.params.get("source"), Path.cwd())
    except ConfigError:
        return []
    found = raw.get("routes")
    given = ctx.params.get(parameter.name or "") or ()
    names = [name for name in found if name not in given] if isinstance(found, Mapping) else []
    return _beginning_with(incomplete, names)


def plugins(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Offer the names of the installed plugins."""
    from loafer_core.discovery.loader import scan_only

    return _beginning_with(incomplete, {plugin.plugin for plugin in scan_only()})


def _beginning_with(start: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(start))
