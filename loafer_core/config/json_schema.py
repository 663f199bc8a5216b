"""What the JSON schema of an options type says, in the words of TOML: the one source of names, words and limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

Node = Mapping[str, Any]
Place = tuple[str | int, ...]
"""Where something stands in a mapping: keys, and indices into lists."""

_SECRET = re.compile(r"secret|token|passw|passphrase|dsn|credential|key", re.IGNORECASE)
_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a table",
    "string": "a string",
}
_FORMATS = {
    "date": "a date",
    "date-time": "a date and time",
    "duration": "a number of seconds",
    "time": "a time",
}


class _Lenient(GenerateJsonSchema):
    """Says nothing of what JSON cannot say, where pydantic would refuse the whole type."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}

    def emit_warning(self, kind: Any, detail: str) -> None:
        pass


class Schema:
    """The JSON schema of a type, asked by path. A place in a union has one node for each branch."""

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        try:
            self._root: Node = adapter.json_schema(schema_generator=_Lenient)
        except Exception:  # a type may bring its own generator; without a schema it still validates, in fewer words
            self._root = {}

    def at(self, path: Place) -> list[Node]:
        nodes = self.leaves(self._root)
        for part in path:
            nodes = [leaf for node in nodes for child in _children(node, part) for leaf in self.leaves(child)]
        return nodes

    def names(self, path: Place) -> dict[str, Node]:
        """Give the options of the table at ``path``, as they are written (aliases), in the declared order."""
        return {name: child for node in self.at(path) for name, child in node.get("properties", {}).items()}

    def secret(self, path: Place) -> bool:
        """Tell whether what stands at ``path`` must not be shown: by its type, a name on the way, or what it holds."""
        nodes = self.at(path)
        inside = [leaf for node in nodes for child in _all_children(node) for leaf in self.leaves(child)]
        names = [*path, *self.names(path)]
        return any(_SECRET.search(str(name)) for name in names) or any(
            node.get("writeOnly") or node.get("format") == "password" for node in (*nodes, *inside)
        )

    def leaves(self, node: Node) -> list[Node]:
        """Follow references and unions to the nodes that say something."""
        return list(self._leaves(node))

    def _leaves(self, node: Node) -> Iterator[Node]:
        queue, seen = [node], set()
        while queue:
            node = queue.pop(0)
            if not isinstance(node, Mapping):  # true, which is how JSON Schema says "anything"
                continue
            if reference := node.get("$ref"):
                if reference not in seen:
                    queue.insert(0, self._root["$defs"][reference.removeprefix("#/$defs/")])
                seen.add(reference)
            elif branches := node.get("anyOf") or node.get("oneOf") or node.get("allOf"):
                queue[:0] = branches
            elif isinstance(kinds := node.get("type"), list):
                yield from ({**node, "type": kind} for kind in kinds)
            else:
                yield node


def _children(node: Node, part: str | int) -> list[Node]:
    if isinstance(part, int):
        places = node.get("prefixItems", ())
        found = places[part] if part < len(places) else node.get("items")
        return [found] if isinstance(found, Mapping) else []
    if part in (properties := node.get("properties", {})):
        return [properties[part]]
    others = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return [other for other in others if isinstance(other, Mapping)]


def _all_children(node: Node) -> list[Node]:
    children = [*node.get("properties", {}).values(), *node.get("prefixItems", ()), node.get("items")]
    return [child for child in (*children, node.get("additionalProperties")) if isinstance(child, Mapping)]


def choices(node: Node) -> list[Any]:
    """Give the values that are listed one by one: enumerations and literals."""
    return list(node.get("enum", [node["const"]] if "const" in node else []))


def words(nodes: Iterable[Node]) -> str:
    """Say what is expected: ``a whole number``, ``a table or 'leave'``; nothing where anything goes."""
    said: list[str] = []
    for node in nodes:
        if listed := choices(node):
            said += map(toml, listed)
        elif node.get("format") in _FORMATS:
            said.append(_FORMATS[node["format"]])
        elif node.get("type") in _TYPES:
            said.append(_TYPES[node["type"]])
    *first, last = dict.fromkeys(said) or [""]
    return f"{', '.join(first)} or {last}" if first else last


def limits(nodes: Iterable[Node]) -> str:
    """Say what bounds a value: ``0 to 20``, ``more than 0``, ``1 or more characters``; nothing where nothing does."""
    said = [word for node in nodes for word in _limits(node) if word]
    return ", ".join(dict.fromkeys(said))


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
    """Write a value about as a user would."""
    match value:
        case bool():
            return str(value).lower()
        case Mapping():
            return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
        case Sequence() if not isinstance(value, str):
            return "[" + ", ".join(map(toml, value)) + "]"
        case _:
            return repr(value)
