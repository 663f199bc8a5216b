"""What is wrong with a mapping, said in our words: pydantic's errors, with the names and the types of TOML."""

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
"""A key that TOML needs no quotes for."""
_STEP = re.compile(r'\[([0-9]+)\]|("(?:[^"\\]|\\.)*")|([^."\[]+)')
"""One step of a path: an index, a quoted key or a bare one."""
_LOGIN = re.compile(r"://[^/@]*@")
"""A URL's user name and password."""
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
"""pydantic's errors for a key that there is not."""
_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument", "missing_positional_only_argument"}
"""pydantic's errors for a key that must be given."""
_RAISED = {"value_error", "assertion_error"}
"""pydantic's errors for what a validator raised; the exception is in the error's context."""
BOOLEAN = "boolean"
"""Our own error, beside pydantic's: a boolean where a number is wanted."""
_REWORDED = {BOOLEAN, "path_type", *get_args(ErrorType)}
"""Errors whose text we write. Those of other types were made by a validator, and keep the text that it gave them."""
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
"""The limits in the context of pydantic's errors, as JSON Schema calls them."""


class Hidden(str):
    """A string that came from the environment: no message of ours shows it.

    pydantic makes a plain string of it where an options type says ``str``.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Problem(NamedTuple):
    """One thing that is wrong: a finding whose place is still a path."""

    path: Place
    message: str


class _Error(NamedTuple):
    """One of pydantic's errors, at its place in what the user wrote."""

    path: Place
    branches: tuple[tuple[Place, object], ...]
    """The unions on the way, each with its path and the name of the branch that pydantic tried there."""
    value: object
    """What the user wrote at ``path``, also where validators made something else of it; ``...``: nothing."""
    details: Mapping[str, Any]
    """What pydantic says of it."""


def dotted(start: object = "", *steps: object) -> str:
    """Write a path: ``routes.orders.middleware[1]``. ``start`` may be a path already; odd keys are quoted."""
    text = str(start)
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        is_bare = isinstance(step, str) and _BARE.fullmatch(step)
        key = str(step) if is_bare else json.dumps(str(step), ensure_ascii=False)
        text += f".{key}" if text else key
    return text


def undotted(place: str) -> Place:
    """Read a path that ``dotted`` wrote."""
    steps: list[str | int] = []
    for index, quoted, bare in _STEP.findall(place):
        if index:
            steps.append(int(index))
        else:
            steps.append(json.loads(quoted) if quoted else bare)
    return tuple(steps)


def position(raw: object, path: Place) -> tuple[int, ...]:
    """Give a sort key for paths: the order in which ``raw`` was written; what is missing comes last in its table."""
    positions = []
    for step in path:
        if isinstance(raw, Mapping):
            positions.append(list(raw).index(step) if step in raw else len(raw))
            raw = raw.get(step)
        else:
            index = step if isinstance(step, int) else 0
            positions.append(index)
            raw = raw[index] if isinstance(raw, Sequence) and isinstance(step, int) and index < len(raw) else None
    return tuple(positions)


def shown(value: object, *, hide: bool = False) -> str:
    """Name a value in a message: ``'orders'``, ``a table``.

    Short strings and numbers are shown as they are. Everything else, and what is to be hidden, is called by its type.
    """
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
    """Say which of ``names`` was probably meant; ``""`` where none is near."""
    by_plain_form = {name.lower().replace("-", "_"): name for name in names}
    close = get_close_matches(wrong.lower().replace("-", "_"), by_plain_form, n=1)
    return f"did you mean {by_plain_form[close[0]]!r}?" if close else ""


