"""What is known before anything runs: where modules are looked for, which routes are bad, and what ends the start."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from loafer_core import ConfigError
from loafer_core.app.resolve import Resolved, resolve
from loafer_core.config.settings import read
from loafer_core.config.wording import dotted, undotted

GOOD = {"provider": "memory", "handler": "builtins:print"}


@pytest.fixture(autouse=True)
def path_as_before(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)


def resolved(loafer=None, only=(), routes=None, **tables) -> Resolved:
    return resolve(read({"loafer": loafer or {}, "routes": routes or {"good": GOOD}, **tables}), only)


def found(resolved: Resolved) -> list[str]:
    return [f"{finding.level}: {finding}" for finding in resolved.findings]


def test_a_good_configuration_has_its_routes_and_nothing_to_report():
    ready = resolved()

    assert found(ready) == []
    assert [one.route.name for one in ready.routes] == ["good"]
    assert not ready.is_fatal


# --- import_paths


def test_import_paths_come_first_in_their_order_wherever_they_were_before(tmp_path):
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    for folder in (one, two, three):
        folder.mkdir()
    sys.path.append(str(two))

    resolved({"import_paths": [str(one), str(two), str(three)]})
    resolved({"import_paths": [str(one), str(two), str(three)]})

    assert sys.path[:3] == [str(one), str(two), str(three)]
    assert sys.path.count(str(two)) == 1


def test_of_two_modules_of_one_name_the_first_import_path_wins(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "twice_there.py").write_text(f"def {name}(payload): ...\n")

    ready = resolved({"import_paths": ["first", "second"]}, routes={"a": {**GOOD, "handler": "twice_there:first"}})

    assert found(ready) == []


def test_an_import_path_that_is_not_there_is_a_warning(tmp_path):
    ready = resolved({"import_paths": ["src"]})

    assert found(ready) == [f"warning: loafer.import_paths: there is no folder {tmp_path / 'src'}"]
    assert not ready.is_fatal


# --- --route


def test_only_the_routes_that_are_wanted_are_resolved():
    ready = resolved(only=["good"], routes={"good": GOOD, "bad": {"provider": "kafka", "handler": "no:where"}})

    assert found(ready) == []
    assert [one.route.name for one in ready.routes] == ["good"]


@pytest.mark.parametrize(
    ("name", "hint"), [("god", "did you mean 'good'?"), ("xyz", "there are good, fine")], ids=["near", "far"]
)
def test_a_wanted_route_that_is_not_there_ends_the_start_even_in_degraded_mode(name, hint):
    ready = resolved({"on_bad_route": "degrade"}, only=["good", name], routes={"good": GOOD, "fine": GOOD})

    assert found(ready) == [f"error: --route: there is no route {name!r}; {hint}"]
    assert ready.is_fatal


def test_a_misspelt_override_is_not_hidden_by_the_choice_of_routes():
    config = read({"routes": {"good": GOOD}}, overrides=["routes.god.concurrency=5"])
    ready = resolve(config, ["good"])

    assert [finding.where for finding in ready.errors] == ["routes.god.provider", "routes.god.handler"]
    assert ready.is_fatal


# --- bad routes


def test_what_the_reading_found_belongs_to_its_route_however_odd_the_name_is():
    ready = resolved(
        {"on_bad_route": "degrade"},
        routes={"good": GOOD, "bad": {**GOOD, "concurrency": -1}, "A.b[0]": GOOD, "alone": 3},
    )

    assert sorted(ready.bad_routes) == ['"A.b[0]"', "alone", "bad"]
    assert not ready.is_fatal


def test_a_report_says_each_finding_once(caplog):
    caplog.set_level(logging.WARNING)
    ready = resolved(
        {"on_bad_route": "degrade", "import_paths": ["gone"]},
        routes={"good": GOOD, "bad": {**GOOD, "provider": "kafka"}},
    )

    ready.report()
    ready.report()

    assert [(record.levelname, record.getMessage().partition(":")[0]) for record in caplog.records] == [
        ("WARNING", "loafer.import_paths"),
        ("ERROR", "routes.bad.provider"),
    ]


def test_a_report_of_what_is_fatal_raises_all_of_it_warnings_too():
    ready = resolved({"import_paths": ["gone"]}, routes={"bad": {**GOOD, "provider": "kafka"}})

    with pytest.raises(ConfigError) as raised:
        ready.report()

    assert [finding.level for finding in raised.value.findings] == ["warning", "error"]


# --- plugins


def test_a_broken_plugin_is_a_warning_with_its_cause_and_hurts_no_route(install):
    install("loafer-x", "raise OSError('no disk')", point="x")
    ready = resolved()

    assert found(ready) == [
        "warning: plugin loafer-x/x: broken: cannot import 'loafer_x_plugin': OSError: no disk",
    ]
    assert isinstance(ready.found.error().__cause__, OSError)
    assert not ready.is_fatal


def test_a_switch_that_names_no_plugin_is_a_warning():
    ready = resolved(plugins={"disable": ["kafak"]})

    assert [(finding.level, finding.where) for finding in ready.findings] == [("warning", "plugins.disable")]


def test_defaults_for_a_plugin_that_is_not_there_or_without_the_option_are_errors(install):
    install(
        "loafer-x",
        """
        from loafer_core import Options, ProviderSpec, SandboxSpec, hookimpl
        LOAFER_API = 1
        class X(Options):
            colour: str = "blue"
        @hookimpl
        def loafer_providers():
            return [ProviderSpec(name="x", summary="X", options=X, factory=print)]
        @hookimpl
        def loafer_sandboxes():
            return [SandboxSpec(name="x", summary="X", factory=print)]
        """,
        point="x",
    )
    ready = resolved(defaults={"x": {"color": "red", "colour": "red"}, "y": {}})

    # The sandbox takes any option, and none of them is meant for it.
    assert found(ready)[0] == (
        "error: defaults.x.color: no component of the plugin 'x' has this option; did you mean 'colour'?"
    )
    assert found(ready)[1].startswith("error: defaults.y: there is no plugin 'y'; there are ")


def test_defaults_for_a_blocked_plugin_are_left_alone(install):
    install("loafer-x", "raise AssertionError('imported')", point="x")

    assert found(resolved(plugins={"disable": ["x"]}, defaults={"x": {"anything": 1}})) == []


# --- what is said, and in which order


def test_what_follows_from_a_finding_is_not_said(monkeypatch):
    monkeypatch.delenv("UNSET", raising=False)
    routes = {
        "own": {**GOOD, "provider": {"name": "memory", "wait": "${UNSET}", "lease": -1}},
        "default": {**GOOD, "provider": "sqs"},
        "name": {**GOOD, "provider": {"name": "${UNSET}"}},
    }

    ready = resolved(routes=routes, defaults={"sqs": {"wait_time_seconds": "${UNSET}", "queue": "orders"}})

    unset = "the environment variable UNSET is not set"
    assert sorted(str(finding) for finding in ready.findings if "UNSET" in finding.message) == [
        f"defaults.sqs.wait_time_seconds: {unset}",
        f"routes.name.provider.name: {unset}",
        f"routes.own.provider.wait: {unset}",
    ]
    assert [finding.where for finding in ready.findings if "UNSET" not in finding.message] == [
        "routes.own.provider.lease"
    ]
    assert sorted(ready.bad_routes) == ["name", "own"]
    assert ready.is_fatal


@pytest.mark.parametrize(
    "path",
    [
        ("routes", "a", "middleware", 1, "name"),
        ("routes", "A.b[0]", "x"),
        ("routes", 'quo"te', 3, 4),
        ("defaults",),
        (),
    ],
)
def test_the_place_of_a_finding_is_read_as_it_was_written(path):
    assert undotted(dotted(*path)) == path


def test_findings_come_in_the_order_of_the_file_and_what_is_not_in_it_last(install):
    install("loafer-x", "1 / 0", point="x")
    mapping = {
        "defaults": {"y": {}},
        "routes": {
            "b": {"concurrency": 0, "handler": "no:where", "provider": {"a": 1, "name": "memory", "wait": 0}},
            "a": {"provider": "kafka", "error_handler": ["log", "nobody"]},
        },
        "loafer": {"observers": ["nobody"], "sample_interval": 0},
    }

    assert [finding.where for finding in resolve(read(mapping)).findings] == [
        "defaults.y",
        "routes.b.concurrency",
        "routes.b.handler",
        "routes.b.provider.a",
        "routes.b.provider.wait",
        "routes.a.provider",
        "routes.a.error_handler[1]",
        "routes.a.handler",
        "loafer.observers[0]",
        "loafer.sample_interval",
        "plugin loafer-x/x",
    ]


# --- observers


def test_an_observer_whose_factory_raises_is_a_finding_that_names_the_plugin(install):
    install(
        "loafer-x",
        """
        from loafer_core import ObserverSpec, hookimpl
        LOAFER_API = 1
        def factory(options):
            raise OSError("no socket")
        @hookimpl
        def loafer_observers():
            return [ObserverSpec(name="x", summary="X", factory=factory)]
        """,
        point="x",
    )
    ready = resolved({"observers": ["x", "nobody"]})
    assert found(ready)[0].startswith("error: loafer.observers[1]: there is no observer 'nobody'")

    ready = resolved({"observers": ["x"]})
    assert found(ready) == ["error: loafer.observers[0]: the plugin loafer-x/x: its 'x' raised OSError: no socket"]
    assert isinstance(ready.found.error().__cause__, OSError)
    assert ready.is_fatal


def test_what_has_no_event_is_no_observer():
    class Blind: ...

    [finding] = resolved({"observers": [Blind()]}).findings

    assert "has none of the events" in finding.message


def test_paths_of_a_mapping_are_relative_to_the_working_directory(tmp_path):
    resolved()

    assert Path(sys.path[0]) == tmp_path
