"""The one way in which the options of a component are validated, and described in words."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from loafer_core.api.errors import Finding
from loafer_core.config.json_schema import Node, Place, Schema, choices, limits, toml, words
from loafer_core.config.wording import BOOLEAN, Problem, dotted, problems_of

O = TypeVar("O")  # noqa: E741 - the options type


def validate(options_type: type[O] | None, raw: Mapping[str, object], where: str) -> tuple[O | None, list[Finding]]:
    """Read ``raw`` as ``options_type``: the value and no finding, or None and everything that is wrong.

    Strings are read as numbers where one is wanted; a boolean never is one; unknown keys are errors at every level.
    A type that pydantic refuses, and a validator that crashes, are findings too: nothing is raised.

    Args:
        options_type: any type that pydantic validates. None lets any option through: the value is ``raw`` itself.
        raw: the options as they were written. Findings come in the same order.
        where: the dotted path of the table, which the findings' places begin with.
    """
    value, problems = check(options_type, raw)
    return value, [Finding(dotted(where, *problem.path), problem.message) for problem in problems]


def check(options_type: type[O] | None, raw: Mapping[str, object]) -> tuple[O | None, list[Problem]]:
    """Do what ``validate`` does, but give problems, whose places are paths below the table."""
    if options_type is None:
        return cast(O, raw), []
    try:
        adapter, schema = _read(options_type)
    except TypeError as error:
        return None, [Problem((), str(error))]
    value = None
    errors: list[ErrorDetails] = []
    try:
        value = adapter.validate_python(raw, extra="forbid")
    except ValidationError as error:
        errors = error.errors(include_url=False)
    except Exception as error:
        # A validator says no with ValueError or AssertionError, which pydantic turns into ValidationError.
        return None, [Problem((), f"a validator of {_called(options_type)} crashed with {type(error).__name__}")]
    problems = problems_of(schema, raw, [*_booleans(adapter, schema, raw), *errors])
    return (None if problems else value), problems


def _read(options_type: Any) -> tuple[TypeAdapter[Any], Schema]:
    """Give what validates the type and what describes it; raises TypeError for a type that pydantic refuses.

    Both take 10 ms to make, and the components of a hundred routes are of a few classes. What is no class is read each
    time: it may be unhashable, and ``int | bool`` equals ``bool | int``.
    """
    return _read_class(options_type) if isinstance(options_type, type) else _read_anew(options_type)


def _read_anew(options_type: Any) -> tuple[TypeAdapter[Any], Schema]:
    try:
        adapter = TypeAdapter(options_type)
    except Exception as error:  # a type may tell pydantic how to build its schema, in code that may raise anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise TypeError(
            f"pydantic cannot read {_called(options_type)} as options ({reason}); "
            "write them as an Options class, a dataclass or a typing_extensions.TypedDict"
        ) from None
    return adapter, Schema(adapter)


_read_class = functools.lru_cache(maxsize=256)(_read_anew)


def _called(options_type: object) -> str:
    name = getattr(options_type, "__qualname__", None)
    return f"{getattr(options_type, '__module__', '?')}.{name}" if name else repr(options_type)


def _booleans(adapter: TypeAdapter[Any], schema: Schema, raw: Mapping[str, object]) -> list[dict[str, Any]]:
    """Find the booleans that pydantic would read as numbers, as errors in the form of pydantic's own.

    pydantic's strict mode refuses such booleans. It is given JSON, because of Python values it would also refuse a
    mapping where a dataclass is wanted, and look no further. Two kinds of boolean escape it, and are found by the
    schema: True for a literal or an enumeration with the value 1, which it equals; and what stands where a validator
    cannot be given JSON.
    """
    by_schema = [path for path in _paths_of_booleans(raw) if _wants_number(schema.at(path))]
    found: list[dict[str, Any]] = [{"type": BOOLEAN, "loc": path, "input": True} for path in by_schema]
    try:
        adapter.validate_json(json.dumps(raw, default=_as_json), strict=True, extra="forbid")
    except ValidationError as error:
        for details in error.errors(include_url=False):
            if isinstance(details["input"], bool) and details["type"] in _NUMBER_WANTED:
                found.append({**details, "type": BOOLEAN})
    except Exception:  # noqa: S110 - a validator crashed; the first validation has said so
        pass
    return found


_NUMBER_WANTED = {"int_type", "float_type", "decimal_type", "fraction_type", "complex_type", "time_delta_type"}
"""pydantic's errors for something that is no number where one is wanted."""


def _paths_of_booleans(value: object, path: Place = ()) -> Iterator[Place]:
    if isinstance(value, bool):
        yield path
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _paths_of_booleans(inner, (*path, name))
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            yield from _paths_of_booleans(inner, (*path, at))


def _wants_number(nodes: list[Node]) -> bool:
    takes_boolean = any(
        node.get("type") == "boolean" or any(isinstance(choice, bool) for choice in choices(node)) or not words([node])
        for node in nodes
    )
    numeric = any(node.get("type") in ("integer", "number") or node.get("format") == "duration" for node in nodes)
    return numeric and not takes_boolean


def _as_json(value: object) -> object:
    """Put into JSON what has no form there: a date as text, and an object that was given in Python as null."""
    match value:
        case Mapping():
            return dict(value)
        case date() | time():
            return value.isoformat()
        case _:
            return None


def has_option(options_type: object, name: str) -> bool:
    """Tell whether a component with this options type has the option: it then gets it from ``[defaults]``.

    None has any option. A type that pydantic refuses has none; ``validate`` says what is wrong with it.
    """
    if options_type is None:
        return True
    try:
        _, schema = _read(options_type)
    except TypeError:
        return False
    return name in schema.names(()) or any(
        "properties" not in node and node.get("additionalProperties", False) is not False for node in schema.at(())
    )


@dataclass(frozen=True, slots=True)
class OptionField:
    """One option, in words, as ``plugins show`` and ``plugins docs`` print it."""

    name: str
    type: str
    """``a whole number``; ``""`` where anything goes."""
    required: bool
    default: str | None
    """As it would be written in TOML; None = unset, or not to be shown."""
    secret: bool
    description: str
    constraints: str
    """``0 to 20``; ``""`` where there are none."""


def fields(options_type: object) -> list[OptionField]:
    """Describe the options of a type, in the declared order. Raises TypeError for a type that pydantic refuses."""
    if options_type is None:
        return []
    _, schema = _read(options_type)
    required = {name for node in schema.at(()) for name in node.get("required", ())}
    return [_field(schema, name, node, name in required) for name, node in schema.names(()).items()]


def _field(schema: Schema, name: str, node: Node, required: bool) -> OptionField:
    leaves = schema.leaves(node)
    secret = schema.secret((name,))
    default = None if secret else node.get("default")
    return OptionField(
        name=name,
        type=words(leaves),
        required=required,
        default=None if default is None else toml(default),
        secret=secret,
        description=node.get("description", ""),
        constraints=limits(leaves),
    )
