"""Made-up values for required options: for a configuration to paste, and to build a component once."""

from __future__ import annotations

import json
import math
from typing import Any

from pydantic import TypeAdapter

from loafer_core.config.json_schema import Node, Schema, choices


def required(options_type: Any) -> dict[str, Any]:
    """Make up a value for each option without a default; the first of its ``examples``, where it has some.

    A secret one gets ``"${NAME}"``, to be filled from the environment. {} where the options have no type.
    """
    if options_type is None:
        return {}
    schema = Schema(TypeAdapter(options_type))
    wanted = {name for node in schema.at(()) for name in node.get("required", ())}
    return {
        name: "${" + name.upper() + "}" if schema.secret((name,)) else _value(schema, node, name)
        for name, node in schema.names(()).items()
        if name in wanted
    }


def toml(value: object) -> str:
    """Write it as TOML, inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _value(schema: Schema, node: Node, name: str) -> Any:
    leaf = next(iter(schema.leaves(node)), {})
    for given in (node.get("examples"), leaf.get("examples"), choices(leaf)):
        if given:
            return given[0]
    match leaf.get("type"):
        case "integer":
            return int(_number(leaf))
        case "number":
            return float(_number(leaf))
        case "boolean":
            return True
        case "array":
            return [_value(schema, leaf.get("items", {}), name)] * leaf.get("minItems", 0)
        case "object":
            inner = leaf.get("properties", {})
            return {key: _value(schema, inner[key], key) for key in leaf.get("required", ()) if key in inner}
        case _:
            return name.ljust(leaf.get("minLength", 0), "-")


def _number(node: Node) -> float:
    if "exclusiveMinimum" in node:
        return float(node["exclusiveMinimum"]) + 1
    return float(max(node.get("minimum", -math.inf), min(node.get("maximum", math.inf), 1)))
