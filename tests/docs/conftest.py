"""The pages as a reader meets them: their blocks of code, and a folder in which what they say is really done.

What a block is for stands beside its language, where no reader sees it::

    python file=shop.py   part of the page's program
    python run            executed, the blocks of a page one after the other
    text prints           what the program prints when it runs for a while, then the accounts of its routes
    text of=capacity      what `loafer capacity` prints, a command of the page's plugin
    python from=PATH      an excerpt of a file of the repository
    python new=KIND:PATH  an excerpt of a file that `loafer plugins new acme --kind KIND` makes
    toml part             a piece of a loafer.toml, not a whole one
    toml wrong            a loafer.toml with mistakes; the next block is what `loafer check` says of it
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from loafer_core import MemoryQueue
from loafer_core.cli import main

ROOT = Path(__file__).resolve().parents[2]
OF_ROOT = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")
CONFIGURATION = {"loafer", "plugins", "defaults", "routes"}

_FENCE = re.compile(r"^```(?P<language>\w*) *(?P<marks>.*)\n(?P<text>(?:(?!```).*\n)*)^```$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block. ``line`` is where its text begins."""

    page: str
    line: int
    language: str
    marks: str
    text: str

    @property
    def file(self) -> str | None:
        return self.marks.removeprefix("file=") if self.marks.startswith("file=") else None

    @property
    def is_configuration(self) -> bool:
        return self.language == "toml" and tomllib.loads(self.text).keys() <= CONFIGURATION


@dataclass(frozen=True)
class Page:
    """One Markdown file. ``name`` is its path from the root of the repository."""

    name: str
    text: str

    @property
    def path(self) -> Path:
        return ROOT / self.name

    @property
    def blocks(self) -> list[Block]:
        return [
            Block(
                self.name, self.text.count("\n", 0, found.start("text")) + 1, *found.group("language", "marks", "text")
            )
            for found in _FENCE.finditer(self.text)
        ]

    @property
    def prose(self) -> str:
        """The page without its blocks of code."""
        return _FENCE.sub("", self.text)

    def one(self, marks: str) -> Block:
        [block] = [block for block in self.blocks if block.marks == marks]
        return block

    def section(self, heading: str) -> str:
        """What stands below a heading, up to the next one of its level or above."""
        found = re.search(rf"^(#+) {re.escape(heading)}\n", self.text, re.MULTILINE)
        assert found, f"{self.name} has no heading {heading!r}"
        rest = self.text[found.end() :]
        return re.split(rf"^#{{1,{len(found[1])}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def _pages() -> Iterator[Page]:
    for path in (*(ROOT / name for name in OF_ROOT), *sorted((ROOT / "docs").rglob("*.md"))):
        yield Page(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))


def _commands(command: click.Command, name: str = "") -> dict[str, click.Command]:
    if not isinstance(command, click.Group):
        return {name: command}
    found = {}
    for inner in command.list_commands(click.Context(command)):
        loaded = command.get_command(click.Context(command), inner)
        assert loaded is not None
        found |= _commands(loaded, f"{name} {inner}".strip())
    return found


COMMANDS = _commands(main)
PAGES = {page.name: page for page in _pages()}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``page`` is every page; the others are those pages or blocks that there is something to do with."""
    blocks = [block for page in PAGES.values() for block in page.blocks]
    wanted: dict[str, list[Any]] = {
        "command": list(COMMANDS.items()),
        "page": list(PAGES.values()),
        "program": [page for page in PAGES.values() if any(block.marks == "prints" for block in page.blocks)],
        "plugin_page": [page for page in PAGES.values() if any(b.file == "plugin.toml" for b in page.blocks)],
        "script": [page for page in PAGES.values() if any(block.marks == "run" for block in page.blocks)],
        "python_block": [block for block in blocks if block.language == "python"],
        "excerpt": [block for block in blocks if block.marks.startswith(("from=", "new="))],
        "shell_block": [block for block in blocks if block.language == "sh"],
        "toml_block": [block for block in blocks if block.is_configuration and block.marks != "wrong"],
        "wrong_toml_block": [block for block in blocks if block.is_configuration and block.marks == "wrong"],
    }
    for name in wanted.keys() & set(metafunc.fixturenames):
        values = wanted[name]
        metafunc.parametrize(name, values, ids=map(_id, values))


def _id(value: Page | Block | tuple[str, click.Command]) -> str:
    match value:
        case Page():
            return value.name
        case Block():
            return f"{value.page}:{value.line}"
        case name, _:
            return name


@pytest.fixture
def pages() -> dict[str, Page]:
    """Every page, by its path from the root."""
    return PAGES


@pytest.fixture
def commands() -> dict[str, click.Command]:
    """Every command without sub-commands, by its whole name: ``plugins list``."""
    return COMMANDS


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Iterator[Callable[..., Path]]:
    """Put a page's files into an empty folder and go there; what is imported from it is forgotten afterwards."""
    modules = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.chdir(tmp_path)

    def lay_out(page: Page, folder: Path = tmp_path) -> Path:
        folder.mkdir(exist_ok=True)
        for block in page.blocks:
            if block.file is not None:
                (folder / block.file).write_text(block.text, encoding="utf-8")
        _install(folder)
        return folder

    yield lay_out
    for name in set(sys.modules) - modules:
        if str(tmp_path) in repr(getattr(sys.modules[name], "__spec__", "")):
            del sys.modules[name]
    MemoryQueue.forget_named()


def _install(folder: Path) -> None:
    """Do what an installer does with a plugin whose ``pyproject.toml`` a page calls ``plugin.toml``."""
    if not (folder / "plugin.toml").exists():
        return
    project = tomllib.loads((folder / "plugin.toml").read_text())["project"]
    points = project["entry-points"]["loafer"]
    name = project.get("name", next(iter(points.values())).replace("_", "-"))
    metadata = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\nSummary: of a page\n")
    lines = [f"{point} = {module}\n" for point, module in points.items()]
    (metadata / "entry_points.txt").write_text("[loafer]\n" + "".join(lines))


STAND_IN = """
class {}:
    def __init__(self, **options): ...
    def startup(self): ...
    async def handle(self, one, two=None): ...
    async def __aenter__(self): ...
    async def __aexit__(self, *error): ...
"""


def _put_stand_ins(folder: Path, configuration: object) -> None:
    """For every ``module:attribute`` that is not there a class that will do in any place."""
    modules: dict[Path, set[str]] = {}
    for module, name in re.findall(r"'([\w.]+):(\w+)'", repr(configuration)):
        modules.setdefault(folder.joinpath(*module.split(".")).with_suffix(".py"), set()).add(name)
    for path, names in modules.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(map(STAND_IN.format, names)))


@pytest.fixture
def put_stand_ins() -> Callable[[Path, object], None]:
    """Write the user's code that a configuration names and its page does not show."""
    return _put_stand_ins
