"""Finding the installed plugins and asking each for its declarations: a broken one is named, and hurts nobody else.

Not by pluggy's own entry-point loader: that one lets the first broken plugin stop all that follow, and drops a second
plugin of the same name without a word. Here each is imported, checked, registered and asked by itself.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import textwrap
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from types import ModuleType
from typing import Any, Literal

import pluggy

from loafer_core.api.declarations import NAME, Spec
from loafer_core.api.errors import Finding
from loafer_core.api.hookspecs import APIS, Hooks
from loafer_core.api.kinds import KINDS, Kind
from loafer_core.discovery import installed as _metadata
from loafer_core.discovery.import_guard import TookTooLong, bounded
from loafer_core.discovery.installed import CORE, Installed, canonical
from loafer_core.discovery.name_clashes import of_components, of_names
from loafer_core.discovery.registry import Offer, Registry

State = Literal["ok", "broken", "blocked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One installed plugin and what became of it."""

    plugin: str
    """The entry point's name."""
    distribution: str
    version: str
    summary: str
    origin: str
    state: State | None = None
    """None: it was not loaded (``scan_only``)."""
    reason: str | None = None
    """Why it is broken or blocked, in one line."""
    provides: tuple[Spec[Any, Any], ...] = ()
    error: BaseException | None = field(default=None, repr=False, compare=False)
    """What its import or its hook raised; None where the reason says it all."""
    load_seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    """What it could be mistaken for."""

    @property
    def owner(self) -> str:
        return f"{self.distribution}/{self.plugin}"


@dataclass(frozen=True, slots=True)
class Plugins:
    """All plugins, the core's own first; the components of those that are ok; and what there is to warn about."""

    plugins: tuple[Plugin, ...]
    registry: Registry
    findings: list[Finding]
    """Warnings about the switches and the names. What is broken is in ``plugins``."""


def scan_only() -> tuple[Plugin, ...]:
    """List what is installed, the core's own first. Imports no plugin."""
    rows = [_metadata.core(), *_metadata.installed()]
    return tuple(replace(_not_loaded(row), warnings=tuple(of_names(row, rows, ()))) for row in rows)


def load(
    disable: Iterable[str] = (),
    only: Iterable[str] = (),
    *,
    env: Mapping[str, str] = os.environ,
    end_process: bool = False,
) -> Plugins:
    """Load every installed plugin that is not switched off, each by itself. Never raises for a plugin's fault.

    ``disable`` and ``only`` hold entry-point names or ``distribution/entry-point``, as do LOAFER_PLUGINS_DISABLE and
    LOAFER_PLUGINS_ONLY (with commas). Each of the four can only take away: a plugin is loaded if none of them objects.
    Who is switched off is never imported. The core's own plugin cannot be switched off. A plugin whose import hangs is
    interrupted and broken; where it cannot be interrupted, ``end_process`` ends the process.
    """
    installed = _metadata.installed()
    switches = _switches(disable, only, env)
    manager = pluggy.PluginManager("loafer")
    manager.add_hookspecs(Hooks)
    plugins = [_load(_metadata.core(), manager, nullcontext())]
    for row in installed:
        objection = next(filter(None, (switch.objection(row) for switch in switches)), None)
        blocked = replace(_not_loaded(row), state="blocked", reason=objection)
        bound = bounded(f"importing the plugin {row.owner}", end_process=end_process)
        plugins.append(blocked if objection else _load(row, manager, bound))
    findings = [finding for switch in switches for finding in switch.findings(installed)]
    registry = _registry(plugins)
    vouched = {name for switch in switches if switch.allows for name in switch.names}
    plugins = _compared(plugins, [_metadata.core(), *installed], registry, vouched)
    findings += [Finding(plugin.owner, text, "warning") for plugin in plugins for text in plugin.warnings]
    return Plugins(tuple(plugins), registry, findings)


