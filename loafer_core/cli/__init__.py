"""The ``loafer`` command. Sub-commands are imported when they are called, so that ``--version`` stays quick."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from loafer_core import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from loafer_core.discovery.registry import Offer, Registry

_COMMANDS = {
    "run": ("run:run", "Receive messages and hand them to the handlers, until a signal."),
    "check": ("check:check", "Report every problem of the configuration, plugins and handlers."),
    "routes": ("routes:routes", "Show which provider, translator and handler each route binds."),
    "send": ("send:send", "Publish to the source of a route."),
    "plugins": ("plugins:plugins_group", "See what the installed plugins bring."),
    "schema": ("schema:schema", "Print a JSON Schema of loafer.toml for editors."),
}
"""Our own commands: in which module of this package each is, and what the help says of it."""


class _Commands(click.Group):
    """Our own commands, then those that plugins declare. A command is imported, or built, when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_summaries()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return _command_of_plugin(name)
        module, _, attribute = _COMMANDS[name][0].partition(":")
        command = getattr(importlib.import_module(f"loafer_core.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*_summaries().items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        summaries = _summaries().items()
        commands = [CompletionItem(name, help=text) for name, text in summaries if name.startswith(incomplete)]
        # Not the group's own completion: it would build every plugin's command to ask it for its help.
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        from loafer_core.api.errors import LoaferError

        try:
            return super().invoke(ctx)
        except LoaferError as error:  # from a plugin's command: our own commands show what they raise
            from loafer_core.observability.logs import printable

            raise click.ClickException(printable(str(error))) from error


def _summaries() -> Mapping[str, str]:
    """Say what each command does, by the name that it is called by."""
    from loafer_core.cli.shared import installed

    ours = {name: summary for name, (_, summary) in _COMMANDS.items()}
    return ours | {name: offer.spec.summary for name, offer in _commands_of_plugins(installed().registry).items()}


def _commands_of_plugins(registry: Registry) -> dict[str, Offer]:
    """Give plugins' commands by name; one whose name another command has, too, by its full name."""
    offers = registry.offers("command")
    uses = Counter([*_COMMANDS, *(offer.spec.name for offer in offers)])
    return {offer.spec.name if uses[offer.spec.name] == 1 else offer.full_name: offer for offer in offers}


def _command_of_plugin(name: str) -> click.Command | None:
    """Build the command that a plugin declares by that name; None: there is none. Says so if its plugin is broken."""
    from loafer_core.cli.shared import installed
    from loafer_core.discovery.registry import UnknownComponent
    from loafer_core.observability.logs import printable

    loaded = installed()
    if not any(name in (offer.spec.name, offer.full_name) for offer in loaded.registry.offers("command")):
        for plugin in loaded.plugins:
            if plugin.reason and name in (plugin.plugin, plugin.owner, plugin.distribution):
                raise click.UsageError(printable(f"the plugin {plugin.owner} is {plugin.state}: {plugin.reason}"))
        return None
    try:
        return _build(loaded.registry.find("command", name))
    except UnknownComponent as error:
        raise click.UsageError(str(error)) from None


def _build(offer: Offer) -> click.Command:
    from loafer_core.discovery.import_guard import TookTooLong, time_limit
    from loafer_core.observability.logs import printable

    try:
        with time_limit(f"building the command {offer.full_name}", end_process=True):
            command = offer.spec.factory({})
    except (Exception, SystemExit, TookTooLong) as error:
        fault = f"raised {type(error).__name__}: {error}"
    else:
        if isinstance(command, click.Command):
            return command
        fault = f"is a {type(command).__name__}, not a click.Command"
    raise click.ClickException(printable(f"the plugin {offer.owner}: its command {offer.spec.name!r} {fault}"))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="loafer")
def main() -> None:
    """Loafer dispatches messages from queues to your handlers.

    Start with a loafer.toml, then: loafer check, loafer run.
    """
