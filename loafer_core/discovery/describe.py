"""Components in words, from their declarations alone: an option table, and a configuration to paste."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loafer_core.config.validation import OptionField, fields
from loafer_core.discovery.registry import Offer
from loafer_core.discovery.samples import required, toml

COLUMNS = ("option", "type", "default", "")
"""The headings of a table of options. The last column, without one, says what the option is for."""


def labelled(offer: Offer) -> str:
    """``provider sqs``: what to call a component where its kind is not known from the context."""
    return f"{offer.kind.label} {offer.spec.name}"


def rows(offer: Offer) -> list[tuple[str, str, str, str]]:
    """Give a row of a table for each option: its name, its type with the limits, its default, what it is for."""
    return [(field.name, _type(field), _default(field), field.description) for field in fields(offer.spec.options)]


def paste(offer: Offer) -> str:
    """Write the smallest part of a loafer.toml that uses the component; required options have made-up values.

    For a component that no configuration names it is the command line that uses it.
    """
    kind = offer.kind
    if not kind.place:
        return kind.command_line.format(name=offer.spec.name)
    needed = required(offer.spec.options)
    component = toml({"name": offer.spec.name, **needed} if needed else offer.spec.name)
    if kind.section == "loafer":
        return f"[loafer]\n{kind.key} = [{component}]"
    route = {"provider": '{ name = "memory", queue = "orders" }', "handler": '"shop.orders:handle_order"'}
    route[kind.key] = component
    return "\n".join(["[routes.orders]", *(f"{key} = {value}" for key, value in route.items())])


def markdown(offers: Iterable[Offer], *, table_only: bool = False) -> Iterator[str]:
    """Write a section for each component: its summary, a configuration to paste, and the table of its options."""
    for offer in offers:
        if not table_only:
            yield f"## {labelled(offer).capitalize()}\n"
            yield f"{offer.spec.summary.removesuffix('.')}.\n"
            language = "toml" if offer.kind.place else "sh"
            yield f"```{language}\n{paste(offer)}\n```\n"
        if table := rows(offer):
            yield "| " + " | ".join(COLUMNS) + " |"
            yield "|" + "---|" * len(COLUMNS)
            for name, type_, default, text in table:
                cells = (f"`{name}`", type_, f"`{default}`" if default not in ("", "required") else default, text)
                yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
            yield ""


def _type(field: OptionField) -> str:
    words = [field.type or "anything", field.constraints, "secret" if field.secret else ""]
    return ", ".join(filter(None, words))


def _default(field: OptionField) -> str:
    return "required" if field.required else field.default or ""
