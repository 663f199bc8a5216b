"""What is wrong with a mapping, in our words: pydantic's errors, told by the names and the words of TOML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, time
from difflib import get_close_matches
from typing import Any, NamedTuple, get_args

from pydantic_core.core_schema import ErrorType

from loafer_core.config.json_schema import Place, Schema, choices, limits, words

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PART = re.compile(r'\[([0-9]+)\]|("(?:[^"\\]|\\.)*")|([^."\[]+)')
_LOGIN = re.compile(r"://[^/@]*@")
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument", "missing_positional_only_argument"}
_OWN_TEXT = {"value_error", "assertion_error"}
BOOLEAN = "boolean"
"""Our own kind of error, beside pydantic's: a boolean where a number is wanted."""
_OURS = {BOOLEAN, "path_type", *get_args(ErrorType)}
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}


class Hidden(str):
    """A string that no text shows: it came from the environment. Where an options type says ``str`` it is plain."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Problem(NamedTuple):
    """One thing wrong at one path."""

    path: Place
    message: str


class _Error(NamedTuple):
    """One of pydantic's: where in what the user wrote, and through which branches of which unions."""

    path: Place
    branches: tuple[tuple[Place, object], ...]
    value: object
    """As the user wrote it, where validators made something else of it; ``...`` if there is nothing."""
    told: Mapping[str, Any]


def dotted(*parts: object) -> str:
    """Write a path: ``routes.orders.middleware[1]``. The first part may be a path already; odd keys are quoted."""
    text = str(parts[0]) if parts else ""
    for part in parts[1:]:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        name = part if isinstance(part, str) and _BARE.fullmatch(part) else json.dumps(str(part), ensure_ascii=False)
        text += f".{name}" if text else name
    return text


def undotted(place: str) -> Place:
    """Read a path that ``dotted`` wrote."""
    parts: list[str | int] = []
    for index, quoted, bare in _PART.findall(place):
        parts.append(int(index) if index else json.loads(quoted) if quoted else bare)
    return tuple(parts)


def position(raw: object, path: Place) -> tuple[int, ...]:
    """Give a sort key for paths: the order in which ``raw`` was written; what is missing comes last in its table."""
    places = []
    for part in path:
        if isinstance(raw, Mapping):
            places.append(list(raw).index(part) if part in raw else len(raw))
            raw = raw.get(part)
        else:
            places.append(part if isinstance(part, int) else 0)
            raw = raw[part] if isinstance(raw, Sequence) and isinstance(part, int) and part < len(raw) else None
    return tuple(places)


def shown(value: object, *, hide: bool = False) -> str:
    """Name a value in a text: short scalars as they are, everything else, and what is secret, by its kind only."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case Mapping():
            return "a table"
        case str() if hide or isinstance(value, Hidden) or _LOGIN.search(value):
            return "a string"
        case str():
            return repr(str(value)) if len(value) <= 40 else "a long string"
        case int() | float() if hide or (isinstance(value, int) and value.bit_length() > 128):
            return "a number"
        case int() | float():
            return repr(value)
        case date() | time():
            return "a date or time"
        case list() | tuple():
            return "a list"
        case _:
            return f"an object of {type(value).__qualname__}"


def nearest(wrong: str, names: Iterable[str]) -> str:
    """Say which right name was meant; nothing where none is near."""
    plain = {name.lower().replace("-", "_"): name for name in names}
    close = get_close_matches(wrong.lower().replace("-", "_"), plain, n=1)
    return f"did you mean {plain[close[0]]!r}?" if close else ""


def problems_of(schema: Schema, raw: Mapping[str, object], errors: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """Tell pydantic's errors: one problem for each path, in the order in which ``raw`` was written."""
    found: dict[Place, str] = {}
    placed = [_placed(schema, raw, error) for error in errors if error["type"] != "default_factory_not_called"]
    for error in sorted(_likeliest(placed), key=_vagueness):
        found.setdefault(error.path, _message(schema, raw, error))
    return sorted((Problem(*item) for item in found.items()), key=lambda problem: position(raw, problem.path))


def _placed(schema: Schema, raw: Any, error: Mapping[str, Any]) -> _Error:
    """Split pydantic's location into what the user wrote and the names of union branches that it mixes in."""
    path: Place = ()
    branches: list[tuple[Place, object]] = []
    for part in error["loc"]:
        if isinstance(raw, Mapping) and part in raw:
            raw = raw[part]
        elif isinstance(part, int) and isinstance(raw, list | tuple):
            raw = [*raw, ...][min(part, len(raw))]
        elif part in schema.names(path) or (error["type"] in _MISSING and part == error["loc"][-1]):
            raw = ...
        else:
            branches.append((path, part))
            continue
        path = (*path, part)
    return _Error(path, tuple(branches), raw, error)


