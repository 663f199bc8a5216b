"""The one way in which the options of a component are validated, and described in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from loafer_core.api.errors import Finding
from loafer_core.config.json_schema import Node, Place, Schema, choices, limits, toml, words
from loafer_core.config.wording import BOOLEAN, Problem, dotted, problems_of

O = TypeVar("O")  # noqa: E741 - the options type


def validate(kind: type[O] | None, raw: Mapping[str, object], where: str) -> tuple[O | None, list[Finding]]:
    """Read ``raw`` as ``kind``: the value, or None and everything that is wrong, in the order in which it was written.

    Strings are read as numbers where one is wanted; a boolean never is one; unknown keys are errors at every level.
    ``kind`` None lets any option through, as the mapping it is. ``where`` is the dotted path of the table. It does not
    raise: a type that pydantic refuses, and a validator that crashes, are findings too.
    """
    value, problems = check(kind, raw)
    return value, [Finding(dotted(where, *problem.path), problem.message) for problem in problems]


def check(kind: type[O] | None, raw: Mapping[str, object]) -> tuple[O | None, list[Problem]]:
    """``validate``, for who needs the paths in parts."""
    if kind is None:
        return cast(O, raw), []
    try:
        adapter = _adapter(kind)
    except TypeError as error:
        return None, [Problem((), str(error))]
    value, errors = None, []
    try:
        value = adapter.validate_python(raw, extra="forbid")
    except ValidationError as error:
        errors = error.errors(include_url=False)
    except Exception as error:  # not ValueError or AssertionError, which are how a validator says no
        return None, [Problem((), f"a validator of {_called(kind)} crashed with {type(error).__name__}")]
    schema = Schema(adapter)
    problems = problems_of(schema, raw, [*_booleans(adapter, schema, raw), *errors])
    return (None if problems else value), problems


def _adapter(kind: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind)
    except Exception as error:  # a type may bring its own way to be built, and that may raise anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise TypeError(
            f"pydantic cannot read {_called(kind)} as options ({reason}); "
            "write them as an Options class, a dataclass or a typing_extensions.TypedDict"
        ) from None


def _called(kind: object) -> str:
    name = getattr(kind, "__qualname__", None)
    return f"{getattr(kind, '__module__', '?')}.{name}" if name else repr(kind)


def _booleans(adapter: TypeAdapter[Any], schema: Schema, raw: Mapping[str, object]) -> list[dict[str, Any]]:
    """Find the booleans that pydantic would read as numbers.

    Strict mode refuses them wherever they stand, but in Python it refuses a table for a dataclass, too, and looks no
    further; in JSON it does not. What it lets pass (True equals the literal and the enumeration value 1) and what it
    does not reach (a validator that cannot live with JSON) the schema tells.
    """
    by_schema = [path for path in _paths_of_booleans(raw) if _wants_number(schema.at(path))]
    found = [{"type": BOOLEAN, "loc": path, "input": True} for path in by_schema]
    try:
        adapter.validate_json(json.dumps(raw, default=_as_json), strict=True, extra="forbid")
    except ValidationError as error:
        refused = [told for told in error.errors(include_url=False) if isinstance(told["input"], bool)]
        found += [{**told, "type": BOOLEAN} for told in refused if told["type"] in _NUMBERS]
    except Exception:  # noqa: S110 - this run is only about booleans; the other one has reported the crash
        pass
    return found


_NUMBERS = {"int_type", "float_type", "decimal_type", "fraction_type", "complex_type", "time_delta_type"}


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
    """Give what JSON has no word for: dates as text, and null for objects that came from Python."""
    match value:
        case Mapping():
            return dict(value)
        case date() | time():
            return value.isoformat()
        case _:
            return None


def has_option(kind: object, name: str) -> bool:
    """Tell whether a component with this options type has the option (``[defaults]`` go to those that have them).

    None takes any option. False for a type that pydantic refuses: ``validate`` says so.
    """
    if kind is None:
        return True
    try:
        schema = Schema(_adapter(kind))
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


def fields(kind: object) -> list[OptionField]:
    """Describe the options of a type, in the declared order. Raises TypeError for a type that pydantic refuses."""
    if kind is None:
        return []
    schema = Schema(_adapter(kind))
    required = {name for node in schema.at(()) for name in node.get("required", ())}
    return [_field(schema, name, node, name in required) for name, node in schema.names(()).items()]


def _field(schema: Schema, name: str, node: Node, required: bool) -> OptionField:
    leaves, secret = schema.leaves(node), schema.secret((name,))
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
