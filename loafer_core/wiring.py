"""From settings to parts: components found by name, options validated, user code imported. Collects every finding.

Two steps, so that a sandbox can step between: ``resolve`` says what would be built, ``build`` builds it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal, cast

from loafer_core import options
from loafer_core.delivery import Delivery
from loafer_core.errors import ConfigError, Finding
from loafer_core.handlers import compile_error_handler, compile_handler, compile_middleware
from loafer_core.importer import import_target
from loafer_core.lifecycle import Lifecycle, lifecycle_of
from loafer_core.protocols import Provider, Translator
from loafer_core.registry import Offer, Registry, UnknownComponent
from loafer_core.route import Route
from loafer_core.threads import Threads

Kind = Literal["provider", "translator", "handler", "error_handler", "middleware", "observer"]


@dataclass(frozen=True, slots=True)
class Part:
    """A component that was found: where it is named, what it is, and what builds it."""

    where: str
    label: str
    """How people call it: its name in the configuration, or the name of its type."""
    build: Callable[[Any], object]
    """Takes the validated options."""
    options: Any = None
    offer: Offer | None = None
    """None: the user's own, by ``module:attribute`` or as an object."""
    raw: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RouteParts:
    """The parts of one route."""

    route: Route
    provider: Part
    translator: Part
    handler: Part
    error_handlers: tuple[Part, ...]
    middlewares: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Wired:
    """A route that can run."""

    delivery: Delivery
    provider: Provider
    lifecycles: tuple[Lifecycle, ...]
    threads: tuple[Threads, ...]
    parts: RouteParts


class Wiring:
    """Finds components for routes; ``findings`` has what was wrong, and each ``None`` answer is explained there."""

    def __init__(self, registry: Registry, defaults: Mapping[str, Mapping[str, object]]) -> None:
        self._registry, self._defaults = registry, defaults
        self.findings: list[Finding] = []

    def route(self, route: Route) -> RouteParts | None:
        """Resolve every component of a route; None when one could not be."""
        where = f"routes.{route.name}"
        parts = (
            self.part("provider", route.provider, f"{where}.provider"),
            self.part("translator", route.translator, f"{where}.translator"),
            self.part("handler", route.handler, f"{where}.handler"),
        )
        error_handlers = self.parts("error_handler", route.error_handler, f"{where}.error_handler")
        middlewares = self.parts("middleware", route.middleware, f"{where}.middleware")
        provider, translator, handler = parts
        if provider is None or translator is None or handler is None or None in (*error_handlers, *middlewares):
            return None
        return RouteParts(
            route,
            provider,
            translator,
            handler,
            tuple(p for p in error_handlers if p is not None),
            tuple(p for p in middlewares if p is not None),
        )

    def parts(self, kind: Kind, value: object, where: str) -> list[Part | None]:
        """Resolve one component or several."""
        if isinstance(value, (list, tuple)):
            return [self.part(kind, one, f"{where}[{index}]") for index, one in enumerate(value)]
        return [self.part(kind, value, where)]

    def part(self, kind: Kind, value: object, where: str) -> Part | None:
        """Resolve a component: a name, ``module:attribute``, a table with ``name``, or the object itself."""
        if value is None:
            return None  # wrong or missing, and reported when the configuration was read
        try:
            if isinstance(value, str):
                return self._named(kind, value, {}, where, short=True)
            if isinstance(value, Mapping):
                own = {key: option for key, option in value.items() if key != "name"}
                return self._named(kind, str(value.get("name", "")), own, where, short=False)
            return _own(value, type(value).__name__, {}, where, short=True)
        except ConfigError as error:
            self.findings.extend(error.findings)
        except UnknownComponent as error:
            self.findings.append(Finding(where, str(error)))
        return None

    def unused_defaults(self, plugins: Iterable[str]) -> None:
        """Report ``[defaults.x]`` for plugins that are not there, and options in it that no component of x has."""
        known = sorted(set(plugins))
        for plugin, given in self._defaults.items():
            where = f"defaults.{plugin}"
            offers = [offer for offer in self._registry.offers() if offer.plugin == plugin]
            if plugin not in known:
                self.findings.append(Finding(where, f"there is no plugin {plugin!r}{_suggest(plugin, known)}"))
            elif offers:
                for option in given:
                    if not any(options.has_option(offer.spec.options, option) for offer in offers):
                        names = sorted({f.name for offer in offers for f in options.fields(offer.spec.options)})
                        self.findings.append(
                            Finding(
                                f"{where}.{option}",
                                f"no component of the plugin {plugin!r} has this option{_suggest(option, names)}",
                            )
                        )

    def _named(self, kind: Kind, name: str, own: Mapping[str, object], where: str, *, short: bool) -> Part:
        if ":" in name:
            return _own(import_target(name, where), name, own, where, short=short)
        offer = self._registry.find(kind, name)
        defaults = self._defaults.get(offer.plugin, {})
        declared = offer.spec.options
        raw = {k: v for k, v in defaults.items() if declared is not None and options.has_option(declared, k)} | dict(
            own
        )
        value, findings = options.validate(declared, raw, where)
        if findings:
            self.findings.extend(findings)
            if any(finding.level == "error" for finding in findings):
                raise ConfigError(())
        return Part(where, name, offer.spec.factory, value, offer, raw)


