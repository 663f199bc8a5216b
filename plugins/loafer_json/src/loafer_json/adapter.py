"""The payload's type: where it comes from, and the pydantic adapter that decodes into it."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from loafer_core import ConfigError, Context, Finding, import_target


def adapter_for(context: Context, model: str | None, default: Any = Any) -> tuple[Any, TypeAdapter[Any]]:
    """Give the type that the route wants, and its adapter. The handler's annotation goes before the option.

    Raises ConfigError: the option cannot be imported, or pydantic refuses the type.
    """
    wanted: Any = context.payload_type
    where = f"routes.{context.route}.handler"
    if wanted is None:
        if model is None:
            return default, TypeAdapter(default)
        where = f"routes.{context.route}.translator.model"
        wanted = import_target(model, where)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(wanted)
        # A type with forward references is built late and without a word; here is the place to complain.
        adapter.rebuild(raise_errors=True)
    except Exception as error:  # pydantic's own errors have no base, and the type's hooks may raise anything
        raise ConfigError(Finding(where, _refusal(wanted, error))) from error
    return wanted, adapter


def name_of(wanted: object) -> str:
    """Give the name that users know the type by: ``Order``, ``list[int]``."""
    return wanted.__qualname__ if isinstance(wanted, type) else str(wanted)


def words_of(adapter: TypeAdapter[Any]) -> frozenset[str]:
    """Give every word of the type's own schema: names of fields, aliases, kinds."""
    return frozenset(_words(adapter.core_schema))


def _words(schema: object) -> list[str]:
    if isinstance(schema, str):
        return [schema]
    if isinstance(schema, dict):
        parts = [part for key, value in schema.items() if key not in ("default", "metadata") for part in (key, value)]
        return _words(parts)
    if isinstance(schema, list | tuple):
        return [word for part in schema for word in _words(part)]
    return []


def _refusal(wanted: object, error: Exception) -> str:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return (
        f"JSON cannot be decoded into {name_of(wanted)}: {reason.rstrip('.')}. Use a pydantic model, a "
        "dataclass, a TypedDict from typing_extensions or a builtin type, or leave the annotation out for plain JSON"
    )
