"""``--sandbox``: who gets a stand-in, who is refused, and that none is left behind."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from loafer_core import (
    ConfigError,
    Finding,
    HandlerSpec,
    MemoryProvider,
    Options,
    ProviderSpec,
    Route,
    SandboxSpec,
    TranslatorSpec,
)
from loafer_core.app.build import ResolvedRoute, Resolver
from loafer_core.app.sandbox import Sandboxes
from loafer_core.discovery.loader import load
from loafer_core.discovery.registry import Offer, Registry


class QueueOptions(Options):
    queue: str
    endpoint: str = "https://real"


class StandIn:
    """Notes what happens to it."""

    def __init__(
        self, events: list[object], answer: Mapping[str, Mapping[str, object]] | BaseException | None = None
    ) -> None:
        self.events, self.answer = events, answer

    def start(self, components):
        self.events.append([(component.where, component.name, component.options.queue) for component in components])
        if isinstance(self.answer, BaseException):
            raise self.answer
        if self.answer is not None:
            return self.answer
        return {component.where: {"endpoint": "http://127.0.0.1"} for component in components}

    def stop(self):
        self.events.append("stopped")


class Plugins:
    """A registry with plugins that each offer a provider, a handler and perhaps a sandbox, all of one name."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.events: list[object] = []
        for offer in load(env={}).registry.offers():
            if offer.distribution == "loafer-core":
                self.registry.add(offer)

    def add(self, name: str, sandbox: object = None, factory: object = None) -> None:
        specs = [
            ProviderSpec(name=name, summary="X", options=QueueOptions, factory=MemoryProvider),
            HandlerSpec(name=name, summary="X", options=QueueOptions, factory=lambda options: print),
            TranslatorSpec(name=name, summary="X", options=Options, factory=lambda options: object()),
        ]
        if sandbox is not None or factory is not None:
            specs.append(SandboxSpec(name=name, summary="X", factory=factory or (lambda options: sandbox)))
        for spec in specs:
            self.registry.add(Offer(spec, f"loafer-{name}", name))

    def route(self, name: str, provider: object, handler: object = "builtins:print", **more: object) -> ResolvedRoute:
        return Resolver(self.registry, {}).route(Route(name, provider=provider, handler=handler, **more))


@pytest.fixture
def plugins() -> Plugins:
    return Plugins()


def queue(plugin: str, name: str) -> dict[str, object]:
    return {"name": plugin, "queue": name}


def test_one_stand_in_serves_all_components_of_its_plugin(plugins):
    plugins.add("x", StandIn(plugins.events))
    sandboxes = Sandboxes(plugins.registry)

    overrides = sandboxes.start(
        [plugins.route("a", queue("x", "1"), queue("x", "2")), plugins.route("b", queue("x", "3"))]
    )

    assert plugins.events == [
        [("routes.a.provider", "x", "1"), ("routes.a.handler", "x", "2"), ("routes.b.provider", "x", "3")]
    ]
    assert list(overrides) == ["routes.a.provider", "routes.a.handler", "routes.b.provider"]
    assert overrides["routes.a.provider"] == {"endpoint": "http://127.0.0.1"}
    sandboxes.stop()
    sandboxes.stop()
    assert plugins.events[1:] == ["stopped"]


def test_the_core_s_own_and_the_user_s_handler_and_translator_need_none(plugins):
    assert Sandboxes(plugins.registry).start([plugins.route("a", "memory")]) == {}


def test_every_source_without_a_stand_in_is_refused_before_any_starts(plugins):
    plugins.add("x", StandIn(plugins.events))
    plugins.add("y")

    with pytest.raises(ConfigError) as raised:
        Sandboxes(plugins.registry).start(
            [
                plugins.route("a", queue("y", "1"), queue("y", "2")),
                plugins.route("b", MemoryProvider()),
                plugins.route("c", queue("x", "1")),
            ]
        )

    end = "no sandbox for it, and --sandbox never talks to a real source; leave it out"
    assert [str(finding) for finding in raised.value.findings] == [
        f"routes.a.provider: the plugin loafer-y/y offers {end}",
        f"routes.a.handler: the plugin loafer-y/y offers {end}",
        f"routes.b.provider: this provider is your own, and there is {end}",
    ]
    assert plugins.events == []


@pytest.mark.parametrize("error", [OSError("port taken"), SystemExit("bye")], ids=repr)
def test_a_stand_in_that_cannot_start_is_said_by_its_plugin_s_name_and_stopped(plugins, error):
    plugins.add("x", StandIn(plugins.events, error))
    sandboxes = Sandboxes(plugins.registry)

    with pytest.raises(ConfigError) as raised:
        sandboxes.start([plugins.route("a", queue("x", "1"))])
    sandboxes.stop()

    text = f"plugin loafer-x/x: its sandbox could not be started: {type(error).__name__}: {error}"
    assert str(raised.value) == text
    assert raised.value.__cause__ is error
    assert plugins.events[-1] == "stopped"


def test_a_stand_in_s_own_finding_is_passed_on(plugins):
    plugins.add("x", StandIn(plugins.events, ConfigError(Finding("sandbox", "install moto"))))

    with pytest.raises(ConfigError, match="sandbox: install moto"):
        Sandboxes(plugins.registry).start([plugins.route("a", queue("x", "1"))])


def test_a_stand_in_that_forgets_a_component_is_refused_because_the_real_source_would_be_used(plugins):
    plugins.add("x", StandIn(plugins.events, {"routes.a.provider": {}}))

    with pytest.raises(ConfigError, match=r"plugin loafer-x/x: its sandbox has none for routes\.a\.handler"):
        Sandboxes(plugins.registry).start([plugins.route("a", queue("x", "1"), queue("x", "2"))])


def test_a_factory_that_fails_is_said_by_its_plugin_s_name(plugins):
    plugins.add("x", factory=lambda options: 1 / 0)

    with pytest.raises(ConfigError, match="plugin loafer-x/x: its sandbox could not be started: ZeroDivisionError"):
        Sandboxes(plugins.registry).start([plugins.route("a", queue("x", "1"))])


def test_a_stand_in_that_cannot_stop_is_logged_and_the_others_stop(plugins, caplog):
    class Stuck(StandIn):
        def stop(self):
            raise OSError("stuck")

    plugins.add("x", StandIn(plugins.events))
    plugins.add("y", Stuck(plugins.events))
    sandboxes = Sandboxes(plugins.registry)
    sandboxes.start([plugins.route("a", queue("x", "1")), plugins.route("b", queue("y", "1"))])

    sandboxes.stop()

    assert plugins.events[-1] == "stopped"
    assert caplog.messages == ["the plugin loafer-y/y: stopping its sandbox failed"]
