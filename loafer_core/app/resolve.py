"""Everything that can be known before anything runs: what ``check`` reports, and what ``run`` starts from."""

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
    build_route,
    check_methods,
    suggestion,
)
from loafer_core.app.lifespan import MakeLifespan, import_lifespan
from loafer_core.config.findings import Findings
from loafer_core.config.settings import Config, Settings
from loafer_core.config.wording import position, undotted
from loafer_core.discovery import loader
from loafer_core.discovery.loader import Plugin, Plugins
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
    """The routes whose components were found, bad ones among them."""
    bad_routes: dict[str, list[Finding]] = field(default_factory=dict)
    """Routes that cannot run, and why."""
    lifespan: MakeLifespan | None = None
    observers: Observers = field(default_factory=Observers)

    @property
    def routes(self) -> list[ResolvedRoute]:
        """The routes that can run, as far as is known."""
        return [resolved for resolved in self.every_route if resolved.route.name not in self.bad_routes]

    def build(self, overrides: Overrides | None = None) -> list[BuiltRoute]:
        """Build every route that was resolved, bad ones too, for what else is wrong; give those that can run.

        What is wrong is added to ``found``.
        """
        built = []
        for resolved in self.every_route:
            try:
                built.append(build_route(resolved, overrides))
            except ConfigError as error:
                self.found.add(error)
                self.note_bad(resolved.route.name, error.findings)
        return [route for route in built if route.resolved.route.name not in self.bad_routes]

    def note_bad(self, route: str, findings: Iterable[Finding]) -> None:
        """Note that a route cannot run, and why."""
        self.bad_routes.setdefault(route, []).extend(findings)

    @property
    def findings(self) -> list[Finding]:
        """Errors and warnings that were not reported yet."""
        return self.found.findings

    @property
    def errors(self) -> list[Finding]:
        """The errors among the findings."""
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def is_fatal(self) -> bool:
        """Nothing can run. With ``on_bad_route = "degrade"``, a bad route alone is no reason: the others run."""
        errors = self.errors
        if self.settings.on_bad_route == "degrade" and self.routes:
            of_bad_routes = [finding for findings in self.bad_routes.values() for finding in findings]
            errors = [finding for finding in errors if finding not in of_bad_routes]
        return bool(errors)

    def report(self) -> None:
        """Log what was found since the last report; if nothing can run, raise it instead, as one ConfigError."""
        if self.is_fatal:
            raise self.found.error()
        for finding in self.findings:
            logger.log(logging.ERROR if finding.level == "error" else logging.WARNING, "%s", finding)
        self.found = Findings(self.found.order)


def resolve(config: Config, only: Sequence[str] = ()) -> Resolved:
    """Load plugins, find components, import user code.

    Nothing is opened. Modules of plugins and of the user are imported, so that what stands in them is run.

    Args:
        config: what was read, its findings included.
        only: names of the routes that are wanted; empty = all.
    """
    settings = config.settings
    _look_in(settings.import_paths)
    plugins = loader.load(settings.plugins_disable, settings.plugins_only)
    found = Findings(lambda finding: position(config.raw, undotted(finding.where)))
    resolved = Resolved(settings, plugins, found)
    _add_configuration(resolved, config)
    _add_plugins(resolved)
    names = [route.name for route in settings.routes]
    found.add(_no_such_route(name, names) for name in only if name not in names)
    resolver = Resolver(plugins.registry, settings.defaults, {finding.where for finding in config.findings})
    found.attempt(resolver.check_defaults, [plugin.plugin for plugin in plugins.plugins])
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
"""The place of a finding that is about a route; its name as group 1, quoted where a dotted path needs that."""


def _add_configuration(resolved: Resolved, config: Config) -> None:
    """Add what was found when the configuration was read. A route with an error in it is a bad one."""
    resolved.found.add(config.findings)
    resolved.found.add(_no_such_folder(path) for path in config.settings.import_paths if not path.is_dir())
    for finding in config.findings:
        place = _ROUTE.match(finding.where)
        if place and finding.level == "error":
            resolved.note_bad(place[1], [finding])


def _add_plugins(resolved: Resolved) -> None:
    """Add what was found when the plugins were loaded."""
    resolved.found.add(resolved.plugins.findings)
    for plugin in resolved.plugins.plugins:
        if plugin.state == "broken":
            resolved.found.add(_broken(plugin))


def _look_in(paths: Sequence[Path]) -> None:
    """Have Python import from these folders before all others, in this order."""
    wanted = [str(path) for path in paths]
    sys.path[:] = [*wanted, *(path for path in sys.path if path not in wanted)]


def _built(resolver: Resolver, kind: Kind, settings: Settings) -> list[tuple[str, object]]:
    """Build what the section ``loafer`` names of a kind: each with its label."""

    def build(resolved: ResolvedComponent) -> tuple[str, object]:
        component = resolved.build()
        check_methods(kind.name, resolved, component)
        return resolved.label, component

    wrong = Findings()
    components = resolver.components(kind.name, getattr(settings, kind.key), kind.place)
    built = [wrong.attempt(build, component) for component in components]
    wrong.raise_if_any()
    return [pair for pair in built if pair is not None]


def _no_such_folder(path: Path) -> Finding:
    return Finding("loafer.import_paths", f"there is no folder {path}", "warning")


def _broken(plugin: Plugin) -> ConfigError:
    error = ConfigError(Finding(f"plugin {plugin.owner}", f"broken: {plugin.reason}", "warning"))
    error.__cause__ = plugin.error
    return error


def _no_such_route(name: str, names: Sequence[str]) -> Finding:
    return Finding("--route", f"there is no route {name!r}{suggestion(name, names)}")
