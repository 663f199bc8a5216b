"""A JSON Schema of ``loafer.toml``, for editors: the file's own keys, and the options of every installed component."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter

from loafer_core.api.kinds import KINDS, Kind
from loafer_core.config.settings import FILE
from loafer_core.discovery.registry import Offer, Registry

Node = dict[str, Any]
"""A JSON schema, or a part of one."""

_REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"
"""What ``module:attribute`` looks like."""


def file_schema(registry: Registry) -> Node:
    """Build the schema from what the given plugins offer (JSON Schema 2020-12)."""
    schema: Node = FILE.model_json_schema()
    definitions: Node = schema.setdefault("$defs", {})
    route = _definition(schema, schema["properties"]["routes"]["additionalProperties"])
    route["required"] = ["provider", "handler"]
    sections = {"routes": route, "loafer": _definition(schema, schema["properties"]["loafer"])}
    for kind in KINDS.values():
        if kind.place:
            definitions[kind.name] = _component(kind, registry, definitions)
            keys = sections[kind.section]["properties"]
            keys[kind.key] = {**_titled(keys[kind.key]), **_place(kind)}
    schema["properties"]["defaults"] = _defaults(registry, definitions)
    _let_strings_be_read(schema)
    _drop_noise(schema)
    return {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "loafer.toml"}


def _definition(schema: Node, reference: Node) -> Node:
    """Give what ``{"$ref": ...}`` points to."""
    definition: Node = schema["$defs"][reference["$ref"].removeprefix("#/$defs/")]
    return definition


def _place(kind: Kind) -> Node:
    """Describe a key whose value is a component, or several where there may be several."""
    one = {"$ref": f"#/$defs/{kind.name}"}
    return {"anyOf": [one, {"type": "array", "items": one}]} if kind.many else one


def _component(kind: Kind, registry: Registry, definitions: Node) -> Node:
    """Describe a component: its name, ``module:attribute``, or a table of either with options."""
    offers = registry.offers(kind.name)
    names = sorted({offer.spec.name for offer in offers} | {offer.full_name for offer in offers})
    return {
        "anyOf": [
            {"enum": names, "description": "; ".join(f"{o.spec.name}: {o.spec.summary}" for o in offers)},
            {"type": "string", "pattern": _REFERENCE, "description": "module:attribute"},
            {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string", "pattern": _REFERENCE}},
            },
            *(_table(offer, definitions) for offer in offers),
        ]
    }


def _table(offer: Offer, definitions: Node) -> Node:
    """Describe a table with a component's name and its options. None of the options is required.

    A required one may stand in ``[defaults]``: an editor that asked for it in the table would be wrong.
    """
    name = {"enum": [offer.spec.name, offer.full_name]}
    table: Node = {"type": "object", "required": ["name"], "properties": {"name": name}}
    if offer.spec.options is not None:
        options = _options(offer, definitions)
        table["properties"] |= options.get("properties", {})
        table["additionalProperties"] = options.get("additionalProperties", False)
    return {**table, "title": offer.full_name, "description": offer.spec.summary}


def _defaults(registry: Registry, definitions: Node) -> Node:
    """Describe ``[defaults]``: for each plugin the options of all its components; anything, if it cannot be used."""
    tables: dict[str, Node] = {plugin: {"type": "object"} for plugin in registry.plugins}
    for offer in registry.offers():
        table = tables[offer.plugin]
        properties = table.setdefault("properties", {})
        table.setdefault("additionalProperties", False)
        if offer.spec.options is None:
            continue  # The component takes any option, and gets no defaults.
        options = _options(offer, definitions)
        table["additionalProperties"] = table["additionalProperties"] or options.get("additionalProperties", False)
        for name, node in options.get("properties", {}).items():
            known = properties.get(name, {}).get("anyOf", [])
            properties[name] = {"anyOf": known if node in known else [*known, node]}
    return {"type": "object", "properties": tables, "additionalProperties": False}


def _options(offer: Offer, definitions: Node) -> Node:
    """Give the schema of a component's options; the definitions that it needs are added to ``definitions``."""
    prefix = f"{offer.full_name.replace('/', '.')}.{offer.spec.kind}."
    options_type: Any = offer.spec.options
    options: Node = TypeAdapter(options_type).json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    definitions |= {prefix + model: definition for model, definition in options.pop("$defs", {}).items()}
    return options


def _titled(node: Node) -> Node:
    return {key: value for key, value in node.items() if key in ("title", "description")}


def _let_strings_be_read(node: Any) -> None:
    """Allow a string where a number is wanted: it is read as one, so an editor must not underline ``"${PORT}"``."""
    for child in _children(node):
        if isinstance(child, dict) and child.get("type") in ("integer", "number", "boolean"):
            kept = {key: child.pop(key) for key in list(child) if key not in ("title", "description", "default")}
            child["anyOf"] = [kept, {"type": "string", "pattern": r"\$\{.+\}|^[0-9.]+$"}]
        else:
            _let_strings_be_read(child)


def _drop_noise(node: Any) -> None:
    """Leave out titles that only repeat a key, and defaults that only say "not given"."""
    for child in _children(node):
        if isinstance(child, dict):
            if "/" not in str(child.get("title", "")):  # The titles of components, which have a "/", are ours.
                child.pop("title", None)
            if child.get("default") is None or isinstance(child["default"], dict):
                child.pop("default", None)
        _drop_noise(child)


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else ()
