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
from collections.abc import Iterable, Iterator, Mapping
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
from loafer_core.discovery.import_guard import TookTooLong, time_limit
from loafer_core.discovery.installed import CORE, Installed, canonical, core_plugin, installed_plugins
from loafer_core.discovery.name_clashes import clashes_of_components, clashes_of_names
from loafer_core.discovery.registry import Offer, Registry

State = Literal["ok", "broken", "blocked"]
"""``broken``: it cannot be used, and ``Plugin.reason`` says why. ``blocked``: the user does not want it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One installed plugin and what became of it."""

    plugin: str
    """The entry point's name."""
    distribution: str
    version: str
    summary: str
    origin: str
    """Where the distribution was installed from."""
    state: State | None = None
    """None: it was not loaded (``scan_only``)."""
    reason: str | None = None
    """Why it is broken or blocked, in one line."""
    provides: tuple[Spec[Any, Any], ...] = ()
    error: BaseException | None = field(default=None, repr=False, compare=False)
    """What its import or its hook raised; None where the reason says it all."""
    load_seconds: float = 0.0
    """How long it took to import the plugin and to ask its hooks."""
    warnings: tuple[str, ...] = ()
    """What it could be mistaken for, one sentence each."""

    @property
    def owner(self) -> str:
        """``distribution/entry-point``: what ``plugins.disable`` understands."""
        return f"{self.distribution}/{self.plugin}"


@dataclass(frozen=True, slots=True)
class Plugins:
    """What loading the plugins came to."""

    plugins: tuple[Plugin, ...]
    """All that are installed, the core's own first."""
    registry: Registry
    """The components of those that are ok."""
    findings: list[Finding]
    """Warnings about names: unknown ones in ``plugins.disable`` and ``plugins.only``, and those of two plugins."""


def scan_only() -> tuple[Plugin, ...]:
    """List what is installed, the core's own first. Imports no plugin."""
    entries = [core_plugin(), *installed_plugins()]
    return tuple(replace(_not_loaded(entry), warnings=tuple(clashes_of_names(entry, entries))) for entry in entries)


def load(
    disable: Iterable[str] = (),
    only: Iterable[str] = (),
    *,
    env: Mapping[str, str] = os.environ,
    end_process: bool = False,
) -> Plugins:
    """Load every installed plugin that is not blocked, each by itself. Never raises for a plugin's fault.

    A plugin that is blocked is never imported. The core's own plugin cannot be blocked.

    Args:
        disable: plugins that are blocked, by the entry point's name or as ``distribution/entry-point``.
        only: if not empty, all other plugins are blocked.
        env: LOAFER_PLUGINS_DISABLE and LOAFER_PLUGINS_ONLY in it (names with commas) block as well: a plugin is
            loaded if none of the four blocks it.
        end_process: end the process if a plugin's import takes too long and cannot be interrupted. An import that
            can be interrupted makes the plugin a broken one.
    """
    entries = installed_plugins()
    filters = _filters(disable, only, env)
    manager = pluggy.PluginManager("loafer")
    manager.add_hookspecs(Hooks)
    plugins = [_load(core_plugin(), manager, nullcontext())]
    for entry in entries:
        objections = [objection for one in filters if (objection := one.objection(entry)) is not None]
        if objections:
            plugins.append(replace(_not_loaded(entry), state="blocked", reason=objections[0]))
        else:
            limit = time_limit(f"importing the plugin {entry.owner}", end_process=end_process)
            plugins.append(_load(entry, manager, limit))
    registry = _registry(plugins)
    named_in_full = {name for one in filters if one.is_only for name in one.names}
    clashes = _clashes([core_plugin(), *entries], plugins, registry, named_in_full)
    plugins = [replace(plugin, warnings=clashes.get(plugin.owner, ())) for plugin in plugins]
    findings = [finding for one in filters for finding in one.findings(entries)]
    findings += [Finding(plugin.owner, text, "warning") for plugin in plugins for text in plugin.warnings]
    return Plugins(tuple(plugins), registry, findings)


