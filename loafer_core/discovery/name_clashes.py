"""Warnings about names: an installed distribution, plugin or component that could be taken for another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from loafer_core.discovery.installed import CORE, Installed
from loafer_core.discovery.registry import WELL_KNOWN, Registry

OWN_COMMANDS = ("run", "check", "routes", "send", "plugins", "schema")
"""The core's own commands. A plugin's command of such a name is reached by its full name."""


def clashes_of_names(
    entry: Installed, entries: Sequence[Installed], named_in_full: Collection[str] = ()
) -> Iterator[str]:
    """Warn of what the names of distributions and plugins alone tell, before anything is imported.

    Args:
        entry: the plugin in question.
        entries: all plugins, it among them.
        named_in_full: plugins that the user allowed by ``distribution/entry-point``, so that no other can be meant.
    """
    if entry.owner not in named_in_full:
        for known in sorted({CORE, *WELL_KNOWN.values()}):
            if are_near(entry.distribution, known):
                yield f"its distribution is called almost like {known!r}; make sure that it is the one you want"
    others = sorted(other.distribution for other in entries if other.name == entry.name and other != entry)
    if others:
        name = entry.name
        yield f"{_joined(others)} has a plugin {name!r}, too; [defaults.{name}] and a bare {name!r} mean both"


def clashes_of_components(entry: Installed, registry: Registry) -> Iterator[str]:
    """Warn of the components of one plugin that share a name with another plugin's, or with the core's."""
    if entry.distribution == CORE:
        return
    for offer in registry.offers():
        if offer.owner != entry.owner:
            continue
        kind, name = offer.kind, offer.spec.name
        others = [
            other for other in registry.offers(kind.name) if other.spec.name == name and other.owner != offer.owner
        ]
        is_own_command = kind.name == "command" and name in OWN_COMMANDS
        if is_own_command or any(other.distribution == CORE for other in others):
            yield f"{name!r} is the core's {kind.label}; write {offer.full_name!r} for this one"
        elif others:
            owners = _joined(sorted(other.owner for other in others))
            yield f"{owners} offers a {kind.label} {name!r}, too; write {offer.full_name!r} for this one"


def are_near(one: str, other: str) -> bool:
    """Tell whether one letter added, left out, changed, or swapped with its neighbour makes the one the other."""
    if one == other:
        return False
    different = [index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    start = different[0] if different else min(len(one), len(other))
    rest, other_rest = one[start:], other[start:]
    is_left_out = rest == other_rest[1:]
    is_added = rest[1:] == other_rest
    is_changed = rest[1:] == other_rest[1:]
    is_swapped = rest[1::-1] + rest[2:] == other_rest
    return is_left_out or is_added or is_changed or is_swapped


def _joined(names: Iterable[str]) -> str:
    return " and ".join(names)
