"""``loafer send``."""

from __future__ import annotations

import asyncio
import sys
from typing import BinaryIO

import click

from loafer_core.cli import completion
from loafer_core.cli.shared import configured, guarded


@click.command()
@configured
@click.argument("route", shell_complete=completion.routes)
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--lines", is_flag=True, help="Every line of FILE is a body of its own.")
@click.option("--attribute", "attributes", metavar="NAME=VALUE", multiple=True, help="An attribute; may be repeated.")
@click.option("--group", metavar="ID", help="Ordering key, for sources with groups.")
@guarded
def send(
    source: str | None,
    overrides: tuple[str, ...],
    route: str,
    file: BinaryIO,
    lines: bool,
    attributes: tuple[str, ...],
    group: str | None,
) -> int:
    """Publish FILE (default: standard input) to the source of ROUTE, and print the id of each message.

    One body, the whole file as it is, unless --lines. Exit codes: 0 sent, 1 the source did not take it.
    """
    from loafer_core.api.errors import ProviderError
    from loafer_core.app.publish import send as publish
    from loafer_core.app.resolve import resolve
    from loafer_core.config.settings import read

    pairs = dict(_pair(given) for given in attributes)
    resolved = resolve(read(source, overrides=overrides), [route])
    content = _text(file.read())
    bodies = [line for line in content.splitlines() if line.strip()] if lines else [content]
    try:
        ids = asyncio.run(publish(resolved, bodies, pairs, group))
    except ProviderError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    for one in ids:
        click.echo(one)
    click.echo(f"sent {len(ids)} to {route!r}", err=True, color=sys.stderr.isatty())
    return 0


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--attribute {given}: write NAME=VALUE")
    return name, value


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise click.UsageError("FILE is not UTF-8") from None
