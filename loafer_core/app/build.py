"""From settings to components: found by name, their options validated, user code imported. Every finding is collected.

There are two steps, so that a sandbox can change options between them: ``Resolver`` finds what would be built, and
``build_route`` builds it.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, NamedTuple, cast

from loafer_core.api.errors import ConfigError, Finding
from loafer_core.api.kinds import KINDS, kinds_in
from loafer_core.api.provider import Provider
from loafer_core.api.route import Route
from loafer_core.config.findings import Findings
from loafer_core.config.importer import import_target
from loafer_core.config.references import Unlisted
from loafer_core.config.validation import fields, has_option, validate
from loafer_core.config.wording import Hidden, dotted
from loafer_core.delivery.executors import ThreadExecutor
from loafer_core.delivery.handlers import compile_error_handler, compile_handler, compile_middleware
from loafer_core.delivery.pipeline import Pipeline
from loafer_core.discovery.registry import Offer, Registry, UnknownComponent
from loafer_core.engine.resources import Lifecycle, lifecycle_of

Overrides = Mapping[str, Mapping[str, object]]
"""Options that win over the configured ones, by ``ResolvedComponent.where``; a sandbox gives them."""


@dataclass(frozen=True, slots=True)
class ResolvedComponent:
    """A component that was found: where it is named, what it is, and what builds it."""

    where: str
    """Its place in the configuration: ``routes.orders.provider``."""
    label: str
    """What people call it: its name in the configuration, or the name of its type."""
    factory: Callable[[Any], object]
    """Builds it of the validated options."""
    options: Any = None
    """The validated options."""
    offer: Offer | None = None
    """The plugin's declaration. None: the component is the user's own, by ``module:attribute`` or as an object."""
    raw: Mapping[str, object] = field(default_factory=dict)
    """The options as they were written."""

    def build(self, override: Mapping[str, object] | None = None) -> object:
        """Build it. Raises ConfigError, whatever the factory raises."""
        try:
            return self.factory(self._options(override))
        except ConfigError as error:
            placed = [finding if finding.where else replace(finding, where=self.where) for finding in error.findings]
            raise ConfigError(placed) from error.__cause__
        except (Exception, SystemExit) as error:
            raise self.objection(f"raised {type(error).__name__}: {self._text(error)}") from error

    def objection(self, text: str) -> ConfigError:
        """Say what is wrong with what was built, and whose fault it is."""
        who = self.label if self.offer is None else f"the plugin {self.offer.owner}: its {self.label!r}"
        return ConfigError(Finding(self.where, f"{who} {text}"))

    def _options(self, override: Mapping[str, object] | None) -> Any:
        if override is None or self.offer is None:
            return self.options
        value, findings = validate(self.offer.spec.options, {**self.raw, **override}, self.where)
        if findings:
            raise ConfigError(findings)
        return value

    def _text(self, error: BaseException) -> str:
        # A plugin's author wrote the text, and may have quoted the options. What came from the environment is a secret.
        text = str(error)
        if any(secret in text for secret in _hidden(self.raw)):
            return "(its text shows what came from the environment)"
        return textwrap.shorten(text, 300, placeholder=" ...")


@dataclass(frozen=True, slots=True)
class ResolvedRoute:
    """A route whose components were all found."""

    route: Route
    components: Mapping[str, tuple[ResolvedComponent, ...]]
    """By kind, first the kinds that a route has one of: in this order they are shown, built and opened."""

    @property
    def provider(self) -> ResolvedComponent:
        return self.components["provider"][0]

    @property
    def translator(self) -> ResolvedComponent:
        return self.components["translator"][0]

    @property
    def handler(self) -> ResolvedComponent:
        return self.components["handler"][0]

    @property
    def error_handlers(self) -> tuple[ResolvedComponent, ...]:
        return self.components["error_handler"]

    @property
    def middlewares(self) -> tuple[ResolvedComponent, ...]:
        return self.components["middleware"]


@dataclass(frozen=True, slots=True)
class BuiltRoute:
    """A route whose components were all built, so that it can run."""

    pipeline: Pipeline
    provider: Provider
    lifecycles: tuple[Lifecycle, ...]
    """What opens and closes the other components."""
    threads: tuple[ThreadExecutor, ...]
    """Those for handlers, and those for everything else."""
    resolved: ResolvedRoute
    """What it was built of."""


class Resolver:
    """Finds components by what a configuration says of them. Its methods raise ConfigError, with all that is wrong."""

    def __init__(
        self, registry: Registry, defaults: Mapping[str, Mapping[str, object]], reported: Container[str] = ()
    ) -> None:
        """Look into ``registry``.

        Args:
            registry: the components that plugins offer.
            defaults: ``[defaults]`` of the configuration, by plugin.
            reported: places with findings already. Nothing more is said of them: it would only follow from those.
        """
        self._registry = registry
        self._defaults = defaults
        self._reported = reported

    def route(self, route: Route) -> ResolvedRoute:
        """Find every component of a route."""
        wrong = Findings()
        components: dict[str, tuple[ResolvedComponent, ...]] = {}
        for kind in sorted(kinds_in("routes"), key=lambda kind: kind.many):
            where = f"routes.{route.name}.{kind.key}"
            components[kind.name] = wrong.attempt(self.components, kind.name, getattr(route, kind.key), where) or ()
        wrong.raise_if_any()
        return ResolvedRoute(route, components)

    def components(self, kind: str, value: object, where: str) -> tuple[ResolvedComponent, ...]:
        """Find one component, or several where there may be several."""
        if not KINDS[kind].many or not isinstance(value, (list, tuple)):
            return (self.component(kind, value, where),)
        if isinstance(value, Unlisted):
            return tuple(self.component(kind, one, where) for one in value)
        wrong = Findings()
        found = [wrong.attempt(self.component, kind, one, f"{where}[{index}]") for index, one in enumerate(value)]
        wrong.raise_if_any()
        return tuple(component for component in found if component is not None)

    def component(self, kind: str, value: object, where: str) -> ResolvedComponent:
        """Find a component by its name, by ``module:attribute``, by a table with ``name``, or as the object itself."""
        if value is None:
            raise ConfigError(())  # It is wrong or missing, which was reported when the configuration was read.
        if isinstance(value, str):
            return self._named(kind, value, {}, where)
        if isinstance(value, Mapping):
            own = {key: option for key, option in value.items() if key != "name"}
            # Not str(): the name may come from the environment, and str() would uncover it.
            return self._named(kind, cast(str, value["name"]), own, where)
        return _own(value, getattr(value, "__qualname__", type(value).__qualname__), {}, where)

    def check_defaults(self, plugins: Iterable[str]) -> None:
        """Refuse ``[defaults.x]`` for plugins that are not there, and options in it that no component of x has."""
        known = sorted(set(plugins))
        findings: list[Finding] = []
        for plugin, given in self._defaults.items():
            if plugin not in known:
                text = f"there is no plugin {plugin!r}{suggestion(plugin, known)}"
                findings.append(Finding(f"defaults.{plugin}", text))
            else:
                findings += self._unknown_defaults(plugin, given)
        if findings:
            raise ConfigError(findings)

    def _unknown_defaults(self, plugin: str, given: Iterable[str]) -> Iterator[Finding]:
        offers = [offer for offer in self._registry.offers() if offer.plugin == plugin]
        if not offers:
            return  # The plugin is broken or blocked, which is said elsewhere.
        types = [offer.spec.options for offer in offers if offer.spec.options is not None]
        for option in given:
            if not any(has_option(type_, option) for type_ in types):
                text = f"no component of the plugin {plugin!r} has this option{suggestion(option, _names(types))}"
                yield Finding(f"defaults.{plugin}.{option}", text)

    def _named(self, kind: str, name: str, own: Mapping[str, object], where: str) -> ResolvedComponent:
        if ":" in name:
            return _own(import_target(name, where), name, own, where)
        try:
            offer = self._registry.find(kind, name)
        except UnknownComponent as error:
            raise ConfigError(Finding(where, str(error))) from None
        raw = {**self._defaults_for(offer), **own}
        value, findings = validate(offer.spec.options, raw, where)
        if findings:
            raise ConfigError(finding for finding in findings if finding.where not in self._reported)
        return ResolvedComponent(where, name, offer.spec.factory, value, offer, raw)

    def _defaults_for(self, offer: Offer) -> Mapping[str, object]:
        """Give those of the plugin's defaults that the component has; a component that takes any option gets none."""
        declared = offer.spec.options
        if declared is None:
            return {}
        return {
            option: value
            for option, value in self._defaults.get(offer.plugin, {}).items()
            if has_option(declared, option) and dotted("defaults", offer.plugin, option) not in self._reported
        }


