"""``loafer plugins new``: a whole, working package to start a plugin from."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import click

from loafer_core import __version__
from loafer_core.api.declarations import NAME
from loafer_core.cli.shared import guarded
from loafer_core.discovery.describe import markdown
from loafer_core.discovery.registry import Offer

SUMMARIES = {
    "provider": "Messages from {name}",
    "translator": "Bodies in the format of {name}",
    "error-handler": "Decides about failures as {name} wants it",
    "handler": "Hands payloads to {name}",
    "middleware": "Looks at messages for {name}",
    "observer": "Tells {name} how routes are doing",
    "command": "Commands for {name}",
}
TRY_IT = {"command": "loafer {name} --help"}
NEXT = {
    "provider": """`src/{package}/provider.py` is the provider. `broker.py` beside it stands in for the client of
your broker, so that all of this runs at once: put the real one in its place, and keep the tests green.""",
}
NEXT_OF_OTHERS = "What is in `src/{package}` works, and is yours to change; keep the tests green."


@click.command("new", short_help="Make a package to start a plugin from.")
@click.argument("name")
@click.option("--kind", type=click.Choice(list(SUMMARIES)), required=True, help="What the plugin brings.")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), default=".", help="Where to make its folder.")
@click.option("--traceback", "show_traceback", is_flag=True, help="Show where an error was raised.")
@guarded
def new(name: str, kind: str, into: Path) -> int:
    """Make a package loafer-NAME that works as it is: a plugin, its tests, a README.

    NAME is what routes will call it. Nothing is installed, and no file that exists is touched.
    """
    name = name.removeprefix("loafer-")
    if not NAME.fullmatch(name):
        raise click.UsageError(f"NAME {name!r}: lower-case letters, digits, '-' and '_', beginning with a letter")
    folder = into / f"loafer-{name}"
    if folder.exists():
        raise click.UsageError(f"{folder} exists already; move it away, or choose another NAME or --into")
    for path, text in package(name, kind):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        click.echo(f"  {target}")
    _document(folder, f"loafer_{name.replace('-', '_')}")
    click.echo(f"\nNext:\n\n  cd {folder}\n  pip install -e '.[testing]'\n  pytest\n  {_try_it(name, kind)}", err=True)
    return 0


def package(name: str, kind: str) -> Iterator[tuple[Path, str]]:
    """Give the path and the text of every file of a new package."""
    package = f"loafer_{name.replace('-', '_')}"
    words = {
        "component": name,
        "project": f"loafer-{name}",
        "package": package,
        "Class": "".join(part.capitalize() for part in re.split(r"[-_]+", name)),
        "kind": kind.replace("-", " "),
        "summary": SUMMARIES[kind].format(name=name),
        "oldest_core": _minor(__version__),
        "library": "click>=8.1" if kind == "command" else "pydantic>=2.12",
        "try_it": _try_it(name, kind).ljust(32) + "# ends with Ctrl-C" * (kind != "command"),
        "what_next": NEXT.get(kind, NEXT_OF_OTHERS).format(package=package),
    }
    templates = files("loafer_core.cli") / "templates"
    for part in ("common", kind):
        for path, template in _files(templates / part, Path()):
            place = Path(*(package if part == "package" else part for part in path.parts))
            yield place, Template(template).substitute(words)


def _files(folder: Traversable, path: Path) -> Iterator[tuple[Path, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry, path / entry.name)
        else:
            yield path / entry.name.removesuffix(".template"), entry.read_text(encoding="utf-8")


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _try_it(name: str, kind: str) -> str:
    return TRY_IT.get(kind, "loafer run").format(name=name)


def _document(folder: Path, package: str) -> None:
    """Put what ``loafer plugins docs`` says of it between the marks in the README."""
    plugin = runpy.run_path(str(folder / "src" / package / "plugin.py"), run_name=f"{package}.plugin")
    declared = [spec for name, hook in plugin.items() if name.startswith("loafer_") for spec in hook()]
    offers = [Offer(spec, folder.name, spec.name) for spec in declared]
    readme = folder / "README.md"
    before, mark, after = readme.read_text().partition("-->\n")
    readme.write_text(before + mark + "\n".join(markdown(offers)) + after)
