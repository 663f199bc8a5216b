"""What the shell offers for an argument: from the file, and from what is written about plugins. Imports none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import click


def routes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of the file's routes; those that stand on the line already are not offered again."""
    from loafer_core.api.errors import ConfigError
    from loafer_core.config.sources import load

    try:
        found = load(ctx.params.get("source"), Path.cwd())[0].get("routes")
    except ConfigError:
        return []
    given = ctx.params.get(parameter.name or "") or ()
    return _beginning(incomplete, (name for name in found if name not in given) if isinstance(found, Mapping) else ())


def plugins(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of the installed plugins."""
    from loafer_core.discovery.loader import scan_only

    return _beginning(incomplete, {plugin.plugin for plugin in scan_only()})


def _beginning(start: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(start))