def _compared(
    plugins: Iterable[Plugin], rows: Iterable[Installed], registry: Registry, vouched: Collection[str]
) -> list[Plugin]:
    """Say of each plugin that is not switched off what it could be mistaken for."""
    pairs = [(plugin, row) for plugin, row in zip(plugins, rows, strict=True)]
    used = [row for plugin, row in pairs if plugin.state != "blocked"]
    return [
        replace(plugin, warnings=(*of_names(row, used, vouched), *of_components(row, registry)))
        if row in used
        else plugin
        for plugin, row in pairs
    ]


@dataclass(frozen=True, slots=True)
class _Switch:
    source: str
    names: tuple[str, ...]
    allows: bool

    def objection(self, row: Installed) -> str | None:
        named = any(_means(name, row) for name in self.names)
        if named == self.allows:
            return None
        return f"{self.source} {'does not name' if self.allows else 'names'} it"

    def findings(self, installed: Iterable[Installed]) -> Iterator[Finding]:
        rows = [_metadata.core(), *installed]
        for name in self.names:
            meant = next((row for row in rows if _means(name, row)), None)
            if meant is None:
                near = get_close_matches(name, [name for row in rows[1:] for name in (row.name, row.owner)], n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                yield Finding(self.source, f"no installed plugin is called {name!r}{hint}", "warning")
            elif meant.distribution == CORE and not self.allows:
                yield Finding(self.source, f"{name!r} is the core's own plugin and cannot be blocked", "warning")


def _switches(disable: Iterable[str], only: Iterable[str], env: Mapping[str, str]) -> list[_Switch]:
    switches = [
        _Switch("plugins.disable", tuple(disable), allows=False),
        _Switch("LOAFER_PLUGINS_DISABLE", _listed(env, "LOAFER_PLUGINS_DISABLE"), allows=False),
        _Switch("plugins.only", tuple(only), allows=True),
        _Switch("LOAFER_PLUGINS_ONLY", _listed(env, "LOAFER_PLUGINS_ONLY"), allows=True),
    ]
    return [switch for switch in switches if switch.names]


def _listed(env: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, env.get(variable, "").split(","))))


def _means(name: str, row: Installed) -> bool:
    distribution, _, point = name.rpartition("/")
    return point == row.name and (not distribution or canonical(distribution) == row.distribution)


class _Broken(Exception):
    """Why a plugin cannot be used; what it raised itself is the cause."""


def _load(row: Installed, manager: pluggy.PluginManager, bound: AbstractContextManager[None]) -> Plugin:
    started = time.perf_counter()
    try:
        with bound:
            loaded = replace(_not_loaded(row), state="ok", provides=tuple(_declarations(row, manager)))
    except (Exception, TookTooLong) as error:
        # What has been registered up to here must not be seen by the next plugin's check for unknown hooks.
        manager.unregister(name=row.owner)
        cause = error.__cause__ if isinstance(error, _Broken) else error
        reason = str(error) if isinstance(error, _Broken | TookTooLong) else _brief(error)
        loaded = replace(_not_loaded(row), state="broken", reason=reason, error=cause)
    return replace(loaded, load_seconds=time.perf_counter() - started)


def _declarations(row: Installed, manager: pluggy.PluginManager) -> Iterator[Spec[Any, Any]]:
    module = _imported(row)
    _register(module, row, manager)
    seen: set[tuple[str, str]] = set()
    for kind in KINDS.values():
        for implementation in getattr(manager.hook, kind.hook).get_hookimpls():
            if implementation.plugin is not module:
                continue
            for spec in _answer(kind, implementation):
                _check(spec, row)
                if (spec.kind, spec.name) in seen:
                    raise _Broken(f"{kind.hook}() declares {spec.name!r} twice")
                seen.add((spec.kind, spec.name))
                yield spec


def _imported(row: Installed) -> ModuleType:
    if not NAME.fullmatch(row.name):
        raise _Broken(f"the entry point's name {row.name!r} is not of the form {NAME.pattern}")
    if not re.fullmatch(r"\w+(\.\w+)*", row.module):
        raise _Broken(f"its entry point names {row.module!r}, which is not a module")
    try:
        module = importlib.import_module(row.module)
    except (Exception, SystemExit) as error:
        raise _Broken(f"cannot import {row.module!r}: {_brief(error)}{_way_out(error, row)}") from error
    _check_api(getattr(module, "LOAFER_API", None), row)
    return module


