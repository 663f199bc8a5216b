"""The shapes in which a configuration names a component, as types for pydantic.

Only the shape is checked here. Whether there is such a component, and whether its options are right, is found out when
the configuration is resolved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from loafer_core.api.declarations import NAME
from loafer_core.config.wording import Hidden, shown

_DISTRIBUTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a distribution may be called, in any spelling of PEP 503."""
_SHAPES = 'a component is a name, a table with `name`, or "module:attribute"'


def _check_shape(value: Any) -> Any:
    """Raise ValueError for what cannot be a component. An object that was given in Python can be one."""
    match value:
        case str():
            _check_name(value)
        case Mapping():
            if "name" not in value:
                raise ValueError(f"this table needs `name`, a string; {_SHAPES}")
            name = value["name"]
            if not isinstance(name, str):
                raise ValueError(f"this table needs `name`, a string; {_SHAPES}; not {shown(name)}")
            _check_name(name)
            if odd := [key for key in value if not isinstance(key, str)]:
                raise ValueError(f"the name of an option is a string, not {shown(odd[0])}")
        case list() | tuple():
            raise ValueError("one component, not a list")
        case None | bool() | int() | float() | complex() | bytes() | set() | frozenset() | date() | time():
            raise ValueError(f"{_SHAPES}; not {shown(value)}")
    return value


def _check_name(text: str) -> None:
    if ":" in text:
        if not _is_module_attribute(text):
            raise ValueError(f'expected "module:attribute", such as "shop.handlers:handle_order"; not {shown(text)}')
        return
    distribution, slash, name = text.rpartition("/")
    if NAME.fullmatch(name) and (not slash or _DISTRIBUTION.fullmatch(distribution)):
        return
    module, _, attribute = text.rpartition(".")
    if not isinstance(text, Hidden) and _is_module_attribute(meant := f"{module}:{attribute}"):
        raise ValueError(f"{shown(text)} is no component's name; did you mean {meant!r}, with a colon?")
    raise ValueError(f"{shown(text)} is no component's name ({NAME.pattern}, or distribution/name); {_SHAPES}")


def _is_module_attribute(text: str) -> bool:
    module, _, attribute = text.partition(":")
    return all(name.isidentifier() for path in (module, attribute) for name in path.split("."))


def _module_attribute(text: str) -> str:
    if not _is_module_attribute(text):
        raise ValueError('expected "module:attribute", such as "shop.app:lifespan"')
    return text


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


class Unlisted(tuple[Any, ...]):
    """A tuple of the one component that was written without a list around it: its place has no index."""


One = Annotated[Any, AfterValidator(_check_shape), WithJsonSchema({"type": ["string", "object"]})]
"""One component."""

Several = Annotated[tuple[One, ...], BeforeValidator(_listed)]
"""One component or a list of them; a tuple in either case."""

ModuleAttribute = Annotated[str, AfterValidator(_module_attribute)]
"""``package.module:attribute``."""
