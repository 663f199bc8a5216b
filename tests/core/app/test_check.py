"""The offline check: everything is built, the translators are opened, nothing is connected and nothing is run."""

from __future__ import annotations

import sys
import types

import pytest

from loafer_core import ConfigError, Finding, MemoryProvider, Translation
from loafer_core.app.check import check_all


@pytest.fixture
def service(monkeypatch, tmp_path) -> types.ModuleType:
    """A module of the user's."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("the_service")
    monkeypatch.setitem(sys.modules, "the_service", module)
    return module


def checked(**parts) -> list[str]:
    route = {"provider": "memory", "handler": "builtins:len", **parts}
    return [str(finding) for finding in check_all({"routes": {"orders": route}}).findings]


@pytest.mark.usefixtures("service")
def test_a_good_configuration_has_no_findings():
    assert checked() == []


def test_t51_nothing_is_opened_or_started_but_the_translator(service):
    opened = []

    class Component(MemoryProvider):
        async def open(self, context=None):
            opened.append(type(self).__name__)

        start = open

        async def handle(self, payload):
            raise AssertionError("handled")

    class Translator:
        async def open(self, context):
            opened.append((context.route, context.payload_type))

        async def close(self):
            opened.append("closed")

        def translate(self, message):
            raise AssertionError("translated")

    class Typed(Component):
        async def handle(self, payload: int): ...

    Typed.handle.__annotations__["payload"] = int
    service.Component, service.Translator, service.Typed = Component, Translator, Typed

    assert (
        checked(provider="the_service:Component", translator="the_service:Translator", handler="the_service:Typed")
        == []
    )
    assert opened == [("orders", int), "closed"]


@pytest.mark.parametrize(
    ("error", "texts"),
    [
        (OSError("no"), ["routes.orders.translator: opening it raised OSError: no"]),
        (ConfigError(Finding("", "no such type")), ["routes.orders.translator: no such type"]),
        (ConfigError([Finding("here", "a"), Finding("", "b")]), ["routes.orders.translator: b", "here: a"]),
    ],
    ids=repr,
)
def test_a_translator_that_cannot_be_opened_is_a_finding(service, error, texts):
    class Translator:
        async def open(self, context):
            raise error

        def translate(self, message):
            return Translation(message.body)

    service.Translator = Translator

    assert checked(translator="the_service:Translator") == texts


def test_a_payload_type_that_json_cannot_make_is_a_finding_at_the_translator(service):
    class Opaque:
        pass

    async def handle(order: Opaque): ...

    handle.__annotations__["order"] = Opaque
    service.handle = handle

    [finding] = checked(translator="json", handler="the_service:handle")

    assert finding.startswith("routes.orders.")
    assert "Opaque" in finding


def test_what_is_wrong_with_a_value_does_not_hide_what_is_wrong_with_the_handler(service):
    service.handle = lambda: None

    assert [text.partition(":")[0] for text in checked(handler="the_service:handle", concurrency="many")] == [
        "routes.orders.handler",
        "routes.orders.concurrency",
    ]


def test_a_file_that_is_not_there_leaves_nothing_to_check(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        check_all(tmp_path / "loafer.toml")
