"""``--sandbox``: local stand-ins in place of the sources that plugins talk to."""

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
    """The stand-ins of a run: one for each plugin that the routes use."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._running: list[tuple[Offer, Sandbox]] = []

    def start(self, routes: Iterable[ResolvedRoute]) -> Overrides:
        """Start the stand-ins that are needed, and give the options to override, by ``ResolvedComponent.where``.

        Raises:
            ConfigError: there is no stand-in for a provider, or for a plugin's handler; or one could not be started.
        """
        wanted = self._wanted(routes)
        wrong = Findings()
        overrides: dict[str, Mapping[str, object]] = {}
        for sandbox, components in wanted.values():
            overrides.update(wrong.attempt(self._start, sandbox, components) or {})
        wrong.raise_if_any()
        return overrides

    def _wanted(self, routes: Iterable[ResolvedRoute]) -> Mapping[str, tuple[Offer, Sequence[SandboxComponent]]]:
        """Give each sandbox that is needed with what it stands in for, by plugin.

        Providers need one, and so do ready-made handlers, which publish. The core's own touch no source outside, and a
        handler of the user's own is code to be tried out.
        """
        wrong = Findings()
        wanted: dict[str, tuple[Offer, list[SandboxComponent]]] = {}
        for route in routes:
            for resolved in (route.provider, route.handler):
                offer = resolved.offer
                if offer is None:
                    if resolved is route.provider:
                        wrong.add(_without_sandbox(resolved))
                    continue
                if offer.distribution == CORE:
                    continue
                sandbox = self._registry.sandbox_for(offer)
                if sandbox is None:
                    wrong.add(_without_sandbox(resolved))
                    continue
                _, components = wanted.setdefault(sandbox.owner, (sandbox, []))
                components.append(SandboxComponent(resolved.where, offer.spec.name, resolved.options))
        wrong.raise_if_any()
        return wanted

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
        missing = [component.where for component in components if component.where not in overrides]
        if missing:
            # These would keep their options, and so talk to a real source.
            raise ConfigError(Finding(f"plugin {offer.owner}", f"its sandbox has none for {', '.join(missing)}"))
        return overrides


def _without_sandbox(resolved: ResolvedComponent) -> Finding:
    offer = resolved.offer
    who = "this provider is your own, and there is" if offer is None else f"the plugin {offer.owner} offers"
    return Finding(resolved.where, f"{who} no sandbox for it, and --sandbox never talks to a real source; leave it out")
