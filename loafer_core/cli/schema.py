"""``loafer schema``."""

from __future__ import annotations

import json

import click

from loafer_core.cli.shared import installed


@click.command()
def schema() -> None:
    """Print a JSON Schema of loafer.toml, the options of every installed plugin included, for editors."""
    from loafer_core.app.file_schema import file_schema

    click.echo(json.dumps(file_schema(installed().registry), indent=2))
