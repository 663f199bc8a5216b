"""What ``loafer.toml`` may say. The components that it names are found later, by code that knows the plugins."""

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
from loafer_core.config.references import ModuleAttribute, One, Several, Unlisted
from loafer_core.config.sources import Override, OverrideError, interpolate, load, override, read_overrides
from loafer_core.config.validation import check
from loafer_core.config.wording import Problem, dotted, position, shown

__all__ = ["Config", "OverrideError", "Settings", "check_route", "read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a configuration says, checked. A component is what was given: a string, a table, or an object."""

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

    If ``findings`` has errors, ``settings`` holds what is right, so that the caller can look for more errors. What is
    wrong has its default; a component that is wrong or missing is None, and nothing more needs to be said of it.
    """

    settings: Settings
    findings: tuple[Finding, ...] = ()
    """Everything wrong, in the order of the file."""
    path: Path | None = None
    """None for a mapping."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What was read, overrides included, before any ``${VAR}`` was filled: findings are sorted by its order."""


def _table(filled: type, *names: str, **types: object) -> type[Options]:
    """Make the model of a TOML table from the dataclass that it fills, so that types and limits stand only there.

    ``types``: of the keys whose type is not the dataclass's own.
    """
    hints = get_type_hints(filled, include_extras=True) | types
    definitions: dict[str, Any] = {name: (hints[name], None) for name in names}
    return create_model(f"{filled.__name__}Table", __base__=Options, **definitions)


_OTHER_SECTIONS = {"plugins_disable", "plugins_only", "defaults", "routes"}
"""The fields of Settings that are not keys of the section ``loafer``."""
_LOAFER = _table(Settings, *(field.name for field in fields(Settings) if field.name not in _OTHER_SECTIONS))
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
"""The model of the whole file. What is not given has no value: Settings and Route have the defaults."""


def read(
    source: str | os.PathLike[str] | Mapping[str, object] | None = None,
    *,
    overrides: Sequence[str] = (),
    env: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Config:
    """Read a configuration. What is wrong with it is in the findings.

    Args:
        source: a file, or what would stand in it as a mapping. None: ./loafer.toml, else ./pyproject.toml.
        overrides: ``KEY=VALUE`` texts that win over it.
        env: what ``${VAR}`` is filled from.
        cwd: where the file is looked for; the current directory without.

    Raises:
        OverrideError: an override is not of the form ``KEY=VALUE``.
        ConfigError: there is nothing that could be read.
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


def _config(raw: Mapping[str, Any], overrides: Sequence[Override], env: Mapping[str, str], base: Path) -> Config:
    """Read a mapping. ``base``: the folder that relative paths in it start from."""
    written, unreachable = override(raw, overrides)
    filled, unfilled = interpolate(written, env)
    file, misshapen = check(FILE, filled)
    misshapen = [_as_written(problem, filled) for problem in misshapen]
    if file is None:
        file = check(FILE, _without(filled, misshapen))[0] or FILE()
    # An empty string stands where a variable is not set. That the variable is not set is all there is to say of it.
    unset = {problem.path for problem in unfilled}
    misshapen = [problem for problem in misshapen if not {problem.path, (*problem.path, "name")} & unset]
    problems = [*unreachable, *unfilled, *misshapen, *_missing(filled)]
    problems.sort(key=lambda problem: position(filled, problem.path))
    findings = tuple(Finding(dotted(*problem.path), problem.message) for problem in problems)
    return Config(_settings(file, filled, base), findings, raw=written)


def _as_written(problem: Problem, raw: Any) -> Problem:
    """Correct the place of a problem: the model reads one component as a list of one, which it was not in the file."""
    path: list[str | int] = []
    for step in problem.path:
        if isinstance(step, int) and not isinstance(raw, list | tuple):
            continue
        path.append(step)
        try:
            raw = raw[step]
        except (KeyError, IndexError, TypeError):
            raw = None
    return Problem(tuple(path), problem.message)


def _missing(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what a file or a route lacks. The models do not say it: they read whatever is there."""
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
"""The keys that a route must have, and why."""


def _without(raw: Mapping[str, Any], problems: Iterable[Problem]) -> Any:
    """Leave out each key of a section or a route that has a problem; where that is in a list, the item only."""
    wrong: set[tuple[object, ...]] = set()
    for path, _ in problems:
        depth = 3 if path[:1] == ("routes",) else 2  # routes.NAME.KEY, SECTION.KEY
        is_in_list = len(path) > depth and isinstance(path[depth], int)
        wrong.add(path[: depth + 1] if is_in_list else path[:depth])
    return _without_places(raw, wrong, ())


def _without_places(value: Any, wrong: Set[tuple[object, ...]], path: tuple[object, ...]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _without_places(inner, wrong, (*path, key))
            for key, inner in value.items()
            if (*path, key) not in wrong
        }
    if isinstance(value, list | tuple):
        return [
            _without_places(inner, wrong, (*path, index))
            for index, inner in enumerate(value)
            if (*path, index) not in wrong
        ]
    return value


def _settings(file: Any, raw: Mapping[str, Any], base: Path) -> Settings:
    """Fill Settings with what was read. ``raw`` is what was written: it still tells a list from what was none."""
    loafer = _unlisted(_given(file.loafer), raw.get("loafer"))
    paths = loafer.pop("import_paths", (Path(),))
    return Settings(
        **loafer,
        import_paths=tuple(Path(os.path.abspath(base / path)) for path in paths),
        plugins_disable=file.plugins.disable or (),
        plugins_only=file.plugins.only or (),
        defaults=file.defaults,
        routes=tuple(_route(name, _given(route), raw["routes"][name]) for name, route in file.routes.items()),
    )


def _given(table: Options) -> dict[str, Any]:
    return {key: getattr(table, key) for key in table.model_fields_set}


def _route(name: str, given: dict[str, Any], raw: Mapping[str, Any]) -> Route:
    single = [kind.key for kind in kinds_in("routes") if not kind.many]
    bad: dict[str, Any] = {key: None for key in single if key not in given and (key in raw or key in _NEEDED)}
    return Route(name, **bad, **_unlisted(given, raw))


def _unlisted(given: dict[str, Any], raw: Any) -> dict[str, Any]:
    """Mark the components that were written without a list, where a list could be: their places have no index."""
    may_be_lists = {kind.key for kind in KINDS.values() if kind.many}
    marked = {key for key in may_be_lists & given.keys() if not isinstance(raw[key], list | tuple)}
    return {key: Unlisted(value) if key in marked else value for key, value in given.items()}


def check_route(route: Route) -> list[Finding]:
    """Find what is wrong with a route that was made in Python: the rules of a file, but for strings as numbers."""
    given = {field.name: getattr(route, field.name) for field in fields(Route) if field.name != "name"}
    # pydantic takes an object of the wanted class as it is, so the rules inside of it must be asked of its fields.
    opened = {key: asdict(value) if isinstance(value, Retry | Breaker) else value for key, value in given.items()}
    misshapen = [_as_written(problem, opened) for problem in check(_ROUTE, opened)[1]]
    wrong = {path[0] for path, _ in misshapen}
    right = check(_ROUTE, {key: value for key, value in opened.items() if key not in wrong})[0]
    problems = [] if NAME.fullmatch(str(route.name)) else [Problem((), _BAD_NAME)]
    problems += misshapen
    for key in given.keys() - wrong - {kind.key for kind in kinds_in("routes")}:
        # In Python "10" is no 10: what pydantic had to convert is wrong, except for an integer where a float is wanted.
        read, written = getattr(right, key), given[key]
        if read != written or type(written) not in (type(read), int):
            problems.append(Problem((key,), f"give {read!r} itself, not {shown(written)}"))
    problems.sort(key=lambda problem: position(given, problem.path))
    return [Finding(dotted(dotted("routes", route.name), *path), message) for path, message in problems]