class _Built(NamedTuple):
    where: str
    component: object
    """What the factory built; it may have to be opened and closed."""
    compiled: Any
    """The form in which a pipeline uses it."""


def build_route(resolved: ResolvedRoute, overrides: Overrides | None = None) -> BuiltRoute:
    """Build a route's components and compile its pipeline.

    Raises:
        ConfigError: with a finding for each component that could not be built or does not fit.
    """
    route = resolved.route
    threads = ThreadExecutor(f"loafer-{route.name}", route.concurrency)
    aside = ThreadExecutor(f"loafer-{route.name}-aside", route.concurrency)

    def build(kind: str, one: ResolvedComponent) -> _Built:
        component = one.build((overrides or {}).get(one.where))
        return _Built(one.where, component, _compile(kind, one, component, threads, aside))

    wrong = Findings()
    built = {
        kind: [made for one in components if (made := wrong.attempt(build, kind, one)) is not None]
        for kind, components in resolved.components.items()
    }
    wrong.raise_if_any()
    [provider] = built.pop("provider")  # The route itself opens and closes it.
    return BuiltRoute(
        _pipeline(resolved, {kind: [one.compiled for one in several] for kind, several in built.items()}),
        provider.compiled,
        tuple(_lifecycles([one for several in built.values() for one in several], aside)),
        (threads, aside),
        resolved,
    )


