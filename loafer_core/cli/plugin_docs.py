"""``loafer plugins docs``: options as Markdown, printed or put into a README."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from loafer_core.api.kinds import KINDS
from loafer_core.cli import completion
from loafer_core.cli.plugin_details import load, offers_of

if TYPE_CHECKING:
    from loafer_core.discovery.loader import Plugins


@click.command()
@click.argument("name", required=False, shell_complete=completion.plugins)
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only components of this kind.")
@click.option("--table", is_flag=True, help="Print the tables of options alone.")
@click.option(
    "--into",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write it into FILE, below each mark '<!-- loafer plugins docs NAME -->', down to '<!-- end -->'.",
)
@click.option("--check", is_flag=True, help="With --into: write nothing, exit with 1 if FILE is not current.")
def docs(name: str | None, kind: str | None, table: bool, into: Path | None, check: bool) -> None:
    """Print the options of the plugin or components NAME as Markdown, for its README."""
    from loafer_core.cli.readmes import filled

    if (name is None) == (into is None) or (check and into is None):
        raise click.UsageError("give NAME, or a file by --into that has marks with names; --check goes with --into")
    loaded = load()
    if name is not None:
        click.echo(_documented(loaded, name, kind, table))
        return
    assert into is not None
    text = into.read_text(encoding="utf-8")
    current = filled(text, lambda words: _documented_by_mark(loaded, words))
    if check and current != text:
        raise click.ClickException(f"{into} is not current: loafer plugins docs --into {into}")
    if current != text:
        into.write_text(current, encoding="utf-8")


def _documented_by_mark(loaded: Plugins, words: str) -> str:
    """Say what the command prints with the words of a mark as its arguments."""
    with docs.make_context("docs", shlex.split(words)) as context:
        given = context.params
    return _documented(loaded, given["name"] or "", given["kind"], given["table"])


def _documented(loaded: Plugins, name: str, kind: str | None, table: bool) -> str:
    from loafer_core.discovery.describe import markdown

    offers = [offer for offer in offers_of(loaded, name) if kind in (None, offer.spec.kind)]
    if not offers:
        raise click.UsageError(f"{name!r} has no component of the kind {kind!r}")
    return "\n".join(markdown(offers, table_only=table)).rstrip()
