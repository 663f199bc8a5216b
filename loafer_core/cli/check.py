"""``loafer check``."""

from __future__ import annotations

import click

from loafer_core.cli.shared import configured, guarded, show, trace


@click.command()
@configured
@click.option("--strict", is_flag=True, help="Let warnings fail the check too.")
@guarded
def check(source: str | None, overrides: tuple[str, ...], strict: bool) -> int:
    """Report every problem of the configuration, plugins and handlers, all at once.

    Offline: nothing is connected and no handler is called, but plugins and the modules of handlers are imported.
    Exit codes: 0 no error, 1 any error (with --strict: any warning), 2 the command line itself.
    """
    from loafer_core.api.errors import ConfigError
    from loafer_core.app.check import check_all
    from loafer_core.config.settings import OverrideError

    routes = 0
    try:
        checked = check_all(source, overrides)
        routes = len(checked.settings.routes)
        error = checked.found.error()
    except OverrideError:
        raise
    except ConfigError as raised:  # there is no file that could be checked: that is a finding, too
        error = raised
    if click.get_current_context().params["show_traceback"] and error.__cause__ is not None:
        trace(error.__cause__)
    show(error.findings)
    errors = sum(finding.level == "error" for finding in error.findings)
    warnings = len(error.findings) - errors
    if errors or (strict and warnings):
        click.echo(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}", err=True)
        return 1
    click.echo(f"ok: {_count(routes, 'route')}" + (f", {_count(warnings, 'warning')}" if warnings else ""))
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
