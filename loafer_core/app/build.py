"""From settings to parts: components found by name, options validated, user code imported. Collects every finding.

Two steps, so that a sandbox can step between: ``Resolver`` says what would be built, ``build`` builds it.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple, cast

from loafer_core.api.errors import ConfigError, Finding
from loafer_core.api.provider import Provider
from loafer_core.api.route import Route
from loafer_core.config import validation as options
from loafer_core.config.findings import Findings
from loafer_core.config.importer import import_target
from loafer_core.config.references import Alone
from loafer_core.config.wording import Hidden, dotted
from loafer_core.delivery.executors import ThreadExecutor
from loafer_core.delivery.handlers import compile_error_handler, compile_handler, compile_middleware
from loafer_core.delivery.pipeline import Pipeline
from loafer_core.discovery.registry import Offer, Registry, UnknownComponent
from loafer_core.engine.resources import Lifecycle, lifecycle_of

Kind = Literal["provider", "translator", "handler", "error_handler", "middleware", "observer"]
Overrides = Mapping[str, Mapping[str, object]]
"""Options by ``ResolvedComponent.where`` that win over the configured ones: a sandbox's."""


@dataclass(frozen=True, slots=True)
class ResolvedComponent:
    """A component that was found: where it is named, what it is, and what builds it."""

    where: str
    label: str
    """How people call it: its name in the configuration, or the name of its type."""
    factory: Callable[[Any], object]
    """Takes the validated options."""
    options: Any = None
    offer: Offer | None = None
    """None: the user's own, by ``module:attribute`` or as an object."""
    raw: Mapping[str, object] = field(default_factory=dict)

    def build(self, override: Mapping[str, object] | None = None) -> object:
        """Build it. Raises ConfigError, whatever the factory raises."""
        try:
            return self.factory(self._options(override))
        except ConfigError as error:
            findings = [f if f.where else replace(f, where=self.where) for f in error.findings]
            raise ConfigError(findings) from error.__cause__
        except (Exception, SystemExit) as error:
            raise self.objection(f"raised {type(error).__name__}: {self._text(error)}") from error

    def objection(self, text: str) -> ConfigError:
        """Say what is wrong with what was built, and whose fault it is."""
        who = self.label if self.offer is None else f"the plugin {self.offer.owner}: its {self.label!r}"
        return ConfigError(Finding(self.where, f"{who} {text}"))

    def _options(self, override: Mapping[str, object] | None) -> Any:
        if override is None or self.offer is None:
            return self.options
        value, findings = options.validate(self.offer.spec.options, {**self.raw, **override}, self.where)
        if findings:
            raise ConfigError(findings)
        return value

    def _text(self, error: BaseException) -> str:
        # Its author wrote it, and may have quoted the options; what came from the environment is shown by nobody.
        text = str(error)
        if any(secret in text for secret in _hidden(self.raw)):
            return "(its text shows what came from the environment)"
        return textwrap.shorten(text, 300, placeholder=" ...")


@dataclass(frozen=True, slots=True)
class ResolvedRoute:
    """The parts of one route."""

    route: Route
    provider: ResolvedComponent
    translator: ResolvedComponent
    handler: ResolvedComponent
    error_handlers: tuple[ResolvedComponent, ...]
    middlewares: tuple[ResolvedComponent, ...]


@dataclass(frozen=True, slots=True)
class BuiltRoute:
    """A route that can run."""

    delivery: Pipeline
    provider: Provider
    lifecycles: tuple[Lifecycle, ...]
    threads: tuple[ThreadExecutor, ...]
    parts: ResolvedRoute


