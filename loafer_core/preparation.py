"""All that can be known before anything runs: what ``check`` reports and what ``run`` starts from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from difflib import get_close_matches

from loafer_core import plugins, wiring
from loafer_core.config import Config, Settings
from loafer_core.errors import ConfigError, Finding
from loafer_core.importer import import_target
from loafer_core.observers import Observers
from loafer_core.wiring import RouteParts, Wired, Wiring

Lifespan = Callable[[], AbstractAsyncContextManager[object]]


@dataclass(slots=True)
class Prepared:
    """A configuration with its plugins found and its components resolved."""

    settings: Settings
    plugins: plugins.Plugins
    routes: list[RouteParts] = field(default_factory=list)
    lifespan: Lifespan | None = None
    observers: Observers = field(default_factory=Observers)
    findings: list[Finding] = field(default_factory=list)
    """Everything that is wrong or odd, in the order of the file."""
    bad_routes: dict[str, list[Finding]] = field(default_factory=dict)
    """Routes that cannot run, and why; these findings are in ``findings`` too."""

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "error"]

    def build(self, overrides: Mapping[str, Mapping[str, object]] | None = None) -> list[Wired]:
        """Build every route that could be resolved; what fails joins the findings and the bad routes."""
        wired = []
        for parts in self.routes:
            try:
                wired.append(wiring.build(parts, overrides))
            except ConfigError as error:
                self._bad(parts.route.name, error.findings)
        return wired

    def _bad(self, route: str, findings: Sequence[Finding]) -> None:
        self.findings.extend(findings)
        errors = [finding for finding in findings if finding.level == "error"]
        if errors:
            self.bad_routes.setdefault(route, []).extend(errors)


def prepare(config: Config, only: Sequence[str] = ()) -> Prepared:
    """Load plugins, resolve components, import user code. Nothing is opened; plugins' modules and handlers' are run.

    Args:
        config: what was read, its findings included.
        only: names of the routes that are wanted; empty = all.
    """
    settings = config.settings
    for path in reversed(settings.import_paths):
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))
    loaded = plugins.load(settings.plugins_disable, settings.plugins_only)
    prepared = Prepared(settings, loaded, findings=[*config.findings, *loaded.findings])
    prepared.findings += [_broken(plugin) for plugin in loaded.plugins if plugin.state == "broken"]
    names = [route.name for route in settings.routes]
    prepared.findings += [_no_such_route(name, names) for name in only if name not in names]
    wires = Wiring(loaded.registry, settings.defaults)
    wires.unused_defaults(plugin.plugin for plugin in loaded.plugins)
    prepared.findings += wires.findings
    for route in settings.routes:
        if only and route.name not in only:
            continue
        wires.findings = []
        parts = wires.route(route)
        prepared._bad(route.name, wires.findings)
        if parts is not None:
            prepared.routes.append(parts)
    _around(prepared, wires)
    return prepared


def _around(prepared: Prepared, wires: Wiring) -> None:
    """What is not of one route: observers and the lifespan."""
    wires.findings = []
    settings = prepared.settings
    parts = [part for part in wires.parts("observer", list(settings.observers), "loafer.observers") if part is not None]
    prepared.findings += wires.findings
    try:
        prepared.observers = Observers([(part.label, part.build(part.options)) for part in parts])
    except ConfigError as error:
        prepared.findings += error.findings
    if settings.lifespan is not None:
        try:
            prepared.lifespan = _lifespan(settings.lifespan)
        except ConfigError as error:
            prepared.findings += error.findings


def _lifespan(reference: str) -> Lifespan:
    target = import_target(reference, "loafer.lifespan")
    if not callable(target):
        raise ConfigError(Finding("loafer.lifespan", f"{reference!r} is not callable; it is called without arguments"))
    return target  # type: ignore[return-value]


def _broken(plugin: plugins.Plugin) -> Finding:
    return Finding(f"plugin {plugin.owner}", f"broken: {plugin.reason}", "warning")


def _no_such_route(name: str, names: Sequence[str]) -> Finding:
    near = get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names) or 'none'}"
    return Finding("--route", f"there is no route {name!r}{hint}")
