"""``loafer schema``."""

from __future__ import annotations

import contextlib
import json
import sys

import click


@click.command()
def schema() -> None:
    """Print a JSON Schema of loafer.toml, the options of every installed plugin included, for editors."""
    from loafer_core.file_schema import file_schema
    from loafer_core.plugins import load

    with contextlib.redirect_stdout(sys.stderr):
        registry = load().registry
    click.echo(json.dumps(file_schema(registry), indent=2))