def _clashes(
    entries: Iterable[Installed], plugins: Iterable[Plugin], registry: Registry, named_in_full: set[str]
) -> dict[str, tuple[str, ...]]:
    """Find the name clashes of each plugin that is not blocked, by its owner. A blocked plugin is no rival either."""
    blocked = {plugin.owner for plugin in plugins if plugin.state == "blocked"}
    used = [entry for entry in entries if entry.owner not in blocked]
    return {
        entry.owner: (*clashes_of_names(entry, used, named_in_full), *clashes_of_components(entry, registry))
        for entry in used
    }


@dataclass(frozen=True, slots=True)
class _Filter:
    """One of the four lists of names that can block a plugin."""

    source: str
    """What the user calls it: ``plugins.only``, or an environment variable."""
    names: tuple[str, ...]
    is_only: bool
    """True: it blocks what it does not name. False: it blocks what it names."""

    def objection(self, entry: Installed) -> str | None:
        """Say why this list blocks the plugin; None: it does not."""
        is_named = any(_is_name_of(entry, name) for name in self.names)
        if is_named == self.is_only:
            return None
        return f"{self.source} {'does not name' if self.is_only else 'names'} it"

    def findings(self, entries: Iterable[Installed]) -> Iterator[Finding]:
        """Warn of the names that name no plugin, or the core's own."""
        others = list(entries)
        for name in self.names:
            named = next((entry for entry in (core_plugin(), *others) if _is_name_of(entry, name)), None)
            if named is None:
                known = [known for entry in others for known in (entry.name, entry.owner)]
                near = get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                yield Finding(self.source, f"no installed plugin is called {name!r}{hint}", "warning")
            elif named.distribution == CORE and not self.is_only:
                yield Finding(self.source, f"{name!r} is the core's own plugin and cannot be blocked", "warning")


def _filters(disable: Iterable[str], only: Iterable[str], env: Mapping[str, str]) -> list[_Filter]:
    filters = [
        _Filter("plugins.disable", tuple(disable), is_only=False),
        _Filter("LOAFER_PLUGINS_DISABLE", _listed(env, "LOAFER_PLUGINS_DISABLE"), is_only=False),
        _Filter("plugins.only", tuple(only), is_only=True),
        _Filter("LOAFER_PLUGINS_ONLY", _listed(env, "LOAFER_PLUGINS_ONLY"), is_only=True),
    ]
    return [one for one in filters if one.names]


def _listed(env: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, env.get(variable, "").split(","))))


def _is_name_of(entry: Installed, name: str) -> bool:
    distribution, _, point = name.rpartition("/")
    return point == entry.name and (not distribution or canonical(distribution) == entry.distribution)


class _Broken(Exception):
    """Why a plugin cannot be used; what it raised itself is the cause."""


def _load(entry: Installed, manager: pluggy.PluginManager, limit: AbstractContextManager[None]) -> Plugin:
    started = time.perf_counter()
    try:
        with limit:
            loaded = replace(_not_loaded(entry), state="ok", provides=tuple(_declarations(entry, manager)))
    except (Exception, TookTooLong) as error:
        # What has been registered up to here must not be seen by the next plugin's check for unknown hooks.
        manager.unregister(name=entry.owner)
        cause = error.__cause__ if isinstance(error, _Broken) else error
        reason = str(error) if isinstance(error, _Broken | TookTooLong) else _in_one_line(error)
        loaded = replace(_not_loaded(entry), state="broken", reason=reason, error=cause)
    return replace(loaded, load_seconds=time.perf_counter() - started)


def _declarations(entry: Installed, manager: pluggy.PluginManager) -> Iterator[Spec[Any, Any]]:
    """Import, register and ask one plugin. Raises _Broken; what a plugin's code raises otherwise comes through."""
    module = _imported(entry)
    _register(module, entry, manager)
    seen: set[tuple[str, str]] = set()
    for kind in KINDS.values():
        for implementation in getattr(manager.hook, kind.hook).get_hookimpls():
            if implementation.plugin is not module:
                continue
            for spec in _answer(kind, implementation):
                _check(spec, entry)
                if (spec.kind, spec.name) in seen:
                    raise _Broken(f"{kind.hook}() declares {spec.name!r} twice")
                seen.add((spec.kind, spec.name))
                yield spec


