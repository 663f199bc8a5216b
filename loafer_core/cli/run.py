"""``loafer run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from loafer_core.cli.shared import configured, guarded


@click.command()
@configured
@click.option("--route", "routes", metavar="NAME", multiple=True, help="Run this route only; may be repeated.")
@click.option(
    "--until-empty",
    metavar="[SECONDS]",
    is_flag=False,
    flag_value="forever",
    help="End when every source is empty; exit 1 unless all was acked or rejected. "
    "With SECONDS, drain after that long in any case, and exit 1.",
)
@click.option("--sandbox", is_flag=True, help="Run on local stand-ins of the sources, never on real ones.")
@click.option(
    "--sample",
    "samples",
    metavar="ROUTE=FILE",
    multiple=True,
    help="With --sandbox: send the lines of FILE to the route's source, one body a line.",
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

    Exit codes: 0 done, 1 --until-empty left something undone, 70 a bug in Loafer, 75 stopped with work abandoned,
    78 bad configuration.
    """
    limit = _seconds(until_empty)
    if samples and not sandbox:
        raise click.UsageError("--sample needs --sandbox: it never sends to a real source")
    bodies = dict(map(_sample, samples))

    from loafer_core.cli import logs
    from loafer_core.config import OverrideError
    from loafer_core.manager import Manager

    logs.set_up(log_level)
    try:
        manager = Manager.from_config(source, overrides=overrides, routes=routes)
    except OverrideError as error:
        raise click.UsageError(str(error)) from None
    known = [route.name for route in manager.settings.routes]
    for name in bodies:
        if name not in known:
            raise click.UsageError(f"--sample {name}: there is no such route; there are {', '.join(known)}")
    return manager.run_or_raise(until_empty=limit, sandbox=sandbox, samples=bodies)


def _seconds(given: str | None) -> bool | float:
    if given is None or given == "forever":
        return given is not None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise click.UsageError(f"--until-empty={given}: a number of seconds above 0")
    return seconds


def _sample(given: str) -> tuple[str, Sequence[str]]:
    route, equals, file = given.partition("=")
    if not equals or not route or not file:
        raise click.UsageError(f"--sample {given}: write ROUTE=FILE")
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise click.UsageError(f"--sample {given}: cannot read {file}: {reason}") from None
    return route, [line for line in lines if line.strip()]
