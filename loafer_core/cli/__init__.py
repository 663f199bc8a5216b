"""The ``loafer`` command. Sub-commands are imported when they are called, so that ``--version`` stays quick."""

from __future__ import annotations

import importlib

import click

from loafer_core import __version__

_COMMANDS = {
    "run": ("loafer_core.cli.run", "run", "Receive messages and hand them to the handlers, until a signal."),
    "check": ("loafer_core.cli.check", "check", "Report every problem of the configuration, plugins and handlers."),
    "plugins": ("loafer_core.cli.plugins", "plugins_group", "See what the installed plugins bring."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="loafer")
def main() -> None:
    """Loafer dispatches messages from queues to your handlers.

    Start with a loafer.toml, then: loafer check, loafer run.
    """
