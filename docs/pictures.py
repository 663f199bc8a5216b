"""Draws what ``docs/explanation/architecture.md`` shows, from the code as it is: ``make pictures``.

``rooms.svg`` is the rooms of the core, in the layers that ``.importlinter`` gives them, and who imports whom.
``states.svg`` is the states of a delivery, by the table that the code itself obeys. The page's list of files is what
the files say of themselves. No name and no number of these stands here, so that they can be old but not wrong; and a
test draws them again and compares.
"""

from __future__ import annotations

import ast
import configparser
import enum
import importlib
import inspect
import re
import sys
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "loafer_core"
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
PICTURES = PAGE.parent / "pictures"

# Classes and no variables: not everything that shows SVG knows those. The paper is ours too, since a page that is dark
# for its own reasons does not tell a picture so.
STYLE = """
text { font-family: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Helvetica, Arial, sans-serif }
.file { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 12px }
.title { font-size: 19px; font-weight: 600 }
.name { font-size: 15px; font-weight: 600 }
.words { font-size: 12.5px }
.count { font-size: 11px; font-weight: 600; text-anchor: middle }
.line { fill: none }
.paper { fill: #ffffff }  .layer { fill: #f3f5f8 }  .box { fill: #ffffff; stroke: #d3d9e2 }
.ink { fill: #1d2430 }  .soft { fill: #525c6d }  .faint { fill: #6f7a8c }
.line { stroke: #a9b6c9 }  .head { fill: #a9b6c9 }  .dot { fill: #35679f }  .count { fill: #ffffff }
@media (prefers-color-scheme: dark) {
.paper { fill: #0f141b }  .layer { fill: #171d26 }  .box { fill: #1e2631; stroke: #364151 }
.ink { fill: #e4e9f1 }  .soft { fill: #b0bac9 }  .faint { fill: #8a96a8 }
.line { stroke: #55647a }  .head { fill: #55647a }  .dot { fill: #7fb0e6 }  .count { fill: #0f141b }
}
"""

LEFT = 24
CARD = 660
"""How wide a box is."""
NAMES = 138
"""How wide the column with the names in it is."""
LINES = LEFT + CARD + 30
"""Where the first of the lines beside the boxes runs; the others follow at equal distances."""
ROW = 17
"""How high a line of text is."""


Ways = Mapping[tuple[str, str], int]
"""Which box an arrow leads from and to, and what it counts."""


@dataclass(frozen=True)
class Box:
    """A room or a state: what it is for, and what is in it."""

    name: str
    purpose: str
    files: tuple[str, ...] = ()
    first: int = 0
    """How many of ``files`` are to be read first."""


@dataclass(frozen=True)
class Place:
    """The upper and the lower edge of a box that was drawn. Arrows come in at one height and go out at another."""

    top: float
    bottom: float

    @property
    def way_in(self) -> float:
        return self.top + self._inset

    @property
    def way_out(self) -> float:
        return self.bottom - self._inset

    @property
    def _inset(self) -> float:
        return min(18, (self.bottom - self.top) / 3)


# What there is


def docstring(path: Path) -> str:
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def first_sentence(words: str) -> str:
    paragraph = " ".join(words.split("\n\n")[0].split())
    return re.split(r"(?<=\.) ", paragraph)[0]


def reading_order(package: Path) -> tuple[list[str], list[str]]:
    """The files and folders that a package's docstring says to read, in its order, and the others."""
    order = next((words for words in docstring(package).split("\n\n") if words.startswith("Read ")), "")
    there = {file.stem for file in package.glob("*.py") if not file.stem.startswith("__")}
    there |= {inner.parent.name for inner in package.glob("*/__init__.py")}
    first = [name for name in dict.fromkeys(re.findall(r"``(\w+)``", order)) if name in there]
    return first, sorted(there.difference(first))


def files(package: Path) -> Iterator[Path]:
    """Every file of a package and of those in it, in reading order; without the suffix."""
    first, others = reading_order(package)
    for path in (package / name for name in (*first, *others)):
        yield from files(path) if path.is_dir() else [path]


def layers() -> list[list[str]]:
    """The names of the rooms from the top down, a list for each layer; those that are not built yet are left out."""
    plan = configparser.ConfigParser()
    plan.read_string((ROOT / ".importlinter").read_text(encoding="utf-8"))
    lines = plan["importlinter:contract:rooms"]["layers"].split("\n")
    there = {path.stem for path in CORE.glob("*.py")} | {path.parent.name for path in CORE.glob("*/__init__.py")}
    planned = ([name.strip(" ()") for name in re.split("[|:]", line)] for line in lines)
    return [names for names in ([name for name in names if name in there] for names in planned) if names]


