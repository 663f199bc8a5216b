"""The ``loafer`` command. Sub-commands are imported when they are called, so that ``--version`` stays quick."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import TYPE_CHECKING

import click

from loafer_core import __version__

if TYPE_CHECKING:
    from loafer_core.registry import Offer

_COMMANDS = {
    "run": ("run:run", "Receive messages and hand them to the handlers, until a signal."),
    "check": ("check:check", "Report every problem of the configuration, plugins and handlers."),
    "routes": ("routes:routes", "Show which provider, translator and handler each route binds."),
    "send": ("send:send", "Publish to the source of a route."),
    "plugins": ("plugins:plugins_group", "See what the installed plugins bring."),
    "schema": ("schema:schema", "Print a JSON Schema of loafer.toml for editors."),
}


class _Lazy(click.Group):
    """Our own commands by a table, then those that plugins declare (``loafer_commands``)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *_of_plugins()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            offer = _of_plugins().get(name)
            return None if offer is None else _made(offer)
        module, _, attribute = _COMMANDS[name][0].partition(":")
        command = getattr(importlib.import_module(f"loafer_core.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        summaries = [(name, summary) for name, (_, summary) in _COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(summaries + [(name, offer.spec.summary) for name, offer in _of_plugins().items()])


def _of_plugins() -> dict[str, Offer]:
    from loafer_core.plugins import load

    with contextlib.redirect_stdout(sys.stderr):
        offers = load().registry.offers("command")
    return {offer.spec.name: offer for offer in offers if offer.spec.name not in _COMMANDS}


def _made(offer: Offer) -> click.Command:
    from loafer_core.cli.shared import printable

    try:
        command = offer.spec.factory({})
    except Exception as error:
        fault = f"raised {type(error).__name__}: {error}"
    else:
        if isinstance(command, click.Command):
            return command
        fault = f"is a {type(command).__name__}, not a click.Command"
    raise click.ClickException(printable(f"the plugin {offer.owner}: its command {offer.spec.name!r} {fault}"))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="loafer")
def main() -> None:
    """Loafer dispatches messages from queues to your handlers.

    Start with a loafer.toml, then: loafer check, loafer run.
    """
