"""From names, tables and objects to components, and from components to a route that can run."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from pydantic import Field

from loafer_core import (
    ConfigError,
    Finding,
    HandlerSpec,
    MemoryProvider,
    MiddlewareSpec,
    Options,
    ProviderSpec,
    Route,
    Translation,
    TranslatorSpec,
)
from loafer_core.app.build import BuiltRoute, Resolver, build
from loafer_core.config.findings import Findings
from loafer_core.config.wording import Hidden
from loafer_core.discovery.registry import Offer, Registry


class Colours(Options):
    colour: str = "blue"
    depth: int = Field(1, ge=0)


class Provider(MemoryProvider):
    def __init__(self, options: Colours) -> None:
        super().__init__()
        self.given = options


class Opaque:
    """Nothing that options could be read as."""


class Upper:
    def translate(self, message):
        return Translation(message.body.upper())


async def handle(payload): ...


async def typed(order: int): ...


async def pass_on(message, call_next):
    return await call_next(message)


@pytest.fixture
def registry() -> Registry:
    """What a plugin ``painted`` of the distribution ``loafer-paint`` offers."""
    registry = Registry()
    for spec in (
        ProviderSpec(name="painted", summary="X", options=Colours, factory=Provider),
        TranslatorSpec(name="upper", summary="X", options=Options, factory=lambda _: Upper()),
        HandlerSpec(name="painted", summary="X", options=Colours, factory=lambda options: typed),
        MiddlewareSpec(name="free", summary="X", factory=lambda options: pass_on),
        ProviderSpec(name="failing", summary="X", options=Colours, factory=lambda options: 1 / 0),
        ProviderSpec(name="leaving", summary="X", options=Colours, factory=lambda options: sys.exit("bye")),
        ProviderSpec(name="quoting", summary="X", options=Colours, factory=quoting),
        ProviderSpec(name="wrong", summary="X", options=Colours, factory=lambda options: object()),
        HandlerSpec(name="nothing", summary="X", options=Options, factory=lambda options: None),
        ProviderSpec(name="refusing", summary="X", options=Colours, factory=refusing),
        ProviderSpec(name="untyped", summary="X", options=Opaque, factory=Provider),
    ):
        registry.add(Offer(spec, "loafer-paint", "painted"))
    return registry


def quoting(options: Colours):
    raise ValueError(f"cannot paint {options.colour}\nat all")


def refusing(options: Colours):
    raise ConfigError([Finding("", "not today"), Finding("elsewhere", "nor there")])


@pytest.fixture
def make_route(registry):
    """Resolve and build a route."""

    def make_route(defaults=None, overrides=None, **components: Any) -> BuiltRoute:
        route = Route("orders", **{"provider": "painted", "translator": "upper", "handler": handle, **components})
        return build(Resolver(registry, defaults or {}).route(route), overrides)

    return make_route


@pytest.fixture
def findings(make_route):
    """What is wrong with a route."""

    def findings(**components: Any) -> list[str]:
        with pytest.raises(ConfigError) as raised:
            make_route(**components)
        return [str(finding) for finding in raised.value.findings]

    return findings


@pytest.fixture
def service(monkeypatch) -> types.ModuleType:
    """A module of the user's."""
    module = types.ModuleType("the_service")
    monkeypatch.setitem(sys.modules, "the_service", module)
    return module


# --- the forms in which a component is given


def test_a_component_is_built_from_its_name_with_its_default_options(make_route):
    assert make_route().provider.given == Colours()


def test_a_component_is_built_from_a_table_with_options(make_route):
    assert make_route(provider={"name": "loafer-paint/painted", "depth": "3"}).provider.given == Colours(depth=3)


def test_a_component_without_an_options_type_gets_the_plain_mapping(make_route):
    assert len(make_route(middleware=[{"name": "free", "anything": 1}]).delivery.middlewares) == 1


def test_a_class_of_the_user_s_is_called_without_arguments(make_route, service):
    service.Provider = MemoryProvider

    built = make_route(provider="the_service:Provider")

    assert isinstance(built.provider, MemoryProvider)
    assert built.resolved.provider.label == "the_service:Provider"