def problems_of(schema: Schema, raw: Mapping[str, object], errors: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """Say pydantic's errors in our words: one problem for each path, in the order in which ``raw`` was written."""
    # A default that could not be made because other options are wrong is no problem of its own.
    located = [_located(schema, raw, error) for error in errors if error["type"] != "default_factory_not_called"]
    messages: dict[Place, str] = {}
    for error in sorted(_likeliest(located), key=_vagueness):
        messages.setdefault(error.path, _message(schema, raw, error))
    problems = [Problem(path, message) for path, message in messages.items()]
    return sorted(problems, key=lambda problem: position(raw, problem.path))


def _located(schema: Schema, raw: Any, error: Mapping[str, Any]) -> _Error:
    """Split pydantic's location into what the user wrote and the names of union branches that it mixes in."""
    path: Place = ()
    branches: list[tuple[Place, object]] = []
    for step in error["loc"]:
        is_missing_key = error["type"] in _MISSING and step == error["loc"][-1]
        if isinstance(raw, Mapping) and step in raw:
            raw = raw[step]
        elif isinstance(step, int) and isinstance(raw, list | tuple):
            raw = raw[step] if step < len(raw) else ...
        elif step in schema.names(path) or is_missing_key:
            raw = ...
        else:
            branches.append((path, step))
            continue
        path = (*path, step)
    return _Error(path, tuple(branches), raw, error)


def _likeliest(errors: list[_Error], level: int = 0) -> list[_Error]:
    """Leave out the errors of union branches that the user cannot have meant.

    pydantic tries every branch of a union, and gives the errors of all. The branch that was meant is that whose type
    the value has; among several, the one with the fewest errors. If the value has the type of none, all stay: they
    say the same at the same path.
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
        fitting = [found for found in branches.values() if not any(_is_of_another_type(e, place) for e in found)]
        meant = [min(fitting, key=len)] if fitting else branches.values()
        for found in meant:
            chosen += _likeliest(found, level + 1)
    return chosen


def _is_of_another_type(error: _Error, place: Place) -> bool:
    """Tell whether the error says no more than that the value at ``place`` is of another type."""
    return error.path == place and _vagueness(error) == 2


def _vagueness(error: _Error) -> int:
    """Rank errors of one path: first the boolean, last those that only say that the value is of another type."""
    type_ = error.details["type"]
    if type_ == BOOLEAN:
        return 0
    says_more = type_ in _UNKNOWN | _MISSING or _has_own_text(error.details) or _bounds(error.details)
    return 1 if says_more else 2


def _has_own_text(details: Mapping[str, Any]) -> bool:
    """Tell whether the text of the error is a validator's own."""
    return details["type"] in _RAISED or details["type"] not in _REWORDED


def _bounds(details: Mapping[str, Any]) -> dict[str, Any]:
    """Give the limits that the value does not keep, by JSON Schema's names."""
    return {_BOUNDS[key]: bound for key, bound in details.get("ctx", {}).items() if key in _BOUNDS}


def _message(schema: Schema, raw: Mapping[str, object], error: _Error) -> str:
    path, details = error.path, error.details
    type_, context = details["type"], details.get("ctx", {})
    if type_ in _UNKNOWN:
        return _unknown(str(path[-1]), schema.names(path[:-1]))
    if type_ == "invalid_key":
        return "the name of an option is a string"
    if _has_own_text(details):
        text = str(context["error"]) if type_ in _RAISED else details["msg"]
        return _without_secrets(text, schema, raw)
    if error.branches and error.branches[-1] == (path, "[key]"):
        return "no valid name here"
    if discriminator := context.get("discriminator"):
        if tags := context.get("expected_tags"):
            return f"{discriminator} is none of {tags}"
        return f"missing {discriminator}, which says what this table is"
    return _mismatch(schema, error)


def _unknown(wrong: str, names: Mapping[str, object]) -> str:
    hint = nearest(wrong, names) or (f"the options are: {', '.join(names)}" if names else "there are none here")
    return f"unknown option; {hint}"


def _mismatch(schema: Schema, error: _Error) -> str:
    """Say what was expected and, where it may be shown, what was there instead."""
    path, _, value, details = error
    type_, context = details["type"], details.get("ctx", {})
    nodes = schema.at(path)
    hide = schema.secret(path) or isinstance(value, Hidden)
    expected = words(nodes) or context.get("expected") or context.get("class") or "something else"
    actual = "this" if value is ... else shown(value, hide=hide)
    if type_ in _MISSING:
        about = schema.names(path[:-1]).get(str(path[-1]), {}).get("description")
        return f"missing; expected {expected}" + (f" ({about})" if about else "")
    if type_ == BOOLEAN:
        return f"a boolean is not a number; expected {expected}"
    if type_ == "finite_number":
        return f"{actual} is out of range; expected a finite number"
    if bounds := _bounds(details):
        verdict = "does not fit" if isinstance(value, str | list | tuple) else "is out of range"
        return f"{actual} {verdict}; expected {expected}, {limits(nodes) or limits([bounds])}"
    hint = ""
    if isinstance(value, str) and not hide:
        allowed = [choice for node in nodes for choice in choices(node)]
        hint = nearest(value, [choice for choice in allowed if isinstance(choice, str)])
    return f"expected {expected}, not {actual}" + (f"; {hint}" if hint else "")


def _without_secrets(text: str, schema: Schema, raw: Mapping[str, object]) -> str:
    """Show a validator's own text, but nothing of it if it repeats a secret: the rest may show it in another form."""
    if any(secret.lower() in text.lower() for secret in _secrets(schema, raw, ())):
        return "not accepted; the reason would show a secret"
    return text or "not accepted"


def _secrets(schema: Schema, value: object, path: Place) -> Iterator[str]:
    """Find the secrets in a value that stands at ``path``: as they are, and as a repr would show them."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _secrets(schema, inner, (*path, name))
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            yield from _secrets(schema, inner, (*path, at))
    elif isinstance(value, str | int | float) and (isinstance(value, Hidden) or schema.secret(path)):
        text = str(value).strip()
        if len(text) >= 4:  # a shorter one is in many texts by chance, and they would not be shown
            yield from {text, repr(text)[1:-1]}