def _compile(
    kind: str, resolved: ResolvedComponent, component: Any, threads: ThreadExecutor, aside: ThreadExecutor
) -> object:
    """Bring a component into the form in which a pipeline uses it. Raises ConfigError if it is not of its kind."""
    match kind:
        case "handler":
            return compile_handler(component, threads, resolved.where)
        case "error_handler":
            return compile_error_handler(component, aside, resolved.where)
        case "middleware":
            return compile_middleware(component, resolved.where)
        case "translator" if inspect.iscoroutinefunction(getattr(component, "translate", None)):
            raise resolved.objection("is no translator: translate() is async, and it must be a plain method")
    check_methods(kind, resolved, component)
    return component


def check_methods(kind: str, resolved: ResolvedComponent, component: object) -> None:
    """Raise ConfigError if a component lacks a method that its kind must have."""
    if missing := KINDS[kind].missing(component):
        methods = ", ".join(f"{method}()" for method in missing)
        raise resolved.objection(f"is no {KINDS[kind].label}: it lacks {methods}")


def _pipeline(resolved: ResolvedRoute, compiled: Mapping[str, Sequence[Any]]) -> Pipeline:
    """Put together what was compiled, by kind."""
    [translator] = compiled["translator"]
    [handler] = compiled["handler"]
    if resolved.handler.offer is not None:
        # A publisher takes whatever comes: its own annotation is no wish of the user's.
        handler = replace(handler, payload_type=None)
    # A translator's facts go under the component's own name, however the configuration called it.
    offer = resolved.translator.offer
    name = resolved.translator.label if offer is None else offer.spec.name
    return Pipeline(resolved.route, translator, name, handler, compiled["error_handler"], compiled["middleware"])


def _lifecycles(components: Iterable[_Built], executor: ThreadExecutor) -> Iterator[Lifecycle]:
    for built in components:
        name = built.where.split(".", 2)[-1]
        lifecycle = lifecycle_of(built.component, name, executor)
        if lifecycle is not None:
            yield lifecycle


def suggestion(name: str, known: Sequence[str]) -> str:
    """End an error's text: with the name that was probably meant, or else with all that there are."""
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known) or 'none'}"


def _own(target: object, label: str, own: Mapping[str, object], where: str) -> ResolvedComponent:
    """Take a component of the user's own.

    A class is called, and so is anything else that has options. What has none is the component itself.
    """
    if not own and not inspect.isclass(target):
        return ResolvedComponent(where, label, lambda _: target)
    if not callable(target):
        raise ConfigError(Finding(where, f"{label!r} is no class or function, so it takes no options"))
    function = target
    return ResolvedComponent(where, label, lambda _: function(**own), raw=own)


def _names(types: Iterable[object]) -> list[str]:
    names: set[str] = set()
    for type_ in types:
        try:
            names |= {field.name for field in fields(type_)}
        except TypeError:
            pass  # Pydantic cannot read this type; that is said where a route uses the component.
    return sorted(names)


def _hidden(value: object) -> Iterator[str]:
    """Find what came from the environment, at any depth."""
    if isinstance(value, Hidden) and value:
        yield str(value)
    elif isinstance(value, Mapping):
        yield from _hidden(list(value.values()))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _hidden(inner)