def _imported(entry: Installed) -> ModuleType:
    if not NAME.fullmatch(entry.name):
        raise _Broken(f"the entry point's name {entry.name!r} is not of the form {NAME.pattern}")
    if not re.fullmatch(r"\w+(\.\w+)*", entry.module):
        raise _Broken(f"its entry point names {entry.module!r}, which is not a module")
    try:
        module = importlib.import_module(entry.module)
    except (Exception, SystemExit) as error:
        raise _Broken(f"cannot import {entry.module!r}: {_in_one_line(error)}{_way_out(error, entry)}") from error
    _check_api(getattr(module, "LOAFER_API", None), entry)
    return module


def _way_out(error: BaseException, entry: Installed) -> str:
    """Say what helps a plugin that imports a name that the core does not have: its LOAFER_API was not read yet."""
    if not isinstance(error, ImportError) or (error.name or "").partition(".")[0] != "loafer_core":
        return ""
    return f"; if it was written for another loafer-core: pip install -U {CORE} {entry.distribution}"


def _check_api(api: object, entry: Installed) -> None:
    newest = max(APIS)
    if api is None:
        raise _Broken(f"{entry.module} does not say LOAFER_API = {newest}")
    if type(api) is not int:
        raise _Broken(f"its LOAFER_API is {api!r}, which is no whole number such as {newest}")
    if api not in APIS:
        loads = ", ".join(map(str, APIS))
        outdated = CORE if api > newest else entry.distribution
        advice = f"pip install -U {outdated}"
        raise _Broken(f"it was written for plugin API {api}, and this loafer-core loads {loads}: {advice}")


def _register(module: ModuleType, entry: Installed, manager: pluggy.PluginManager) -> None:
    if other := manager.get_name(module):
        raise _Broken(f"its module {entry.module} is the plugin {other} already")
    manager.register(module, name=entry.owner)
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
    """Call a plugin's hook, and see to it that it returned a list of specs of the hook's kind."""
    hook = kind.hook
    wanted = kind.spec.__name__
    if implementation.wrapper or implementation.hookwrapper:
        raise _Broken(f"{hook}() is a wrapper; a plugin declares its own components only")
    if inspect.iscoroutinefunction(implementation.function):
        raise _Broken(f"{hook}() is a coroutine function; it must be a plain one")
    try:
        answer = implementation.function()
    except (Exception, SystemExit) as error:
        raise _Broken(f"{hook}() raised {_in_one_line(error)}") from error
    if not isinstance(answer, (list, tuple)):
        raise _Broken(f"{hook}() returned {type(answer).__name__}; it must return a list of {wanted}")
    for spec in answer:
        if not isinstance(spec, kind.spec) or spec.kind != kind.name:
            raise _Broken(f"{hook}() returned a list with {type(spec).__name__} in it; all must be {wanted}")
    return answer


def _check(spec: Any, entry: Installed) -> None:
    if not isinstance(spec.name, str) or not NAME.fullmatch(spec.name):
        raise _Broken(f"the {spec.kind}'s name {spec.name!r} is not of the form {NAME.pattern}")
    if not isinstance(spec.summary, str) or len(spec.summary.strip().splitlines()) != 1:
        raise _Broken(f"the {spec.kind} {spec.name!r} has no summary of one line")
    if not callable(spec.factory):
        raise _Broken(f"the {spec.kind} {spec.name!r} has a factory that cannot be called")
    if spec.kind == "sandbox" and spec.name != entry.name:
        raise _Broken(f"the sandbox {spec.name!r} must have the name of the entry point, {entry.name!r}")


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


def _not_loaded(entry: Installed) -> Plugin:
    return Plugin(
        plugin=entry.name,
        distribution=entry.distribution,
        version=entry.version,
        summary=entry.summary,
        origin=entry.origin,
    )


def _in_one_line(error: BaseException) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")
