"""What the JSON schema of an options type says of names, types and limits, in the words of TOML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

Node = Mapping[str, Any]
"""One schema, or a schema inside of it: what it says of a value."""
Place = tuple[str | int, ...]
"""Where something stands in a mapping: keys, and indices into lists."""

_SECRET = re.compile(r"secret|token|passw|passphrase|dsn|credential|key", re.IGNORECASE)
"""What the name of an option that holds a secret has in it."""
_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a table",
    "string": "a string",
}
"""Our words for JSON Schema's types."""
_FORMATS = {
    "date": "a date",
    "date-time": "a date and time",
    "duration": "a number of seconds",
    "time": "a time",
}
"""Our words for JSON Schema's formats, which say more than the type beside them."""


class _Lenient(GenerateJsonSchema):
    """Makes an empty schema for what JSON cannot express, where pydantic would refuse the whole type."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}

    def emit_warning(self, kind: Any, detail: str) -> None:
        pass


class Schema:
    """The JSON schema of a type, asked by path. What stands in a union has one node for each branch."""

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        try:
            self._root: Node = adapter.json_schema(schema_generator=_Lenient)
        except Exception:  # a type may bring a generator of its own, which may raise anything
            # It can still be validated; errors just cannot say what was expected.
            self._root = {}

    def at(self, path: Place) -> list[Node]:
        """Give all that the schema says of the value at ``path``; nothing where it knows of no such place."""
        nodes = self.leaves(self._root)
        for key in path:
            nodes = [leaf for node in nodes for child in _children(node, key) for leaf in self.leaves(child)]
        return nodes

    def names(self, path: Place) -> dict[str, Node]:
        """Give the options of the table at ``path``, as they are written (aliases), in the declared order."""
        return {name: child for node in self.at(path) for name, child in node.get("properties", {}).items()}

    def secret(self, path: Place) -> bool:
        """Tell whether the value at ``path`` must not be shown.

        So it is where the type says it, or a name on the way sounds like it, or anything inside is secret.
        """
        nodes = self.at(path)
        inside = [leaf for node in nodes for child in _all_children(node) for leaf in self.leaves(child)]
        names = [*path, *self.names(path)]
        return any(_SECRET.search(str(name)) for name in names) or any(
            node.get("writeOnly") or node.get("format") == "password" for node in (*nodes, *inside)
        )

    def leaves(self, node: Node) -> list[Node]:
        """Follow references, and the branches of unions, to nodes that are neither."""
        return list(self._leaves(node))

    def _leaves(self, node: Node) -> Iterator[Node]:
        waiting = [node]
        followed = set()
        while waiting:
            node = waiting.pop(0)
            if not isinstance(node, Mapping):  # `true`, which is how JSON Schema says "anything"
                continue
            if reference := node.get("$ref"):
                if reference not in followed:
                    waiting.insert(0, self._root["$defs"][reference.removeprefix("#/$defs/")])
                followed.add(reference)
            elif branches := node.get("anyOf") or node.get("oneOf") or node.get("allOf"):
                waiting[:0] = branches
            elif isinstance(types := node.get("type"), list):
                yield from ({**node, "type": type_} for type_ in types)
            else:
                yield node


def _children(node: Node, key: str | int) -> list[Node]:
    """Give what the node says of its entry ``key``: an index into a list, or the key of a table."""
    if isinstance(key, int):
        places = node.get("prefixItems", ())
        item = places[key] if key < len(places) else node.get("items")
        return [item] if isinstance(item, Mapping) else []
    properties = node.get("properties", {})
    if key in properties:
        return [properties[key]]
    others = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return [other for other in others if isinstance(other, Mapping)]


def _all_children(node: Node) -> list[Node]:
    children = [*node.get("properties", {}).values(), *node.get("prefixItems", ()), node.get("items")]
    return [child for child in (*children, node.get("additionalProperties")) if isinstance(child, Mapping)]


def choices(node: Node) -> list[Any]:
    """Give the values of an enumeration or a literal; nothing for any other node."""
    if "enum" in node:
        return list(node["enum"])
    return [node["const"]] if "const" in node else []


def words(nodes: Iterable[Node]) -> str:
    """Say what is expected: ``a whole number``, ``a table or 'leave'``; ``""`` where anything goes."""
    expected: list[str] = []
    for node in nodes:
        if values := choices(node):
            expected += map(toml, values)
        elif node.get("format") in _FORMATS:
            expected.append(_FORMATS[node["format"]])
        elif node.get("type") in _TYPES:
            expected.append(_TYPES[node["type"]])
    *first, last = dict.fromkeys(expected) or [""]
    return f"{', '.join(first)} or {last}" if first else last


def limits(nodes: Iterable[Node]) -> str:
    """Say what bounds a value: ``0 to 20``, ``more than 0``, ``1 or more characters``; ``""`` where nothing does."""
    bounds = [bound for node in nodes for bound in _limits(node) if bound]
    return ", ".join(dict.fromkeys(bounds))


def _limits(node: Node) -> Iterator[str]:
    yield _between(node.get("minimum"), node.get("maximum"), "")
    yield _between(node.get("minLength"), node.get("maxLength"), " characters")
    yield _between(node.get("minItems"), node.get("maxItems"), " items")
    for key, text in (
        ("exclusiveMinimum", "more than"),
        ("exclusiveMaximum", "less than"),
        ("multipleOf", "a multiple of"),
        ("pattern", "matching"),
    ):
        if key in node:
            yield f"{text} {node[key]}"


def _between(low: object, high: object, unit: str) -> str:
    if low is None:
        return "" if high is None else f"at most {high}{unit}"
    return f"{low} or more{unit}" if high is None else f"{low} to {high}{unit}"


def toml(value: object) -> str:
    """Write a value about as a user would, but strings in the quotes that our other messages have."""
    match value:
        case bool():
            return str(value).lower()
        case Mapping():
            return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
        case Sequence() if not isinstance(value, str):
            return "[" + ", ".join(map(toml, value)) + "]"
        case _:
            return repr(value)