def room(name: str) -> Box:
    """A package of the core with what is in it, or a module that stands beside the packages."""
    path = CORE / name
    first, others = reading_order(path)
    shown = [f"{inner}/" if (path / inner).is_dir() else inner for inner in (*first, *others)]
    return Box(name, first_sentence(docstring(path)), tuple(shown), len(first) or len(shown))


def imports(rooms: Collection[str]) -> Ways:
    """How many times a file of one room imports a file of another, by the names of the two rooms."""
    graph = grimp.build_graph("loafer_core", cache_dir=None)
    home = {module: module.split(".")[1] for module in graph.modules if "." in module}
    home = {module: room for module, room in home.items() if room in rooms}
    return Counter(
        (home[importer], home[imported])
        for importer in home
        for imported in graph.find_modules_directly_imported_by(importer)
        if home[importer] != home.get(imported, home[importer])
    )


def states() -> tuple[list[Box], dict[tuple[str, str], int]]:
    """The phases of a delivery with what their docstrings say, and from which to which there is a way."""
    module = importlib.import_module("loafer_core.delivery.in_flight")
    phases: type[enum.Enum] = module.Phase
    table: Mapping[enum.Enum, Collection[enum.Enum]] = module.TRANSITIONS
    ways = {(old.name.lower(), new.name.lower()): 1 for old, following in table.items() for new in following}
    (definition,) = ast.parse(inspect.getsource(phases)).body
    assert isinstance(definition, ast.ClassDef)
    said: dict[str, str] = {}
    for pair in pairwise(definition.body):
        match pair:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(words))):
                said[name.lower()] = " ".join(words.split())
    return [Box(name, said.get(name, "")) for name in (phase.name.lower() for phase in phases)], ways


# The pictures


def draw_rooms() -> str:
    floors = [[room(name) for name in names] for names in layers()]
    counted = imports([one.name for floor in floors for one in floor])
    rule = "A room imports only what lies below it, and rooms on one floor do not know each other."
    counts = (
        "A number says how many times files of one room import files of another: follow its line down to the arrow."
    )
    order = "Files stand in the order in which to read them; the pale ones can wait."
    above = [first_sentence(docstring(CORE)), rule, counts, order]
    shapes = [
        text(LEFT, 44, "loafer_core", "title ink"),
        *(text(LEFT, 67 + ROW * index, words, "words soft") for index, words in enumerate(above)),
    ]
    places, y = {}, 67.0 + ROW * len(above) + 3
    for floor in floors:
        begin, boxes = y, list[str]()
        for one in floor:
            y += 8
            places[one.name] = Place(y, y + height(one))
            boxes += box(one, places[one.name])
            y += height(one)
        y += 8
        shapes += [rect(LEFT - 8, begin, CARD + 16, y - begin, "layer", 10), *boxes]
        y += 12
    shapes += arrows(places, counted, numbers=True)
    return picture(right_edge(places, counted), y + 8, "The rooms of loafer_core, and who imports whom", shapes)


def draw_states() -> str:
    boxes, ways = states()
    shapes: list[str] = []
    places, y = {}, 20.0
    for one in boxes:
        places[one.name] = Place(y, y + height(one))
        shapes += box(one, places[one.name])
        y += height(one) + 26
    for before, after in pairwise(boxes):
        if ways.pop((before.name, after.name), None):
            x, end = LEFT + 66, places[after.name].top
            shapes += [line([(x, places[before.name].bottom), (x, end - 9)], 0), arrowhead(x, end - 1, "l-6 -10 h12 z")]
    shapes += arrows(places, ways, numbers=False)
    return picture(right_edge(places, ways), y - 6, "The states of a delivery, and the ways between them", shapes)


def columns(places: Iterable[str], counted: Ways) -> dict[str, float]:
    """Where the line runs down to each box that arrows lead to. The lower the box, the farther out."""
    targets = {target for _, target in counted}
    return {name: LINES + 28 * index for index, name in enumerate(name for name in places if name in targets)}


def right_edge(places: Iterable[str], counted: Ways) -> float:
    return max(columns(places, counted).values(), default=LINES) + LEFT


def arrows(places: Mapping[str, Place], counted: Ways, *, numbers: bool) -> Iterator[str]:
    """Lines down from box to box: where one begins there is a dot, and what begins nearer the end joins it."""
    edge = LEFT + CARD
    column = columns(places, counted)
    for source, place in places.items():
        if reached := [x for target, x in column.items() if (source, target) in counted]:
            yield line([(edge, place.way_out), (max(reached), place.way_out)], 0)
    dots: list[str] = []
    for target, x in column.items():
        sources = [name for name in places if (name, target) in counted]
        flow, end = 0, places[target].way_in
        for source, following in zip(sources, [*sources[1:], None], strict=True):
            flow += counted[source, target] if numbers else 0
            y = places[source].way_out
            rest = [(x, end), (edge + 9, end)] if following is None else [(x, places[following].way_out)]
            yield line([(x, y), *rest], flow)
            dots += dot(x, y, f"{source} to {target}", counted[source, target] if numbers else None)
        yield arrowhead(edge + 1, end, "l10 -6 v12 z")
    yield from dots


