"""``--sandbox``: local stand-ins in place of the sources that plugins would talk to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loafer_core.errors import ConfigError, Finding
from loafer_core.protocols import Sandbox, SandboxComponent
from loafer_core.registry import Offer, Registry
from loafer_core.wiring import Part, RouteParts


class Sandboxes:
    """One stand-in per plugin that the routes use."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._running: list[Sandbox] = []

    def start(self, routes: Iterable[RouteParts]) -> Mapping[str, Mapping[str, object]]:
        """Start what is needed; gives the options to override, by ``Part.where``.

        Raises:
            ConfigError: a plugin whose provider or handler is used offers no sandbox.
        """
        wanted: dict[str, tuple[Offer, list[SandboxComponent]]] = {}
        findings = []
        for part in (part for route in routes for part in (route.provider, route.handler)):
            if part.offer is None or part.offer.distribution == "loafer-core":
                continue
            sandbox = self._registry.sandbox_for(part.offer)
            if sandbox is None:
                findings.append(_without(part, part.offer))
            else:
                component = SandboxComponent(part.where, part.offer.spec.name, part.options)
                wanted.setdefault(sandbox.owner, (sandbox, []))[1].append(component)
        if findings:
            raise ConfigError(findings)
        overrides: dict[str, Mapping[str, object]] = {}
        for offer, components in wanted.values():
            sandbox_object = offer.spec.factory({})
            self._running.append(sandbox_object)
            overrides.update(sandbox_object.start(components))
        return overrides

    def stop(self) -> None:
        while self._running:
            self._running.pop().stop()


def _without(part: Part, offer: Offer) -> Finding:
    return Finding(
        part.where,
        f"the plugin {offer.owner} offers no sandbox, and --sandbox never talks to a real source; leave it out",
    )