def test_a_class_of_the_user_s_is_called_with_the_options_of_its_table(make_route, service):
    service.paint = types.SimpleNamespace(Provider=lambda **options: Provider(Colours(**options)))

    built = make_route(provider={"name": "the_service:paint.Provider", "colour": "red"})

    assert built.provider.given.colour == "red"


@pytest.mark.parametrize("given", ["the_service:handle", {"name": "the_service:handle"}], ids=["short", "table"])
def test_a_function_without_options_is_the_component_itself(make_route, service, given):
    service.handle = handle

    assert make_route(handler=given).delivery.handler.call is handle


def test_a_function_with_options_makes_the_component(make_route, service):
    service.make = lambda greeting: handle

    assert make_route(handler={"name": "the_service:make", "greeting": "hello"}).delivery.handler.call is handle


def test_an_object_is_the_component_itself_and_a_class_is_called(make_route):
    provider = MemoryProvider()

    built = make_route(provider=provider, translator=Upper)

    assert built.provider is provider
    assert isinstance(built.delivery.translator, Upper)
    assert (built.resolved.provider.label, built.resolved.translator.label) == ("MemoryProvider", "Upper")


def test_what_is_neither_class_nor_function_takes_no_options(findings, service):
    service.constant = 3

    assert findings(provider={"name": "the_service:constant", "colour": "red"}) == [
        "routes.orders.provider: 'the_service:constant' is no class or function, so it takes no options"
    ]


# --- defaults


def test_a_default_goes_to_the_components_that_have_the_option_and_the_route_s_own_option_wins(make_route):
    defaults = {"painted": {"colour": "green", "depth": 5}, "other": {"colour": "black"}}

    built = make_route(defaults, provider={"name": "painted", "depth": 7})

    assert built.provider.given == Colours(colour="green", depth=7)


def test_a_default_does_not_reach_a_component_that_takes_any_option(registry):
    resolver = Resolver(registry, {"painted": {"colour": "green"}})

    assert resolver.component("middleware", "free", "here").options == {}


def test_a_default_of_the_wrong_kind_is_a_finding_of_each_component_that_gets_it(findings):
    assert findings(defaults={"painted": {"depth": -1}}) == [
        "routes.orders.provider.depth: -1 is out of range; expected a whole number, 0 or more"
    ]


def test_defaults_are_checked_although_one_component_s_options_cannot_be_read(registry):
    with pytest.raises(ConfigError) as raised:
        Resolver(registry, {"painted": {"hue": 1, "depth": 1}}).check_defaults(["painted"])

    [finding] = raised.value.findings
    assert str(finding).startswith("defaults.painted.hue: no component of the plugin 'painted' has this option")


# --- what is wrong, all at once


def test_everything_that_is_wrong_with_a_route_is_said_at_once(findings):
    assert [text.partition(":")[0] for text in findings(
        provider="kafka",
        translator={"name": "upper", "lower": True},
        handler="nowhere:handle",
        error_handler=["nobody", "nowhere:decide"],
        middleware=["free", "bound"],
    )] == [
        "routes.orders.provider",
        "routes.orders.translator.lower",
        "routes.orders.handler",
        "routes.orders.error_handler[0]",
        "routes.orders.error_handler[1]",
        "routes.orders.middleware[1]",
    ]  # fmt: skip


def test_everything_that_cannot_be_built_is_said_at_once(findings):
    class Fails:
        def __init__(self):
            raise RuntimeError("no")

    wheres = [text.partition(":")[0] for text in findings(provider="failing", handler="nothing", middleware=Fails)]

    assert wheres == ["routes.orders.provider", "routes.orders.handler", "routes.orders.middleware"]


def test_a_missing_component_that_was_reported_already_makes_no_second_finding(findings):
    assert findings(provider=None) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("failing", "its 'failing' raised ZeroDivisionError: division by zero"),
        ("leaving", "its 'leaving' raised SystemExit: bye"),
        ("quoting", "its 'quoting' raised ValueError: cannot paint blue at all"),
        ("wrong", "its 'wrong' is no provider: it lacks open(), receive(), ack(), nack(), release(), stop(), close()"),
    ],
)
def test_a_factory_that_fails_is_said_in_one_line_that_names_the_plugin(findings, name, text):
    assert findings(provider=name) == [f"routes.orders.provider: the plugin loafer-paint/painted: {text}"]


