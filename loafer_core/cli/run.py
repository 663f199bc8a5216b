"""``loafer run``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from loafer_core.cli import completion
from loafer_core.cli.shared import configured, guarded


@click.command()
@configured
@click.option(
    "--route",
    "routes",
    metavar="NAME",
    multiple=True,
    shell_complete=completion.routes,
    help="Run this route only; may be repeated.",
)
@click.option(
    "--until-empty",
    metavar="[SECONDS]",
    is_flag=False,
    flag_value="",
    help="End when every source is empty; exit 1 unless all was acked or rejected. "
    "With SECONDS, drain after that long in any case, and exit 1.",
)
@click.option("--sandbox", is_flag=True, help="Run on local stand-ins of the sources, never on real ones.")
@click.option(
    "--sample",
    "samples",
    metavar="ROUTE=FILE",
    multiple=True,
    help="With --sandbox: send the lines of FILE to the route's source, one body a line. May be repeated.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="From which level on to log to stderr.",
)
@guarded
def run(
    source: str | None,
    overrides: tuple[str, ...],
    routes: tuple[str, ...],
    until_empty: str | None,
    sandbox: bool,
    samples: tuple[str, ...],
    log_level: str,
) -> int:
    """Receive messages and hand them to the handlers, until a signal.

    The first SIGINT or SIGTERM stops: nothing new is received, what has not started is given back, what runs may end.
    The second cancels what still runs, the third ends the process at once.

    Exit codes: 0 done, 1 --until-empty left something undone, 2 the command line itself, 70 a bug in Loafer,
    75 stopped with work abandoned, 78 bad configuration, 128 and the signal's number at the third signal.
    """
    limit = _seconds(until_empty)
    if samples and not sandbox:
        raise click.UsageError("--sample needs --sandbox: it never sends to a real source")
    bodies = _bodies(samples)

    from loafer_core.app.manager import Manager
    from loafer_core.observability import logs

    logs.set_up(log_level)
    manager = Manager.from_config(source, overrides=overrides, routes=routes)
    for name in bodies:
        if name not in manager.routes:
            raise click.UsageError(f"--sample {name}: no such route runs; there are {', '.join(manager.routes)}")
    return manager.run_or_raise(until_empty=limit, sandbox=sandbox, samples=bodies)


def _seconds(given: str | None) -> bool | float:
    """Read ``--until-empty``: False without it, True without a number (``""``), else the seconds."""
    if not given:
        return given is not None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise click.UsageError(f"--until-empty={given}: a number of seconds above 0")
    return seconds


def _bodies(samples: Iterable[str]) -> dict[str, list[str]]:
    """Read the files of ``--sample``: the bodies for each route, one a line; empty lines are none."""
    bodies: dict[str, list[str]] = {}
    for given in samples:
        route, equals, file = given.partition("=")
        if not equals or not route or not file:
            raise click.UsageError(f"--sample {given}: write ROUTE=FILE")
        try:
            text = Path(file).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise click.UsageError(f"--sample {given}: cannot read it: {reason}") from None
        # JSON Lines end with a line feed alone: other line separators are content.
        bodies.setdefault(route, []).extend(line for line in text.split("\n") if line.strip())
    return bodies
