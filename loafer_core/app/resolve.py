"""All that can be known before anything runs: what ``check`` reports and what ``run`` starts from."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loafer_core.api.errors import ConfigError, Finding
from loafer_core.api.kinds import Kind, kinds_in
from loafer_core.app.build import (
    BuiltRoute,
    Overrides,
    ResolvedComponent,
    ResolvedRoute,
    Resolver,
    build,
    check_methods,
    suggestion,
)
from loafer_core.app.lifespan import MakeLifespan, import_lifespan
from loafer_core.config.findings import Findings
from loafer_core.config.settings import Config, Settings
from loafer_core.config.wording import position, undotted
from loafer_core.discovery.loader import Plugin, Plugins, load
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.manager")


@dataclass(slots=True)
class Resolved:
    """A configuration with its plugins found and its components resolved."""

    settings: Settings
    plugins: Plugins
    found: Findings
    """Everything that is wrong or odd and was not reported yet, in the order of the file."""
    every_route: list[ResolvedRoute] = field(default_factory=list)
    bad_routes: dict[str, list[Finding]] = field(default_factory=dict)
    """Routes that cannot run, and why."""
    lifespan: MakeLifespan | None = None
    observers: Observers = field(default_factory=Observers)

    @property
    def routes(self) -> list[ResolvedRoute]:
        """Those that can run, as far as is known."""
        return [resolved for resolved in self.every_route if resolved.route.name not in self.bad_routes]

    def build(self, overrides: Overrides | None = None) -> list[BuiltRoute]:
        """Build every route that was resolved, and give those that can run; what is wrong joins what was found."""
        built = []
        for resolved in self.every_route:
            try:
                built.append(build(resolved, overrides))
            except ConfigError as error:
                self.found.add(error)
                self.note_bad(resolved.route.name, error.findings)
        return [route for route in built if route.resolved.route.name not in self.bad_routes]

    def note_bad(self, route: str, findings: Iterable[Finding]) -> None:
        self.bad_routes.setdefault(route, []).extend(findings)

    @property
    def findings(self) -> list[Finding]:
        return self.found.findings

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def is_fatal(self) -> bool:
        """An error was found that is more than a bad route which the others may run without."""
        errors = self.errors
        if self.settings.on_bad_route == "degrade" and self.routes:
            bad = [finding for findings in self.bad_routes.values() for finding in findings]
            errors = [finding for finding in errors if finding not in bad]
        return bool(errors)

    def report(self) -> None:
        """Log what was found since the last time; raise it, as one ConfigError, if nothing can run."""
        if self.is_fatal:
            raise self.found.error()
        for finding in self.findings:
            logger.log(logging.ERROR if finding.level == "error" else logging.WARNING, "%s", finding)
        self.found = Findings(self.found.order)


def resolve(config: Config, only: Sequence[str] = ()) -> Resolved:
    """Load plugins, resolve components, import user code. Nothing is opened; plugins' modules and handlers' are run.

    Args:
        config: what was read, its findings included.
        only: names of the routes that are wanted; empty = all.
    """
    settings = config.settings
    _look_in(settings.import_paths)
    loaded = load(settings.plugins_disable, settings.plugins_only)
    found = Findings(lambda finding: position(config.raw, undotted(finding.where)))
    resolved = Resolved(settings, loaded, found)
    found.add(config.findings)
    found.add(_no_such_folder(path) for path in settings.import_paths if not path.is_dir())
    for finding in config.findings:
        if finding.level == "error" and (place := _ROUTE.match(finding.where)):
            resolved.note_bad(place[1], [finding])
    found.add(loaded.findings)
    for plugin in loaded.plugins:
        if plugin.state == "broken":
            found.add(_broken(plugin))
    names = [route.name for route in settings.routes]
    found.add(_no_such_route(name, names) for name in only if name not in names)
    resolver = Resolver(loaded.registry, settings.defaults, {finding.where for finding in config.findings})
    found.attempt(resolver.check_defaults, [plugin.plugin for plugin in loaded.plugins])
    for route in settings.routes:
        if only and route.name not in only:
            continue
        try:
            resolved.every_route.append(resolver.route(route))
        except ConfigError as error:
            found.add(error)
            resolved.note_bad(route.name, error.findings)
    beside = {kind.name: found.attempt(_built, resolver, kind, settings) or [] for kind in kinds_in("loafer")}
    resolved.observers = found.attempt(Observers, beside["observer"]) or Observers()
    if settings.lifespan is not None:
        resolved.lifespan = found.attempt(import_lifespan, settings.lifespan)
    return resolved


_ROUTE = re.compile(r'routes\.("(?:[^"\\]|\\.)*"|[^.\[]+)')


def _look_in(paths: Sequence[Path]) -> None:
    """Import from there first, in the order given, whatever was on the path before."""
    wanted = [str(path) for path in paths]
    sys.path[:] = [*wanted, *(path for path in sys.path if path not in wanted)]


def _built(resolver: Resolver, kind: Kind, settings: Settings) -> list[tuple[str, object]]:
    """Build what the section ``loafer`` names of a kind, each with the name that people call it by."""

    def build_one(component: ResolvedComponent) -> tuple[str, object]:
        built = component.build()
        check_methods(kind.name, component, built)
        return component.label, built

    components = resolver.components(kind.name, getattr(settings, kind.key), kind.place)
    wrong = Findings()
    pairs = [pair for one in components if (pair := wrong.attempt(build_one, one)) is not None]
    wrong.raise_if_any()
    return pairs


def _no_such_folder(path: Path) -> Finding:
    return Finding("loafer.import_paths", f"there is no folder {path}", "warning")


def _broken(plugin: Plugin) -> ConfigError:
    error = ConfigError(Finding(f"plugin {plugin.owner}", f"broken: {plugin.reason}", "warning"))
    error.__cause__ = plugin.error
    return error


def _no_such_route(name: str, names: Sequence[str]) -> Finding:
    return Finding("--route", f"there is no route {name!r}{suggestion(name, names)}")
