"""``loafer check``."""

from __future__ import annotations

import click

from loafer_core.cli.shared import configured, guarded, show


@click.command()
@configured
@click.option("--strict", is_flag=True, help="Let warnings fail the check too.")
@guarded
def check(source: str | None, overrides: tuple[str, ...], strict: bool) -> int:
    """Report every problem of the configuration, plugins and handlers, all at once.

    Offline: nothing is connected and no handler is called, but plugins and the modules of handlers are imported.
    Exit codes: 0 no error, 1 any error (with --strict: any warning).
    """
    from loafer_core.checking import check_all
    from loafer_core.config import OverrideError
    from loafer_core.errors import ConfigError

    try:
        checked = check_all(source, overrides)
        findings, routes = checked.findings, len(checked.settings.routes)
    except OverrideError as error:
        raise click.UsageError(str(error)) from None
    except ConfigError as error:
        findings, routes = list(error.findings), 0
    show(findings)
    errors = sum(finding.level == "error" for finding in findings)
    warnings = len(findings) - errors
    if errors or (strict and warnings):
        click.echo(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}", err=True)
        return 1
    click.echo(f"ok: {_count(routes, 'route')}" + (f", {_count(warnings, 'warning')}" if warnings else ""))
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
