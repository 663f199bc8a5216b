"""What several commands have in common: options, exit codes, and how findings and errors are shown."""

from __future__ import annotations

import contextlib
import functools
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from loafer_core.api.errors import ConfigError, Finding, LoaferError, RouteFailed
from loafer_core.observability.logs import printable

if TYPE_CHECKING:
    from loafer_core.discovery.loader import Plugins

F = TypeVar("F", bound=Callable[..., Any])

USAGE = 2
"""Exit code: the command line itself is wrong."""
BUG = 70
"""Exit code: Loafer has a bug."""
BAD_CONFIG = 78
"""Exit code: the configuration is wrong, or there is none."""


def configured(command: F) -> F:
    """Add the options that say which configuration is meant."""
    for option in (
        click.option("--traceback", "show_traceback", is_flag=True, help="Show where an error was raised."),
        click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override a value of the file."),
        click.option(
            "-c",
            "--config",
            "source",
            metavar="FILE",
            help="Default: ./loafer.toml, else [tool.loafer] in ./pyproject.toml.",
        ),
    ):
        command = option(command)
    return command


def guarded(function: Callable[..., int]) -> Callable[..., None]:
    """Turn what a command raises into a few lines and an exit code.

    The traceback is shown if ``--traceback`` asks for it, or if the error is a bug of ours.
    """

    @functools.wraps(function)
    def call(*args: Any, show_traceback: bool, **kwargs: Any) -> None:
        try:
            code = function(*args, **kwargs)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except ConfigError as error:
            if show_traceback:
                trace(error)
            show(error.findings)
            code = USAGE if _is_of_command_line(error) else BAD_CONFIG
        except Exception as error:
            is_bug = isinstance(error, RouteFailed) or not isinstance(error, LoaferError)
            if is_bug or show_traceback:
                trace(error)
            text = "This is a bug in Loafer. Please report it with the lines above." if is_bug else f"error: {error}"
            click.echo(printable(text), err=True)
            code = BUG
        sys.exit(code)

    return call


def installed() -> Plugins:
    """Load every plugin, for a command that has nothing else to do.

    The process ends if a plugin's import takes too long and cannot be interrupted.
    """
    from loafer_core.discovery.loader import load

    # What a plugin prints while it is imported must not get into what the command prints.
    with contextlib.redirect_stdout(sys.stderr):
        return load(end_process=True)


def _is_of_command_line(error: ConfigError) -> bool:
    return bool(error.findings) and all(finding.where.startswith("--") for finding in error.findings)


def show(findings: Iterable[Finding]) -> None:
    """Print findings to stderr, one line each. Further lines of a text are indented: none looks like another."""
    for finding in findings:
        colour = "red" if finding.level == "error" else "yellow"
        text = "\n    ".join(map(printable, str(finding).split("\n")))
        click.echo(f"{click.style(finding.level, fg=colour)}: {text}", err=True)


def trace(error: BaseException) -> None:
    """Print the traceback to stderr."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        click.echo(printable(line), err=True)


def aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """Write a table, a line for each row: every column but the last is as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