class Resolver:
    """Finds components by what a configuration says of them. Raises ConfigError with everything that is wrong.

    ``reported``: places of which something was said already. What follows from that is not said.
    """

    def __init__(
        self, registry: Registry, defaults: Mapping[str, Mapping[str, object]], reported: Container[str] = ()
    ) -> None:
        self._registry, self._defaults, self._reported = registry, defaults, reported

    def route(self, route: Route) -> ResolvedRoute:
        """Resolve every component of a route."""
        where, wrong = f"routes.{route.name}", Findings()
        provider = wrong.attempt(self.part, "provider", route.provider, f"{where}.provider")
        translator = wrong.attempt(self.part, "translator", route.translator, f"{where}.translator")
        handler = wrong.attempt(self.part, "handler", route.handler, f"{where}.handler")
        error_handlers = wrong.attempt(self.parts, "error_handler", route.error_handler, f"{where}.error_handler")
        middlewares = wrong.attempt(self.parts, "middleware", route.middleware, f"{where}.middleware")
        if provider and translator and handler and error_handlers is not None and middlewares is not None:
            return ResolvedRoute(route, provider, translator, handler, error_handlers, middlewares)
        raise wrong.error()

    def parts(self, kind: Kind, value: object, where: str) -> tuple[ResolvedComponent, ...]:
        """Resolve one component or several."""
        if not isinstance(value, (list, tuple)):
            return (self.part(kind, value, where),)
        if isinstance(value, Alone):
            return tuple(self.part(kind, one, where) for one in value)
        wrong = Findings()
        found = [wrong.attempt(self.part, kind, one, f"{where}[{index}]") for index, one in enumerate(value)]
        wrong.raise_if_any()
        return tuple(part for part in found if part is not None)

    def part(self, kind: Kind, value: object, where: str) -> ResolvedComponent:
        """Resolve a component: a name, ``module:attribute``, a table with ``name``, or the object itself."""
        if value is None:
            raise ConfigError(())  # wrong or missing, and reported when the configuration was read
        if isinstance(value, str):
            return self._named(kind, value, {}, where)
        if isinstance(value, Mapping):
            own = {key: option for key, option in value.items() if key != "name"}
            return self._named(kind, cast(str, value["name"]), own, where)  # str() would show a hidden one
        return _own(value, getattr(value, "__qualname__", type(value).__qualname__), {}, where)

    def check_defaults(self, plugins: Iterable[str]) -> None:
        """Refuse ``[defaults.x]`` for plugins that are not there, and options in it that no component of x has."""
        known, findings = sorted(set(plugins)), []
        for plugin, given in self._defaults.items():
            where = f"defaults.{plugin}"
            if plugin not in known:
                findings.append(Finding(where, f"there is no plugin {plugin!r}{suggestion(plugin, known)}"))
                continue
            offers = [offer for offer in self._registry.offers() if offer.plugin == plugin]
            kinds = [offer.spec.options for offer in offers if offer.spec.options is not None]
            for option in given if offers else ():  # without: it is broken or blocked, and that is said elsewhere
                if not any(options.has_option(kind, option) for kind in kinds):
                    text = f"no component of the plugin {plugin!r} has this option{suggestion(option, _names(kinds))}"
                    findings.append(Finding(f"{where}.{option}", text))
        if findings:
            raise ConfigError(findings)

    def _named(self, kind: Kind, name: str, own: Mapping[str, object], where: str) -> ResolvedComponent:
        if ":" in name:
            return _own(import_target(name, where), name, own, where)
        try:
            offer = self._registry.find(kind, name)
        except UnknownComponent as error:
            raise ConfigError(Finding(where, str(error))) from None
        declared, raw = offer.spec.options, {**self._defaults_for(offer), **own}
        value, findings = options.validate(declared, raw, where)
        if findings:
            raise ConfigError(finding for finding in findings if finding.where not in self._reported)
        return ResolvedComponent(where, name, offer.spec.factory, value, offer, raw)

    def _defaults_for(self, offer: Offer) -> Mapping[str, object]:
        """Those that the component has; one that takes any option gets none."""
        return {
            option: value
            for option, value in self._defaults.get(offer.plugin, {}).items()
            if offer.spec.options is not None and options.has_option(offer.spec.options, option)
            if dotted("defaults", offer.plugin, option) not in self._reported
        }


class _Made(NamedTuple):
    part: ResolvedComponent
    component: object
    compiled: Any


