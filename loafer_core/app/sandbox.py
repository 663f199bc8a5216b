"""``--sandbox``: local stand-ins in place of the sources that plugins would talk to."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from loafer_core.api.components import Sandbox, SandboxComponent
from loafer_core.api.errors import ConfigError, Finding
from loafer_core.app.build import Overrides, ResolvedComponent, ResolvedRoute
from loafer_core.config.findings import Findings
from loafer_core.discovery.installed import CORE
from loafer_core.discovery.registry import Offer, Registry

logger = logging.getLogger("loafer.sandbox")


class Sandboxes:
    """One stand-in per plugin that the routes use."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._running: list[tuple[Offer, Sandbox]] = []

    def start(self, routes: Iterable[ResolvedRoute]) -> Overrides:
        """Start what is needed; gives the options to override, by ``ResolvedComponent.where``.

        Raises:
            ConfigError: there is no stand-in for a provider, or for a plugin's handler; or one could not be started.
        """
        wrong = Findings()
        wanted: dict[str, tuple[Offer, list[SandboxComponent]]] = {}
        for route in routes:
            for part in (route.provider, route.handler):
                if part.offer is not None and part.offer.distribution == CORE:
                    continue
                if part.offer is not None and (sandbox := self._registry.sandbox_for(part.offer)) is not None:
                    component = SandboxComponent(part.where, part.offer.spec.name, part.options)
                    wanted.setdefault(sandbox.owner, (sandbox, []))[1].append(component)
                elif part.offer is not None or part is route.provider:
                    wrong.add(_without(part))
        wrong.raise_if_any()
        overrides: dict[str, Mapping[str, object]] = {}
        for sandbox, components in wanted.values():
            overrides.update(wrong.attempt(self._start, sandbox, components) or {})
        wrong.raise_if_any()
        return overrides

    def stop(self) -> None:
        """Stop them all. What goes wrong is logged. Idempotent."""
        while self._running:
            offer, sandbox = self._running.pop()
            try:
                sandbox.stop()
            except Exception:
                logger.exception("the plugin %s: stopping its sandbox failed", offer.owner)

    def _start(self, offer: Offer, components: Sequence[SandboxComponent]) -> Overrides:
        try:
            sandbox = offer.spec.factory({})
            self._running.append((offer, sandbox))
            overrides = dict(sandbox.start(components))
        except ConfigError:
            raise
        except (Exception, SystemExit) as error:
            text = f"its sandbox could not be started: {type(error).__name__}: {error}"
            raise ConfigError(Finding(f"plugin {offer.owner}", text)) from error
        if missing := [component.where for component in components if component.where not in overrides]:
            # Its real options would be left, and a real source is never talked to.
            raise ConfigError(Finding(f"plugin {offer.owner}", f"its sandbox has none for {', '.join(missing)}"))
        return overrides


def _without(part: ResolvedComponent) -> Finding:
    who = "this provider is your own, and there is" if part.offer is None else f"the plugin {part.offer.owner} offers"
    return Finding(part.where, f"{who} no sandbox for it, and --sandbox never talks to a real source; leave it out")
