"""``loafer plugins show`` and ``check``: the components of a plugin, described and built."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from loafer_core.cli import completion
from loafer_core.cli.shared import aligned, installed
from loafer_core.observability.logs import printable

if TYPE_CHECKING:
    from loafer_core.discovery.loader import Plugin, Plugins
    from loafer_core.discovery.registry import Offer


@click.command()
@click.argument("name", shell_complete=completion.plugins)
@click.option("--json", "as_json", is_flag=True, help="Print the options as JSON Schema and nothing else.")
def show(name: str, as_json: bool) -> None:
    """Show the components called NAME, or all of the plugin NAME: their options and a configuration to paste."""
    from loafer_core.discovery.describe import COLUMNS, labelled, paste, rows

    offers = offers_of(load(), name)
    if as_json:
        click.echo(json.dumps({"schema": 1, "components": [_as_json(offer) for offer in offers]}, indent=2))
        return
    for number, offer in enumerate(offers):
        click.echo(("\n" if number else "") + click.style(f"{labelled(offer)}: {offer.spec.summary}", bold=True))
        click.echo(f"of the plugin {offer.owner}; in full {offer.full_name!r}\n")
        if table := rows(offer):
            header = [column.upper() for column in COLUMNS]
            click.echo("\n".join(aligned([header, *table])) + "\n")
        click.echo("\n".join("    " + line for line in paste(offer).splitlines()))


@click.command()
@click.argument("name", required=False, shell_complete=completion.plugins)
def check(name: str | None) -> None:
    """Load every plugin, or NAME, for real: import what its components need and build them. Exits 1 if that fails.

    Nothing is opened: a factory does no I/O. A component whose required options cannot be made up is imported only.
    """
    loaded = load()
    plugins = [one for one in loaded.plugins if name in (None, one.plugin, one.owner, one.distribution)]
    if not plugins:
        raise click.UsageError(_unknown(name or "", [plugin.plugin for plugin in loaded.plugins]))
    failed = sum(not _check(plugin, loaded) for plugin in plugins)
    sys.exit(1 if failed else 0)


def _check(plugin: Plugin, loaded: Plugins) -> bool:
    """Print what came of loading the plugin and of building its components; True if all is well, or it is blocked."""
    if plugin.state != "ok":
        click.echo(f"{plugin.owner}: {plugin.state}: {printable(plugin.reason or '')}")
        if plugin.error is not None:
            click.echo("".join(traceback.format_exception(plugin.error)).rstrip())
        return plugin.state == "blocked"
    click.echo(f"{plugin.owner} {plugin.version}: imported in {(plugin.load_seconds or 0) * 1000:.0f} ms")
    offers = [offer for offer in loaded.registry.offers() if offer.owner == plugin.owner]
    built = [_build(offer) for offer in offers]
    return all(built)


def _build(offer: Offer) -> bool:
    """Build the component and print what came of it; True if it could be built, or its options cannot be made up."""
    from loafer_core.config.validation import validate
    from loafer_core.discovery.describe import labelled
    from loafer_core.discovery.import_guard import TookTooLong, time_limit
    from loafer_core.discovery.samples import required

    options, findings = validate(offer.spec.options, required(offer.spec.options), "")
    if findings:
        click.echo(f"  {labelled(offer)}: not built, its options cannot be made up")
        return True
    started = time.perf_counter()
    try:
        with time_limit(f"building the {labelled(offer)} of the plugin {offer.owner}", end_process=True):
            component = offer.spec.factory(options)
    except (Exception, SystemExit, TookTooLong):
        click.echo(f"  {labelled(offer)}: failed")
        click.echo("    " + traceback.format_exc().rstrip().replace("\n", "\n    "))
        return False
    if missing := offer.kind.missing(component):
        click.echo(f"  {labelled(offer)}: failed: it lacks {', '.join(f'{method}()' for method in missing)}")
        return False
    click.echo(f"  {labelled(offer)}: built in {(time.perf_counter() - started) * 1000:.0f} ms")
    return True


def load() -> Plugins:
    """Load every plugin, and print what there is to warn of."""
    loaded = installed()
    for finding in loaded.findings:
        click.echo(f"{finding.level}: {printable(str(finding))}", err=True)
    return loaded


def offers_of(loaded: Plugins, name: str) -> Sequence[Offer]:
    """Give the components called ``name``, or else all of the plugin ``name``. Raises ClickException for neither."""
    offers = loaded.registry.offers()
    if components := [offer for offer in offers if name in (offer.spec.name, offer.full_name)]:
        return components
    if of_plugin := [offer for offer in offers if name in (offer.plugin, offer.owner, offer.distribution)]:
        return of_plugin
    for plugin in loaded.plugins:
        if name in (plugin.plugin, plugin.owner, plugin.distribution):
            reason = printable(plugin.reason or "it provides nothing")
            raise click.ClickException(f"the plugin {plugin.owner} is {plugin.state}: {reason}")
    known = {known for offer in offers for known in (offer.spec.name, offer.plugin)}
    raise click.UsageError(_unknown(name, sorted(known)))


def _unknown(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
    return f"there is no plugin or component {name!r}{hint}"


def _as_json(offer: Offer) -> dict[str, object]:
    from pydantic import TypeAdapter

    options = offer.spec.options
    return {
        "kind": offer.spec.kind,
        "name": offer.spec.name,
        "summary": offer.spec.summary,
        "plugin": offer.owner,
        "options": None if options is None else TypeAdapter(options).json_schema(),
    }