def build(parts: ResolvedRoute, overrides: Overrides | None = None) -> BuiltRoute:
    """Build a route's components and compile its delivery.

    Raises:
        ConfigError: with a finding for each component that could not be built or does not fit.
    """
    route, wrong = parts.route, Findings()
    threads = ThreadExecutor(f"loafer-{route.name}", route.concurrency)
    aside = ThreadExecutor(f"loafer-{route.name}-aside", route.concurrency)

    def make(part: ResolvedComponent, compile: Callable[[Any, str], Any]) -> _Made:
        component = part.build((overrides or {}).get(part.where))
        return _Made(part, component, compile(component, part.where))

    jobs: list[tuple[ResolvedComponent, Callable[[Any, str], Any]]] = [
        (parts.provider, lambda provider, _: _fitting(parts.provider, provider, _not_a_provider)),
        (parts.translator, lambda translator, _: _fitting(parts.translator, translator, _not_a_translator)),
        (parts.handler, lambda target, where: compile_handler(target, threads, where)),
        *((part, lambda target, where: compile_error_handler(target, aside, where)) for part in parts.error_handlers),
        *((part, compile_middleware) for part in parts.middlewares),
    ]
    made = [one for part, compile in jobs if (one := wrong.attempt(make, part, compile)) is not None]
    wrong.raise_if_any()
    provider, translator, handler = (one.compiled for one in made[:3])
    if parts.handler.offer is not None:
        # A publisher takes whatever comes: its own annotation is no wish of the user's.
        handler = replace(handler, payload_type=None)
    others, asked = [one.compiled for one in made[3:]], len(parts.error_handlers)
    # Facts go under the component's own name, however the configuration called it.
    offer = parts.translator.offer
    named = parts.translator.label if offer is None else offer.spec.name
    delivery = Pipeline(route, translator, named, handler, others[:asked], others[asked:])
    lifecycles = [lifecycle_of(one.component, one.part.where.split(".", 2)[-1], aside) for one in made[1:]]
    return BuiltRoute(delivery, provider, tuple(cycle for cycle in lifecycles if cycle), (threads, aside), parts)


def suggestion(name: str, known: Sequence[str]) -> str:
    """What was meant, or else what there is."""
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known) or 'none'}"


def _own(target: object, label: str, own: Mapping[str, object], where: str) -> ResolvedComponent:
    """The user's own: a class, or with options any callable, is called; anything else is the component itself."""
    if not own and not inspect.isclass(target):
        return ResolvedComponent(where, label, lambda _: target)
    if not callable(target):
        raise ConfigError(Finding(where, f"{label!r} is no class or function, so it takes no options"))
    function = target
    return ResolvedComponent(where, label, lambda _: function(**own), raw=own)


def _fitting(part: ResolvedComponent, component: object, objection: Callable[[object], str | None]) -> object:
    if (text := objection(component)) is not None:
        raise part.objection(text)
    return component


def _not_a_provider(provider: object) -> str | None:
    return _lacks(provider, ("open", "receive", "ack", "nack", "release", "stop", "close"), "provider")


def _not_a_translator(translator: object) -> str | None:
    if inspect.iscoroutinefunction(getattr(translator, "translate", None)):
        return "is no translator: translate() is async, and it must be a plain method"
    return _lacks(translator, ("translate",), "translator")


def _lacks(component: object, methods: Sequence[str], what: str) -> str | None:
    missing = [method for method in methods if not callable(getattr(component, method, None))]
    return f"is no {what}: it lacks {', '.join(f'{method}()' for method in missing)}" if missing else None


def _names(kinds: Iterable[object]) -> list[str]:
    names: set[str] = set()
    for kind in kinds:
        try:
            names |= {field.name for field in options.fields(kind)}
        except TypeError:  # what pydantic refuses is said where it is used
            pass
    return sorted(names)


def _hidden(value: object) -> Iterator[str]:
    if isinstance(value, Hidden) and value:
        yield str(value)
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _hidden(inner)
