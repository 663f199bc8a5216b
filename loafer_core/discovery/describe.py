"""Components in words, from their declarations alone: an option table, and a configuration to paste."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loafer_core.config.validation import OptionField, fields
from loafer_core.discovery.registry import Offer
from loafer_core.discovery.samples import required, toml

COLUMNS = ("option", "type", "default", "")


def labelled(offer: Offer) -> str:
    return f"{offer.kind.label} {offer.spec.name}"


def rows(offer: Offer) -> list[tuple[str, str, str, str]]:
    """One row an option: name, type with its limits, default, what it is for."""
    return [(field.name, _type(field), _default(field), field.description) for field in fields(offer.spec.options)]


def paste(offer: Offer) -> str:
    """The smallest part of a loafer.toml that uses the component: what must be given, with stand-ins as values.

    A component that no configuration names gets the command line that uses it.
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
    """A section for each component: its summary, a configuration to paste, and the table of its options."""
    for offer in offers:
        if not table_only:
            yield f"## {labelled(offer).capitalize()}\n"
            yield f"{offer.spec.summary.removesuffix('.')}.\n"
            language = "toml" if offer.kind.place else "sh"
            yield f"```{language}\n{paste(offer)}\n```\n"
        if table := rows(offer):
            yield "| " + " | ".join(COLUMNS) + " |"
            yield "|" + "---|" * len(COLUMNS)
            for name, kind, default, text in table:
                cells = (f"`{name}`", kind, f"`{default}`" if default not in ("", "required") else default, text)
                yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
            yield ""


def _type(field: OptionField) -> str:
    kind = field.type or "anything"
    kind = f"{kind}, {field.constraints}" if field.constraints else kind
    return f"{kind}, secret" if field.secret else kind


def _default(field: OptionField) -> str:
    return "required" if field.required else field.default or ""
