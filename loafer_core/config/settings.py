"""Configuration: what ``loafer.toml`` may say. Names of components are looked up later, by who knows the plugins."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pydantic import create_model

from loafer_core.api.declarations import NAME
from loafer_core.api.errors import ConfigError, Finding
from loafer_core.api.kinds import KINDS, kinds_in
from loafer_core.api.options import Options
from loafer_core.api.route import Breaker, Retry, Route, Seconds
from loafer_core.config.references import Alone, ModuleAttribute, One, Several
from loafer_core.config.sources import Override, OverrideError, interpolate, load, override, read_overrides
from loafer_core.config.validation import check
from loafer_core.config.wording import Problem, dotted, position, shown

__all__ = ["Config", "OverrideError", "Settings", "check_route", "read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a configuration says, checked. Components are as they were given: a string, a table, or an object."""

    shutdown_timeout: Seconds = 25.0
    """Seconds from the first signal to exit."""
    import_paths: tuple[Path, ...] = ()
    """Absolute; to be put on ``sys.path``."""
    lifespan: ModuleAttribute | None = None
    on_bad_route: Literal["exit", "degrade"] = "exit"
    observers: Several = ()
    sample_interval: Seconds = 10.0
    """Seconds between two samples for observers."""
    plugins_disable: tuple[str, ...] = ()
    plugins_only: tuple[str, ...] = ()
    defaults: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """Options by plugin (entry-point name)."""
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration as far as it could be read.

    If ``findings`` has errors, ``settings`` holds what is right, so that the caller can look for more: what is wrong
    has its default, and a component that is wrong or missing is None, to be passed over.
    """

    settings: Settings
    findings: tuple[Finding, ...] = ()
    """Everything wrong, in the order of the file."""
    path: Path | None = None
    """None for a mapping."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What was read, overrides included, before any ``${VAR}`` was filled in: the order of what is written there."""


def _table(kind: type, *names: str, **kinds: object) -> type[Options]:
    """Make the model of a TOML table from the dataclass that it fills: names, kinds and limits stand only there."""
    hints = get_type_hints(kind, include_extras=True) | kinds
    definitions: dict[str, Any] = {name: (hints[name], None) for name in names}
    return create_model(f"{kind.__name__}Table", __base__=Options, **definitions)


_ELSEWHERE = {"plugins_disable", "plugins_only", "defaults", "routes"}
"""The fields of Settings that are not keys of the section ``loafer``."""
_LOAFER = _table(Settings, *(field.name for field in fields(Settings) if field.name not in _ELSEWHERE))
_PLUGINS = _table(Settings, "disable", "only", disable=tuple[str, ...], only=tuple[str, ...])
_ROUTE = _table(
    Route,
    *(field.name for field in fields(Route) if field.name != "name"),
    **{kind.key: Several if kind.many else One for kind in kinds_in("routes")},
)
FILE: type[Any] = create_model(
    "File",
    __base__=Options,
    loafer=(_LOAFER, _LOAFER()),
    plugins=(_PLUGINS, _PLUGINS()),
    defaults=(dict[str, dict[str, Any]], {}),
    routes=(dict[str, _ROUTE], {}),  # type: ignore[valid-type]  # a model made at run time
)