def dot(x: float, y: float, what: str, count: int | None) -> Iterator[str]:
    radius = 4 if count is None else 9 if count < 10 else 11
    yield f'<circle class="dot" cx="{number(x)}" cy="{number(y)}" r="{radius}"><title>{escape(what)}</title></circle>'
    if count is not None:
        yield text(x, y + 4, str(count), "count")


def box(one: Box, place: Place) -> Iterator[str]:
    yield rect(LEFT, place.top, CARD, place.bottom - place.top, "box", 6)
    y = place.top + 22
    yield text(LEFT + 14, y, one.name, "name ink")
    purpose, files = lines(one)
    for words in purpose:
        yield text(LEFT + NAMES, y, words, "words soft")
        y += ROW
    for names in files:
        spans = (f'<tspan class="{kind}">{escape(name)}</tspan>' for name, kind in names)
        at = f'x="{LEFT + NAMES}" y="{number(y + 5)}"'
        yield f'<text class="file" {at} xml:space="preserve">{"  ".join(spans)}</text>'
        y += ROW


def height(one: Box) -> float:
    purpose, files = lines(one)
    return 18 + ROW * (len(purpose) + len(files)) + (5 if files else 0)


def lines(one: Box) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """The purpose in lines of about one length that fit; then the files, each with its kind of text, in such lines."""
    files: list[list[tuple[str, str]]] = []
    left = 0
    for index, name in enumerate(one.files):
        if len(name) > left:
            files.append([])
            left = 70
        files[-1].append((name, "ink" if index < one.first else "faint"))
        left -= len(name) + 2
    return balanced(one.purpose, 74), files


def balanced(words: str, width: int) -> list[str]:
    """As few lines as will do, and none much shorter than the others."""
    wrapped = textwrap.wrap(words, width, break_on_hyphens=False)
    narrower = wrapped
    while len(narrower) == len(wrapped) > 1:
        wrapped, width = narrower, width - 1
        narrower = textwrap.wrap(words, width, break_on_hyphens=False)
    return wrapped


# Shapes


def picture(width: float, height: float, title: str, shapes: Iterable[str]) -> str:
    size = f'width="{number(width)}" height="{number(height)}" viewBox="0 0 {number(width)} {number(height)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<title>{escape(title)}</title>'
    paper = rect(0, 0, width, height, "paper", 12)
    return "\n".join([head, f"<style>{STYLE}</style>", paper, *shapes, "</svg>", ""])


def number(value: float) -> str:
    """At most one digit after the point."""
    return f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{number(x)}" y="{number(y)}">{escape(words.replace("``", ""))}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str, radius: float) -> str:
    size = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
    return f'<rect class="{kind}" {size} rx="{number(radius)}"/>'


def line(points: Sequence[tuple[float, float]], flow: float) -> str:
    """A line through points, thicker the more imports it stands for."""
    path = " L".join(f"{number(x)} {number(y)}" for x, y in points)
    return f'<path class="line" d="M{path}" stroke-width="{number(1.2 + flow / 24)}"/>'


def arrowhead(x: float, y: float, shape: str) -> str:
    return f'<path class="head" d="M{number(x)} {number(y)} {shape}"/>'


# The page


def with_files(page: str) -> str:
    """The page with its list of files as it should be."""
    found = re.fullmatch(r"(.*<!-- make pictures -->\n)(.*)(<!-- end -->\n.*)", page, re.DOTALL)
    assert found, f"{PAGE.name} has lost the marks between which its list of files stands"
    parts = [part for names in layers() for name in names for part in of_room(name)]
    return "\n".join([found[1], *parts, found[3]])


def of_room(name: str) -> Iterator[str]:
    yield f"### {name}\n"
    yield in_markdown(docstring(CORE / name)) + "\n"
    if paths := [*files(CORE / name)]:
        yield "| file | is about |\n|---|---|"
        yield from (f"| `{path.relative_to(CORE)}.py` | {in_markdown(docstring(path))} |" for path in paths)
        yield ""


def in_markdown(words: str) -> str:
    return first_sentence(words).replace("``", "`").replace("|", "\\|")


def drawn() -> dict[Path, str]:
    """What belongs into which file."""
    return {
        PICTURES / "rooms.svg": draw_rooms(),
        PICTURES / "states.svg": draw_states(),
        PAGE: with_files(PAGE.read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for path, content in drawn().items():
        path.write_text(content, encoding="utf-8")
