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
from loafer_core.api.kinds import KINDS, Kind
from loafer_core.cli.shared import guarded
from loafer_core.discovery.describe import markdown
from loafer_core.discovery.registry import Offer

SCAFFOLDS = {kind.name.replace("_", "-"): kind for kind in KINDS.values() if kind.scaffold}
"""The kinds that a package can be made for, as ``--kind`` and the folders of ``templates`` call them."""
NEXT = "What is in `src/{package}` works, and is yours to change; keep the tests green."
"""What the README says that the author does next."""
NEXT_OF_A_PROVIDER = """\
`src/{package}/provider.py` is the provider. `broker.py` beside it stands in for the client of
your broker, so that all of this runs at once: put the real one in its place, and keep the tests green."""
"""The same for a provider."""


@click.command("new", short_help="Make a package to start a plugin from.")
@click.argument("name")
@click.option("--kind", type=click.Choice(list(SCAFFOLDS)), required=True, help="What the plugin brings.")
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
    _document(folder, _module(name))
    steps = [f"cd {folder}", "pip install -e '.[testing]'", "pytest", _try_it(name, SCAFFOLDS[kind])]
    click.echo("\nNext:\n\n" + "\n".join(f"  {step}" for step in steps), err=True)
    return 0


def package(name: str, scaffold: str) -> Iterator[tuple[Path, str]]:
    """Give the path and the text of every file of a new package. ``scaffold``: one of ``SCAFFOLDS``."""
    kind = SCAFFOLDS[scaffold]
    module = _module(name)
    words = {
        "component": name,
        "project": f"loafer-{name}",
        "package": module,
        "Class": "".join(word.capitalize() for word in re.split(r"[-_]+", name)),
        "kind": kind.label,
        "summary": kind.scaffold.format(name=name),
        "oldest_core": _minor(__version__),
        "library": "click>=8.1" if kind.name == "command" else "pydantic>=2.12",
        "try_it": _try_it(name, kind).ljust(32) + ("# ends with Ctrl-C" if kind.place else ""),
        "what_next": (NEXT_OF_A_PROVIDER if kind.name == "provider" else NEXT).format(package=module),
    }
    templates = files("loafer_core.cli") / "templates"
    for source in ("common", scaffold):
        for path, template in _files(templates / source, Path()):
            place = Path(*(module if folder == "package" else folder for folder in path.parts))
            yield place, Template(template).substitute(words)


def _module(name: str) -> str:
    return f"loafer_{name.replace('-', '_')}"


def _files(folder: Traversable, path: Path) -> Iterator[tuple[Path, str]]:
    """Give the files below ``folder``: the path of each, which begins with ``path``, and its text."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry, path / entry.name)
        else:
            yield path / entry.name.removesuffix(".template"), entry.read_text(encoding="utf-8")


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _try_it(name: str, kind: Kind) -> str:
    return "loafer run" if kind.place else f"{kind.command_line.format(name=name)} --help"


def _document(folder: Path, module: str) -> None:
    """Put what ``loafer plugins docs`` says of the new plugin behind the mark in its README."""
    plugin = runpy.run_path(str(folder / "src" / module / "plugin.py"), run_name=f"{module}.plugin")
    declared = [spec for name, hook in plugin.items() if name.startswith("loafer_") for spec in hook()]
    offers = [Offer(spec, folder.name, spec.name) for spec in declared]
    readme = folder / "README.md"
    before, mark, after = readme.read_text().partition("-->\n")
    readme.write_text(before + mark + "\n".join(markdown(offers)) + after)
