"""``loafer routes``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from loafer_core.api.kinds import KINDS
from loafer_core.cli.shared import aligned, configured, guarded, show

if TYPE_CHECKING:
    from loafer_core.app.build import ResolvedRoute


@click.command()
@configured
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@guarded
def routes(source: str | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Show which provider, translator and handler each route binds. Offline."""
    from loafer_core.app.resolve import resolve
    from loafer_core.config.settings import read

    resolved = resolve(read(source, overrides=overrides))
    show(resolved.findings)
    rows = [_row(route) for route in resolved.routes]
    if as_json:
        click.echo(json.dumps({"schema": 1, "routes": rows}, indent=2))
    elif rows:
        header = [key.upper().replace("_", " ") for key in rows[0]]
        click.echo("\n".join(aligned([header, *([_cell(value) for value in row.values()] for row in rows)])))
    return 1 if resolved.errors else 0


def _row(resolved: ResolvedRoute) -> dict[str, object]:
    """What a route binds, by the keys of the configuration."""
    row: dict[str, object] = {"route": resolved.route.name}
    for kind, components in resolved.components.items():
        labels = [component.label for component in components]
        row[KINDS[kind].key] = labels if KINDS[kind].many else labels[0]
    return row | {"concurrency": resolved.route.concurrency}


def _cell(value: object) -> str:
    return ", ".join(value) or "-" if isinstance(value, list) else str(value)
