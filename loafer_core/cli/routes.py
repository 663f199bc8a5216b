"""``loafer routes``."""

from __future__ import annotations

import json

import click

from loafer_core.cli.shared import aligned, configured, guarded, show


@click.command()
@configured
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@guarded
def routes(source: str | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Show the wiring: which provider, translator and handler each route binds. Offline."""
    from loafer_core.app.resolve import resolve
    from loafer_core.config.settings import read

    resolved = resolve(read(source, overrides=overrides))
    show(resolved.findings)
    wiring = [
        {
            "route": parts.route.name,
            "provider": parts.provider.label,
            "translator": parts.translator.label,
            "handler": parts.handler.label,
            "error_handler": [part.label for part in parts.error_handlers],
            "middleware": [part.label for part in parts.middlewares],
            "concurrency": parts.route.concurrency,
        }
        for parts in resolved.routes
    ]
    if as_json:
        click.echo(json.dumps({"schema": 1, "routes": wiring}, indent=2))
    elif wiring:
        header = [key.upper().replace("_", " ") for key in wiring[0]]
        cells = [[", ".join(v) or "-" if isinstance(v, list) else str(v) for v in row.values()] for row in wiring]
        click.echo("\n".join(aligned([header, *cells])))
    return 1 if resolved.errors else 0