def _likeliest(errors: list[_Error], level: int = 0) -> list[_Error]:
    """Of each union let only that branch speak which came nearest: it fits the kind of value, with the fewest errors.

    If none fits the kind, all stay; they say the same at the same path.
    """
    unions: dict[Place, dict[object, list[_Error]]] = {}
    chosen = []
    for error in errors:
        if len(error.branches) > level:
            place, branch = error.branches[level]
            unions.setdefault(place, {}).setdefault(branch, []).append(error)
        else:
            chosen.append(error)
    for place, branches in unions.items():
        fitting = [found for found in branches.values() if all(_vagueness(e) < 2 or e.path != place for e in found)]
        for found in [min(fitting, key=len)] if fitting else branches.values():
            chosen += _likeliest(found, level + 1)
    return chosen


def _vagueness(error: _Error) -> int:
    """Rank what several errors say of one path: a boolean, then what is more than "another kind of value"."""
    if error.told["type"] == BOOLEAN:
        return 0
    return 1 if _is_own(error.told) or _bounds(error.told) or error.told["type"] in _UNKNOWN | _MISSING else 2


def _is_own(told: Mapping[str, Any]) -> bool:
    return told["type"] in _OWN_TEXT or told["type"] not in _OURS


def _bounds(told: Mapping[str, Any]) -> dict[str, Any]:
    return {_BOUNDS[key]: bound for key, bound in told.get("ctx", {}).items() if key in _BOUNDS}


def _message(schema: Schema, raw: Mapping[str, object], error: _Error) -> str:
    path, told = error.path, error.told
    kind, context = told["type"], told.get("ctx", {})
    if kind in _UNKNOWN:
        return _unknown(str(path[-1]), schema.names(path[:-1]))
    if kind == "invalid_key":
        return "the name of an option is a string"
    if _is_own(told):
        text = str(context["error"]) if kind in _OWN_TEXT else told["msg"]
        return _guarded(text, schema, raw)
    if error.branches and error.branches[-1] == (path, "[key]"):
        return "no valid name here"
    if discriminator := context.get("discriminator"):
        tags = context.get("expected_tags")
        return (
            f"{discriminator} is none of {tags}" if tags else f"missing {discriminator}, which says what this table is"
        )
    return _mismatch(schema, error)


def _unknown(wrong: str, names: Mapping[str, object]) -> str:
    hint = nearest(wrong, names) or (f"the options are: {', '.join(names)}" if names else "there are none here")
    return f"unknown option; {hint}"


def _mismatch(schema: Schema, error: _Error) -> str:
    """Say what was expected and, where it may be shown, what was there instead."""
    path, _, value, told = error
    nodes, kind, context = schema.at(path), told["type"], told.get("ctx", {})
    hide = schema.secret(path) or isinstance(value, Hidden)
    expected = words(nodes) or context.get("expected") or context.get("class") or "something else"
    actual = "this" if value is ... else shown(value, hide=hide)
    if kind in _MISSING:
        about = schema.names(path[:-1]).get(str(path[-1]), {}).get("description")
        return f"missing; expected {expected}" + (f" ({about})" if about else "")
    if kind == BOOLEAN:
        return f"a boolean is not a number; expected {expected}"
    if kind == "finite_number":
        return f"{actual} is out of range; expected a finite number"
    if bounds := _bounds(told):
        verdict = "does not fit" if isinstance(value, str | list | tuple) else "is out of range"
        return f"{actual} {verdict}; expected {expected}, {limits(nodes) or limits([bounds])}"
    hint = ""
    if isinstance(value, str) and not hide:
        hint = nearest(value, [choice for node in nodes for choice in choices(node) if isinstance(choice, str)])
    return f"expected {expected}, not {actual}" + (f"; {hint}" if hint else "")


def _guarded(text: str, schema: Schema, raw: Mapping[str, object]) -> str:
    """Show a validator's own text, unless it repeats a secret: what else it made of that secret cannot be known."""
    if any(secret.lower() in text.lower() for secret in _secrets(schema, raw, ())):
        return "not accepted; the reason would show a secret"
    return text or "not accepted"


def _secrets(schema: Schema, value: object, path: Place) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _secrets(schema, inner, (*path, name))
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            yield from _secrets(schema, inner, (*path, at))
    elif isinstance(value, str | int | float) and (isinstance(value, Hidden) or schema.secret(path)):
        text = str(value).strip()
        if len(text) >= 4:  # shorter ones stand in any text by chance, and would silence it
            yield from {text, repr(text)[1:-1]}