def build(parts: RouteParts, overrides: Mapping[str, Mapping[str, object]] | None = None) -> Wired:
    """Build a route's components and compile its delivery.

    Args:
        parts: what ``Wiring.route`` found.
        overrides: options by ``Part.where`` that win over the configured ones (a sandbox's).

    Raises:
        ConfigError: with a finding for each component that could not be built or does not fit.
    """
    route = parts.route
    threads = Threads(f"loafer-{route.name}", route.concurrency)
    aside = Threads(f"loafer-{route.name}-aside", route.concurrency)
    builder = _Builder(overrides or {})
    provider = builder.make(parts.provider, _check_provider)
    translator = builder.make(parts.translator, _check_translator)
    target = builder.make(parts.handler)
    handler = builder.compile(parts.handler, target, lambda t, where: compile_handler(t, threads, where))
    asked = [builder.make(part) for part in parts.error_handlers]
    error_handlers = [
        builder.compile(part, t, lambda t, where: compile_error_handler(t, aside, where))
        for part, t in zip(parts.error_handlers, asked, strict=True)
    ]
    around = [builder.make(part) for part in parts.middlewares]
    middlewares = [builder.compile(p, t, compile_middleware) for p, t in zip(parts.middlewares, around, strict=True)]
    if builder.findings:
        raise ConfigError(builder.findings)
    if parts.handler.offer is not None:
        # A publisher takes whatever comes: its own annotation is no wish of the user's.
        handler = replace(handler, payload_type=None)
    names = [parts.translator, parts.handler, *parts.error_handlers, *parts.middlewares]
    objects = [translator, target, *asked, *around]
    lifecycles = (lifecycle_of(o, _last(part.where), aside) for part, o in zip(names, objects, strict=True))
    delivery = Delivery(
        route, cast(Translator, translator), parts.translator.label, handler, error_handlers, middlewares
    )
    return Wired(
        delivery,
        cast(Provider, provider),
        tuple(cycle for cycle in lifecycles if cycle is not None),
        (threads, aside),
        parts,
    )


class _Builder:
    def __init__(self, overrides: Mapping[str, Mapping[str, object]]) -> None:
        self._overrides = overrides
        self.findings: list[Finding] = []

    def make(self, part: Part, check: Callable[[object], str | None] | None = None) -> Any:
        """Build a component; None and a finding when that fails."""
        try:
            made = part.build(self._options(part))
        except ConfigError as error:
            self.findings.extend(f if f.where else replace(f, where=part.where) for f in error.findings)
            return None
        except Exception as error:
            who = part.label if part.offer is None else f"the plugin {part.offer.owner}: its factory of {part.label!r}"
            self.findings.append(Finding(part.where, f"{who} raised {type(error).__name__}: {error}"))
            return None
        if check is not None and (objection := check(made)) is not None:
            who = part.label if part.offer is None else f"the plugin {part.offer.owner}: its {part.label!r}"
            self.findings.append(Finding(part.where, f"{who} {objection}"))
        return made

    def compile(self, part: Part, target: object, compiler: Callable[[Any, str], Any]) -> Any:
        if target is None:
            return None
        try:
            return compiler(target, part.where)
        except ConfigError as error:
            self.findings.extend(error.findings)
            return None

    def _options(self, part: Part) -> object:
        override = self._overrides.get(part.where)
        if override is None or part.offer is None:
            return part.options
        value, findings = options.validate(part.offer.spec.options, {**part.raw, **override}, part.where)
        if findings:
            raise ConfigError(findings)
        return value


def _suggest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known) or 'none'}"


def _own(target: object, label: str, own: Mapping[str, object], where: str, *, short: bool) -> Part:
    """The user's own object: a class or (with options) any callable is called, anything else is the component."""
    if short and not inspect.isclass(target):
        return Part(where, label, lambda _: target)
    if not callable(target):
        raise ConfigError(Finding(where, f"{label!r} is no class or function, so it takes no options"))
    function = target
    return Part(where, label, lambda _: function(**own), raw=own)


def _check_provider(provider: object) -> str | None:
    return _lacks(provider, ("open", "receive", "ack", "nack", "release", "stop", "close"), "provider")


def _check_translator(translator: object) -> str | None:
    return _lacks(translator, ("translate",), "translator")


def _lacks(component: object, methods: Sequence[str], what: str) -> str | None:
    missing = [method for method in methods if not callable(getattr(component, method, None))]
    return f"is no {what}: it lacks {', '.join(f'{method}()' for method in missing)}" if missing else None


def _last(where: str) -> str:
    return where.split(".", 2)[-1]