def test_a_factory_s_own_findings_get_its_place_where_they_have_none(findings):
    assert findings(provider="refusing") == ["routes.orders.provider: not today", "elsewhere: nor there"]


def test_an_error_s_text_is_not_shown_where_it_quotes_the_environment(findings):
    assert findings(provider={"name": "quoting", "colour": Hidden("SECRET")}) == [
        "routes.orders.provider: the plugin loafer-paint/painted: its 'quoting' raised ValueError: "
        "(its text shows what came from the environment)"
    ]


def test_a_long_error_s_text_is_cut(findings):
    [finding] = findings(provider={"name": "quoting", "colour": "blue " * 200})

    assert len(finding) < 500
    assert finding.endswith(" ...")


def test_an_option_that_does_not_fit_is_a_finding_with_its_path(findings):
    assert findings(provider={"name": "painted", "depth": -1}, handler={"name": "painted", "colr": 1}) == [
        "routes.orders.provider.depth: -1 is out of range; expected a whole number, 0 or more",
        "routes.orders.handler.colr: unknown option; did you mean 'colour'?",
    ]


def test_a_factory_that_gives_nothing_is_no_handler(findings):
    [finding] = findings(handler="nothing")

    assert finding.startswith("routes.orders.handler: ")
    assert "neither callable" in finding


def test_an_async_translator_is_refused_before_it_meets_a_message(findings):
    class Slow:
        async def translate(self, message): ...

    [finding] = findings(translator=Slow)

    assert finding.endswith("Slow is no translator: translate() is async, and it must be a plain method")


def test_a_translator_has_to_translate(findings):
    assert findings(translator=handle) == ["routes.orders.translator: handle is no translator: it lacks translate()"]


def test_what_was_raised_comes_along_as_the_cause(make_route):
    with pytest.raises(ConfigError) as raised:
        make_route(provider="failing")

    assert isinstance(raised.value.__cause__, ZeroDivisionError)


# --- what is built


def test_overrides_win_over_the_configured_options(make_route):
    overrides = {"routes.orders.provider": {"colour": "sand"}}

    built = make_route(overrides=overrides, provider={"name": "painted", "colour": "red", "depth": 2})

    assert built.provider.given == Colours(colour="sand", depth=2)


def test_an_override_that_does_not_fit_is_a_finding(make_route):
    with pytest.raises(ConfigError, match=r"routes\.orders\.provider\.depth"):
        make_route(overrides={"routes.orders.provider": {"depth": "deep"}})


def test_a_plugin_s_handler_asks_for_no_type_and_the_user_s_own_does(make_route):
    assert make_route(handler=typed).delivery.handler.payload_type is int
    assert make_route(handler="painted").delivery.handler.payload_type is None


def test_components_with_a_beginning_are_opened_in_the_order_of_their_route(make_route):
    class WithEnds:
        async def start(self): ...

        def translate(self, message): ...

        async def handle(self, *args): ...

    class Middleware(WithEnds):
        async def handle(self, message, call_next): ...

    built = make_route(translator=WithEnds, handler=WithEnds, error_handler=[WithEnds, print], middleware=Middleware)

    assert [cycle.name for cycle in built.lifecycles] == [
        "translator",
        "handler",
        "error_handler[0]",
        "middleware",
    ]


# --- collecting


def test_gathered_errors_have_all_findings_and_no_cause_where_nothing_was_raised():
    wrong = Findings()
    wrong.raise_if_any()

    wrong.add(Finding("a", "1"))
    wrong.add([Finding("b", "2"), Finding("c", "3")])

    assert [finding.where for finding in wrong.error().findings] == ["a", "b", "c"]
    assert wrong.error().__cause__ is None
    with pytest.raises(ConfigError):
        wrong.raise_if_any()
