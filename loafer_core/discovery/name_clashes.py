"""Installed plugins that could be taken for others: by the name of the distribution, the plugin, or a component."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from loafer_core.discovery.installed import CORE, Installed
from loafer_core.discovery.registry import WELL_KNOWN, Registry

OWN_COMMANDS = ("run", "check", "routes", "send", "plugins", "schema")
"""The core's own commands. A plugin's command of such a name is reached by its full name."""


def of_names(row: Installed, rows: Sequence[Installed], vouched: Collection[str]) -> Iterator[str]:
    """Find what the names alone tell, before anything is imported.

    ``vouched``: plugins (``distribution/entry-point``) that the user named in full; they are no mistake.
    """
    if row.owner not in vouched:
        for known in sorted({CORE, *WELL_KNOWN.values()}):
            if are_near(row.distribution, known):
                yield f"its distribution is called almost like {known!r}; make sure that it is the one you want"
    if others := sorted(other.distribution for other in rows if other.name == row.name and other != row):
        yield f"{_and(others)} has a plugin {row.name!r}, too; [defaults.{row.name}] and a bare {row.name!r} mean both"


def of_components(row: Installed, registry: Registry) -> Iterator[str]:
    """Find the components of one plugin that share a name with another plugin's, or with the core's."""
    for offer in registry.offers():
        if offer.owner != row.owner or row.distribution == CORE:
            continue
        kind, name = offer.kind, offer.spec.name
        others = [o for o in registry.offers(kind.name) if o.spec.name == name and o.owner != row.owner]
        if any(other.distribution == CORE for other in others) or (kind.name == "command" and name in OWN_COMMANDS):
            yield f"{name!r} is the core's {kind.label}; write {offer.full_name!r} for this one"
        elif others:
            owners = _and(sorted(other.owner for other in others))
            yield f"{owners} offers a {kind.label} {name!r}, too; write {offer.full_name!r} for this one"


def are_near(one: str, other: str) -> bool:
    """Tell whether one letter added, left out, changed, or swapped with its neighbour makes the one the other."""
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[same:], other[same:]
    left_out, changed, swapped = one[1:] == other, one[1:] == other[1:], one[1::-1] + one[2:] == other
    return one != other and (left_out or one == other[1:] or changed or swapped)


def _and(names: Iterable[str]) -> str:
    return " and ".join(names)
