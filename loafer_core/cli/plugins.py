"""``loafer plugins``: what is installed, what it brings, and what is wrong with it."""

from __future__ import annotations

import json
import re
import shutil
import traceback
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click

from loafer_core.api.kinds import KINDS
from loafer_core.cli import plugin_details, plugin_docs
from loafer_core.cli.new import new
from loafer_core.cli.shared import guarded, installed, show
from loafer_core.observability.logs import printable

if TYPE_CHECKING:
    from loafer_core.api.declarations import Spec
    from loafer_core.discovery.loader import Plugin

READABLE = 15
"""Characters that a column must at least have to be readable."""


@click.group("plugins")
def plugins_group() -> None:
    """See what the installed plugins bring."""


@plugins_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@click.option("--no-load", is_flag=True, help="Read only what is written about the plugins; import none.")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only who provides this, or could not be asked.")
@click.option("--traceback", "show_traceback", is_flag=True, help="Show where each broken plugin failed.")
@guarded
def list_plugins(as_json: bool, no_load: bool, kind: str | None) -> int:
    """List the installed plugins: their states, what they provide and where they are from.

    A broken plugin is listed with the reason and does not change the exit code. The environment variables
    LOAFER_PLUGINS_DISABLE and LOAFER_PLUGINS_ONLY (names with commas) keep plugins from being imported.
    """
    from loafer_core.discovery.loader import scan_only

    if no_load and kind:
        raise click.UsageError("--kind has to load the plugins, and --no-load forbids it")
    if no_load:
        plugins = scan_only()
    else:
        loaded = installed()
        plugins = loaded.plugins
        owners = {plugin.owner for plugin in plugins}  # the warnings about a plugin are listed with it
        show(finding for finding in loaded.findings if finding.where not in owners)
    shown = [plugin for plugin in plugins if kind is None or plugin.state != "ok" or _of_kind(kind, plugin)]
    if as_json:
        click.echo(json.dumps({"schema": 1, "plugins": [_record(plugin, kind) for plugin in shown]}, indent=2))
    else:
        table = _table(shown, kind, shutil.get_terminal_size((120, 24)).columns)
        click.echo("\n".join(map(printable, table)))
    if click.get_current_context().params["show_traceback"]:
        for plugin in shown:
            if plugin.error is not None:
                traceback.print_exception(plugin.error)
    return 0


def _of_kind(kind: str | None, plugin: Plugin) -> list[Spec[Any, Any]]:
    """Give what the plugin provides of a kind; None: of every kind."""
    return [spec for spec in plugin.provides if kind in (None, spec.kind)]


def _record(plugin: Plugin, kind: str | None) -> dict[str, object]:
    return {
        "plugin": plugin.plugin,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": plugin.state,
        "reason": plugin.reason,
        "provides": [
            {"kind": spec.kind, "name": spec.name, "summary": spec.summary} for spec in _of_kind(kind, plugin)
        ],
        "origin": plugin.origin,
        "load_seconds": round(plugin.load_seconds, 6) if plugin.load_seconds else None,
        "warnings": list(plugin.warnings),
    }


def _table(plugins: Sequence[Plugin], kind: str | None, width: int) -> Iterable[str]:
    """Write the table, some lines for each plugin, and below it why plugins cannot be used, and warnings."""
    heading = ("PLUGIN", "VERSION", "STATE", "PROVIDES", "SUMMARY", "FROM")
    rows = [
        (plugin.plugin, plugin.version, _state(plugin), _provides(plugin, kind), plugin.summary, _from(plugin))
        for plugin in plugins
    ]
    widths = _widths([heading, *rows], width)
    for row in (heading, *rows):
        cells = [_fold(cell, size) for cell, size in zip(row, widths, strict=True)]
        for line in zip_longest(*cells, fillvalue=""):
            yield "  ".join(piece.ljust(size) for piece, size in zip(line, widths, strict=True)).rstrip()
    notes = [f"{plugin.owner} is {plugin.state}: {plugin.reason}" for plugin in plugins if plugin.reason]
    notes += [f"{plugin.owner}: warning: {text}" for plugin in plugins for text in plugin.warnings]
    yield from ["", *notes] if notes else ()
    if any(plugin.error is not None for plugin in plugins):
        yield "(--traceback shows where)"


def _widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Divide the width of the terminal: the last three columns are folded into what the first three leave."""
    widest = [max(len(line) for row in rows for line in row[column].split("\n")) for column in range(6)]
    gaps = 5 * 2
    left = width - sum(widest[:3]) - gaps
    # No column gets less than READABLE, so the table may be wider than a very narrow terminal.
    provides = min(widest[3], max(READABLE, min(left * 2 // 5, left - 2 * READABLE)))
    origin = min(widest[5], max(READABLE, (left - provides) // 2))
    summary = min(widest[4], max(READABLE, left - provides - origin))
    return [*widest[:3], provides, summary, origin]


def _state(plugin: Plugin) -> str:
    state = plugin.state or "-"
    return f"{state}\n{plugin.load_seconds * 1000:.0f} ms" if plugin.load_seconds else state


def _provides(plugin: Plugin, kind: str | None) -> str:
    specs = _of_kind(kind, plugin)
    names: dict[str, list[str]] = {}
    for spec in specs:
        names.setdefault(spec.kind, []).append(spec.name)
    return "\n".join(f"{kind}: {', '.join(of_kind)}" for kind, of_kind in names.items()) or "-"


def _from(plugin: Plugin) -> str:
    return f"{plugin.distribution}\n{plugin.origin}"


def _fold(cell: str, width: int) -> list[str]:
    """Break a cell into lines, at spaces and after slashes; a word that is longer than ``width`` is left whole."""
    lines: list[str] = []
    for line in cell.split("\n"):
        lines.append("")
        for piece in re.findall(r"\S+?(?:/|\s+|$)", line):
            if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
                lines[-1] = lines[-1].rstrip()
                lines.append("")
            lines[-1] += piece
    return lines


for command in (plugin_details.show, plugin_details.check, plugin_docs.docs, new):
    plugins_group.add_command(command)