def _way_out(error: BaseException, row: Installed) -> str:
    """Give what helps a plugin that misses a name of ours: it fails before it has said its number."""
    if not isinstance(error, ImportError) or (error.name or "").partition(".")[0] != "loafer_core":
        return ""
    return f"; if it was written for another loafer-core: pip install -U {CORE} {row.distribution}"


def _check_api(api: object, row: Installed) -> None:
    newest = max(APIS)
    if api is None:
        raise _Broken(f"{row.module} does not say LOAFER_API = {newest}")
    if type(api) is not int:
        raise _Broken(f"its LOAFER_API is {api!r}, which is no whole number such as {newest}")
    if api not in APIS:
        loads, outdated = ", ".join(map(str, APIS)), CORE if api > newest else row.distribution
        raise _Broken(
            f"it was written for plugin API {api}, and this loafer-core loads {loads}: pip install -U {outdated}"
        )


def _register(module: ModuleType, row: Installed, manager: pluggy.PluginManager) -> None:
    if other := manager.get_name(module):
        raise _Broken(f"its module {row.module} is the plugin {other} already")
    manager.register(module, name=row.owner)
    callers = manager.get_hookcallers(module) or []
    hooks = [kind.hook for kind in KINDS.values()]
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        unknown = next(caller.name for caller in callers if not caller.has_spec())
        near = get_close_matches(unknown, hooks, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise _Broken(f"there is no hook {unknown!r}{hint}") from None
    marked = {caller.name for caller in callers}
    if unmarked := [hook for hook in hooks if hook in vars(module) and hook not in marked]:
        raise _Broken(f"{unmarked[0]}() is not marked with @hookimpl")


def _answer(kind: Kind, implementation: pluggy.HookImpl) -> Iterable[Spec[Any, Any]]:
    hook, declares = kind.hook, kind.spec.__name__
    if implementation.wrapper or implementation.hookwrapper:
        raise _Broken(f"{hook}() is a wrapper; a plugin declares its own components only")
    if inspect.iscoroutinefunction(implementation.function):
        raise _Broken(f"{hook}() is a coroutine function; it must be a plain one")
    try:
        answer = implementation.function()
    except (Exception, SystemExit) as error:
        raise _Broken(f"{hook}() raised {_brief(error)}") from error
    if not isinstance(answer, (list, tuple)):
        raise _Broken(f"{hook}() returned {type(answer).__name__}; it must return a list of {declares}")
    for spec in answer:
        if not isinstance(spec, kind.spec) or spec.kind != kind.name:
            raise _Broken(f"{hook}() returned a list with {type(spec).__name__} in it; all must be {declares}")
    return answer


def _check(spec: Any, row: Installed) -> None:
    if not isinstance(spec.name, str) or not NAME.fullmatch(spec.name):
        raise _Broken(f"the {spec.kind}'s name {spec.name!r} is not of the form {NAME.pattern}")
    if not isinstance(spec.summary, str) or len(spec.summary.strip().splitlines()) != 1:
        raise _Broken(f"the {spec.kind} {spec.name!r} has no summary of one line")
    if not callable(spec.factory):
        raise _Broken(f"the {spec.kind} {spec.name!r} has a factory that cannot be called")
    if spec.kind == "sandbox" and spec.name != row.name:
        raise _Broken(f"the sandbox {spec.name!r} must have the name of the entry point, {row.name!r}")


def _registry(plugins: Iterable[Plugin]) -> Registry:
    registry = Registry()
    for plugin in plugins:
        for spec in plugin.provides:
            registry.add(Offer(spec, plugin.distribution, plugin.plugin))
        if plugin.state in ("broken", "blocked"):
            registry.note_unusable(
                plugin=plugin.plugin, distribution=plugin.distribution, state=plugin.state, reason=plugin.reason or ""
            )
    return registry


def _not_loaded(row: Installed) -> Plugin:
    return Plugin(
        plugin=row.name, distribution=row.distribution, version=row.version, summary=row.summary, origin=row.origin
    )


def _brief(error: BaseException) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")