def read(
    source: str | os.PathLike[str] | Mapping[str, object] | None = None,
    *,
    overrides: Sequence[str] = (),
    env: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Config:
    """Read a file (None: ./loafer.toml, else ./pyproject.toml with [tool.loafer]) or the same as a mapping.

    ``overrides`` are ``KEY=VALUE`` texts that win over it. Everything wrong is in the findings; raises ConfigError if
    there is nothing to read, OverrideError if an override has another shape.
    """
    cwd = Path.cwd() if cwd is None else cwd
    try:
        pairs = read_overrides(overrides)
        if isinstance(source, Mapping):
            return _config(source, pairs, env, cwd)
        raw, findings, path = load(source, cwd)
        config = _config(raw, pairs, env, path.parent)
    except RecursionError:
        raise ConfigError(Finding("", "the configuration is nested too deeply")) from None
    return replace(config, findings=(*findings, *config.findings), path=path)


def _config(raw: Mapping[str, Any], pairs: Sequence[Override], env: Mapping[str, str], base: Path) -> Config:
    written, unreachable = override(raw, pairs)
    raw, unfilled = interpolate(written, env)
    table, misshapen = check(FILE, raw)
    misshapen = [_as_written(problem, raw) for problem in misshapen]
    if table is None:
        table = check(FILE, _without(raw, misshapen))[0] or FILE()
    reported = {problem.path for problem in unfilled}
    misshapen = [p for p in misshapen if not {p.path, (*p.path, "name")} & reported]
    problems = [*unreachable, *unfilled, *misshapen, *_missing(raw)]
    problems.sort(key=lambda problem: position(raw, problem.path))
    findings = tuple(Finding(dotted(*problem.path), problem.message) for problem in problems)
    return Config(_settings(table, raw, base), findings, raw=written)


def _as_written(problem: Problem, raw: Any) -> Problem:
    """One component is read as a list of one; where it was not written as one, its place has no index."""
    path: list[str | int] = []
    for part in problem.path:
        if isinstance(part, int) and not isinstance(raw, list | tuple):
            continue
        path.append(part)
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            raw = None
    return Problem(tuple(path), problem.message)


def _missing(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what the models let pass, for the sake of ``Config.settings``: what a route must have."""
    routes = raw.get("routes", {})
    if routes == {}:
        yield Problem(("routes",), "none; add a table [routes.NAME] with provider and handler")
    for name, route in routes.items() if isinstance(routes, Mapping) else ():
        if isinstance(name, str) and not NAME.fullmatch(name):
            yield Problem(("routes", name), _BAD_NAME)
        for key, why in _NEEDED.items() if isinstance(route, Mapping) else ():
            if key not in route:
                yield Problem(("routes", name, key), f"missing; {why}")


_BAD_NAME = "a route's name is a lower-case letter, then lower-case letters, digits, '_' or '-'"
_NEEDED = {
    "provider": "a route needs a component where its messages come from",
    "handler": "a route needs a component that its messages go to",
}


def _without(raw: Mapping[str, Any], problems: Iterable[Problem]) -> Any:
    """Leave out what is wrong: whole keys of a section or route, but of a list only the item."""
    wrong: set[tuple[object, ...]] = set()
    for path, _ in problems:
        depth = 3 if path[:1] == ("routes",) else 2
        wrong.add(path[: depth + 1] if len(path) > depth and isinstance(path[depth], int) else path[:depth])
    return _cut(raw, wrong, ())


def _cut(value: Any, wrong: Set[tuple[object, ...]], path: tuple[object, ...]) -> Any:
    if isinstance(value, Mapping):
        items = ((name, inner, (*path, name)) for name, inner in value.items())
        return {name: _cut(inner, wrong, place) for name, inner, place in items if place not in wrong}
    if isinstance(value, list | tuple):
        return [_cut(inner, wrong, place) for at, inner in enumerate(value) if (place := (*path, at)) not in wrong]
    return value


def _settings(table: Any, raw: Mapping[str, Any], base: Path) -> Settings:
    parts = _singled(_given(table.loafer), raw.get("loafer"))
    paths = parts.pop("import_paths", (Path(),))
    return Settings(
        **parts,
        import_paths=tuple(Path(os.path.abspath(base / path)) for path in paths),
        plugins_disable=table.plugins.disable or (),
        plugins_only=table.plugins.only or (),
        defaults=table.defaults,
        routes=tuple(_route(name, _given(route), raw["routes"][name]) for name, route in table.routes.items()),
    )


def _given(table: Options) -> dict[str, Any]:
    return {name: getattr(table, name) for name in table.model_fields_set}


def _route(name: str, parts: dict[str, Any], raw: Mapping[str, Any]) -> Route:
    single = [kind.key for kind in kinds_in("routes") if not kind.many]
    absent = {key: None for key in single if key in raw or key in _NEEDED}
    return Route(name, **absent | _singled(parts, raw))


def _singled(parts: dict[str, Any], raw: Any) -> dict[str, Any]:
    """What is wrong with a component that was not written in a list has a place without an index."""
    lists = {kind.key for kind in KINDS.values() if kind.many}
    alone = {key for key in lists & parts.keys() if not isinstance(raw[key], list | tuple)}
    return {key: Alone(part) if key in alone else part for key, part in parts.items()}


def check_route(route: Route) -> list[Finding]:
    """Find what is wrong with a route that was made in Python: the rules of a file, but for strings as numbers."""
    problems = [] if NAME.fullmatch(str(route.name)) else [Problem((), _BAD_NAME)]
    given = {f.name: getattr(route, f.name) for f in fields(Route) if f.name != "name"}
    # pydantic takes a ready Retry as it is, so the rules inside it are only asked of its fields
    opened = {key: asdict(part) if isinstance(part, Retry | Breaker) else part for key, part in given.items()}
    problems += (misshapen := [_as_written(problem, opened) for problem in check(_ROUTE, opened)[1]])
    wrong = {path[0] for path, _ in misshapen}
    right = check(_ROUTE, {key: part for key, part in opened.items() if key not in wrong})[0]
    for key in given.keys() - wrong - {kind.key for kind in kinds_in("routes")}:
        read, written = getattr(right, key), given[key]
        if read != written or type(written) not in (type(read), int):
            problems.append(Problem((key,), f"give {read!r} itself, not {shown(written)}"))
    problems.sort(key=lambda problem: position(given, problem.path))
    return [Finding(dotted(dotted("routes", route.name), *path), message) for path, message in problems]
