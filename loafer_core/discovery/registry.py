"""From names to components: all that the plugins offer, and helpful words where a name fits none or several."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from loafer_core.api.declarations import Spec
from loafer_core.api.errors import LoaferError
from loafer_core.api.kinds import KINDS, Kind
from loafer_core.discovery.installed import CORE, canonical

WELL_KNOWN = {
    ("provider", "sqs"): "loafer-sqs",
    ("handler", "sqs"): "loafer-sqs",
    ("handler", "sns"): "loafer-sqs",
    ("provider", "rabbitmq"): "loafer-rabbitmq",
    ("handler", "rabbitmq"): "loafer-rabbitmq",
    ("translator", "json"): "loafer-json",
    ("translator", "sns"): "loafer-json",
    ("translator", "eventbridge"): "loafer-json",
    ("translator", "s3"): "loafer-json",
    ("error_handler", "sentry"): "loafer-sentry",
}
"""Which distribution brings a component that a beginner will write before installing it."""


class UnknownComponent(LoaferError):
    """A name fits no component, or several. The text says so and what to write; the place is for the caller to add."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One component, and the plugin that declared it."""

    spec: Spec[Any, Any]
    distribution: str
    plugin: str
    """The entry point's name."""

    @property
    def kind(self) -> Kind:
        """The row of the table of kinds."""
        return KINDS[self.spec.kind]

    @property
    def full_name(self) -> str:
        """``distribution/component``: what a configuration writes where the bare name would be ambiguous."""
        return f"{self.distribution}/{self.spec.name}"

    @property
    def owner(self) -> str:
        """``distribution/entry-point``: what ``plugins.disable`` understands."""
        return f"{self.distribution}/{self.plugin}"


@dataclass(frozen=True, slots=True)
class _Unusable:
    plugin: str
    distribution: str
    state: str
    reason: str

    def __str__(self) -> str:
        return f"the plugin {self.distribution}/{self.plugin} is {self.state}: {self.reason}"


class Registry:
    """Every offered component. Two may have one name; it is an error only when somebody asks for that bare name."""

    def __init__(self) -> None:
        self._offers: list[Offer] = []
        self._unusable: list[_Unusable] = []

    def add(self, offer: Offer) -> None:
        self._offers.append(offer)

    def note_unusable(self, *, plugin: str, distribution: str, state: str, reason: str) -> None:
        """Remember a broken or blocked plugin: it may be why a name is not found."""
        self._unusable.append(_Unusable(plugin, distribution, state, reason))

    def offers(self, kind: str | None = None) -> tuple[Offer, ...]:
        """Give all offers, or those of one kind (``provider``, ``error_handler``, ...), in the order of loading."""
        return tuple(offer for offer in self._offers if kind is None or offer.spec.kind == kind)

    @property
    def plugins(self) -> list[str]:
        """The entry points' names of all who offer something, and of those that cannot be used."""
        return sorted({offer.plugin for offer in self._offers} | {one.plugin for one in self._unusable})

    def find(self, kind: str, name: str) -> Offer:
        """Find the component of ``kind`` by its name or its full name (``distribution/component``).

        The bare names of the core's own components are reserved: who offers another is reached by the full name only.
        Raises UnknownComponent.
        """
        distribution, slash, component = name.rpartition("/")
        wanted = f"{canonical(distribution)}/{component}" if slash else name
        matches = [offer for offer in self.offers(kind) if wanted in (offer.spec.name, offer.full_name)]
        matches = [offer for offer in matches if offer.distribution == CORE] or matches
        if len(matches) == 1:
            return matches[0]
        raise UnknownComponent(_ambiguous(kind, name, matches) if matches else self._unknown(kind, name))

    def sandbox_for(self, offer: Offer) -> Offer | None:
        """Find the stand-in that the plugin of ``offer`` declared for its sources."""
        return next((sandbox for sandbox in self.offers("sandbox") if sandbox.owner == offer.owner), None)

    def _unknown(self, kind: str, name: str) -> str:
        known = sorted({offer.full_name if "/" in name else offer.spec.name for offer in self.offers(kind)})
        reason = self._why_missing(kind, name, known)
        return f"there is no {KINDS[kind].label} {name!r}{reason} (known: {', '.join(known) or 'none'})"

    def _why_missing(self, kind: str, name: str, known: list[str]) -> str:
        """Say the likeliest reason only; the surer a reason is, the earlier it is tried."""
        distribution, _, component = name.rpartition("/")
        well_known = WELL_KNOWN.get((kind, component))
        wanted = canonical(distribution) or well_known
        suspects = [plugin for plugin in self._unusable if plugin.distribution == wanted or plugin.plugin == name]
        if suspects:
            return f": {', '.join(map(str, suspects))}"
        if well_known and well_known == wanted:
            is_installed = any(offer.distribution == well_known for offer in self._offers)
            return f"; `pip install {'-U ' if is_installed else ''}{well_known}` brings it"
        if kinds := sorted({offer.kind.label for offer in self._offers if offer.spec.name == name}):
            return f"; {name!r} is {' and '.join(map(_with_article, kinds))}"
        if near := get_close_matches(name, known, n=1):
            return f"; did you mean {near[0]!r}?"
        return "".join(f"; {plugin}" for plugin in self._unusable)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"


def _ambiguous(kind: str, name: str, matches: list[Offer]) -> str:
    plugins = " and ".join(offer.owner for offer in matches)
    names = sorted({offer.full_name for offer in matches})
    advice = "put one of them into plugins.disable"
    if len(names) == len(matches):  # not so for two plugins of one distribution: they share the full name as well
        advice = f"write {' or '.join(map(repr, names))}, or {advice}"
    return f"{KINDS[kind].label} {name!r} is offered by the plugins {plugins}; {advice}"
