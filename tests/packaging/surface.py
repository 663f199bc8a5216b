"""Writes down what users and plugins build on: ``python tests/packaging/surface.py > tests/packaging/surface.txt``.

Signatures, fields, hooks, commands, exit codes, keys. Not what they mean: that is for the other tests.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
from collections.abc import Iterator
from typing import Any

import click
from click.testing import CliRunner

import loafer_core
from loafer_core import testing
from loafer_core.api.hookspecs import Hooks
from loafer_core.api.kinds import KINDS
from loafer_core.app import manager
from loafer_core.cli import _COMMANDS, main
from loafer_core.cli.shared import USAGE
from loafer_core.config.settings import Settings
from loafer_core.observability.observers import EVENTS


def surface() -> str:
    """One line for each thing, indented below what it belongs to."""
    sections = {
        "loafer_core": _names(loafer_core),
        "loafer_core.testing": _names(testing),
        "hooks": _hooks(),
        "events of observers": list(EVENTS),
        "commands": _commands(main, "loafer"),
        "exit codes": [
            f"{name} = {getattr(manager, name)}" for name in ("OK", "FINDING", "BUG", "ABANDONED", "BAD_CONFIG")
        ]
        + [f"USAGE = {USAGE}"],
        "settings": [f"{field.name}: {field.type}{_default(field)}" for field in dataclasses.fields(Settings)],
        "plugins list --json": _keys(),
    }
    return "\n".join(f"{title}\n" + "".join(f"    {line}\n" for line in lines) for title, lines in sections.items())


def _names(module: Any) -> Iterator[str]:
    for name in sorted(module.__all__):
        if name != "__version__":
            yield from _described(name, getattr(module, name))


def _described(name: str, value: Any) -> Iterator[str]:
    if not inspect.isclass(value):
        yield f"def {name}{_signature(value)}" if inspect.isfunction(value) else f"{name} = {_plain(value)}"
        return
    bases = [base.__name__ for base in value.__bases__ if base is not object]
    yield f"class {name}" + (f"({', '.join(bases)})" if bases else "")
    if issubclass(value, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in value)
        return
    if dataclasses.is_dataclass(value):
        yield from (f"    {f.name}: {f.type}{_default(f)}" for f in dataclasses.fields(value) if f.name[0] != "_")
    elif "__init__" in vars(value) and not getattr(value, "_is_protocol", False):
        yield f"    def __init__{_signature(value.__init__)}"
    fields = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
    for member in sorted(
        {m for kind in value.__mro__ if kind.__module__.startswith("loafer_core") for m in vars(kind)}
    ):
        if not member.startswith("_") and member not in fields | {"model_config"}:
            yield f"    {_member(member, inspect.getattr_static(value, member))}"
    annotated = {n: a for kind in reversed(_ours(value)) for n, a in vars(kind).get("__annotations__", {}).items()}
    yield from (f"    {n}: {a}" for n, a in sorted(annotated.items()) if n[0] != "_" and n not in fields)


def _ours(kind: type) -> list[type]:
    return [one for one in kind.__mro__ if one.__module__.startswith("loafer_core")]


def _member(name: str, value: Any) -> str:
    if isinstance(value, classmethod | staticmethod):
        return f"def {name}{_signature(value.__func__)}  # {type(value).__name__}"
    if isinstance(value, property):
        return f"{name}: {_annotation(value.fget.__annotations__.get('return', 'Any'))}  # property"
    if inspect.isfunction(value):
        return f"{'async ' * inspect.iscoroutinefunction(value)}def {name}{_signature(value)}"
    return f"{name} = {_plain(value)}"


class _Bare(str):
    """An annotation as it was written: without quotes."""

    __repr__ = str.__str__


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [
        one.replace(annotation=_Bare(one.annotation)) if isinstance(one.annotation, str) else one
        for one in signature.parameters.values()
    ]
    gives = signature.return_annotation
    gives = _Bare(gives) if isinstance(gives, str) else gives
    return str(signature.replace(parameters=parameters, return_annotation=gives))


def _annotation(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _default(field: Any) -> str:
    if field.default is not dataclasses.MISSING:
        return f" = {field.default!r}"
    return " = ..." if field.default_factory is not dataclasses.MISSING else ""


def _plain(value: object) -> str:
    return repr(value) if isinstance(value, int | str | float | tuple) else type(value).__name__


def _hooks() -> Iterator[str]:
    for kind in KINDS.values():
        yield f"{kind.hook}{_signature(getattr(Hooks, kind.hook))}  # {kind.spec.__name__}"


def _commands(command: click.Command, name: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        ours = _COMMANDS if command is main else command.commands
        for inner in sorted(ours):
            found = command.get_command(click.Context(command), inner)
            assert found is not None
            yield from _commands(found, f"{name} {inner}")
        return
    yield name
    for parameter in sorted(command.params, key=lambda one: one.opts):
        words = (
            " ".join(sorted(parameter.opts)) if isinstance(parameter, click.Option) else parameter.human_readable_name
        )
        flags = [word for word in ("required", "multiple", "is_flag") if getattr(parameter, word, False)]
        yield f"    {words}: {' '.join([parameter.type.name, *flags])}"


def _keys() -> list[str]:
    answer = json.loads(CliRunner().invoke(main, ["plugins", "list", "--json"]).stdout)
    plugin = answer["plugins"][0]
    return [
        f"schema = {answer['schema']}",
        f"plugins[]: {', '.join(plugin)}",
        f"plugins[].provides[]: {', '.join(plugin['provides'][0])}",
    ]


if __name__ == "__main__":
    print(surface(), end="")
