"""The reference is complete: whatever the code offers is on its page, and what is on the page is in the code."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import click
import pytest

import loafer_core
from loafer_core import Breaker, MemoryProvider, MemoryQueue, Message, Outcome, Retry, Route, Traits
from loafer_core.api.components import Stage
from loafer_core.api.hookspecs import APIS
from loafer_core.api.kinds import KINDS
from loafer_core.config.settings import Settings, read
from loafer_core.config.validation import fields, validate
from loafer_core.delivery.in_flight import Phase
from loafer_core.discovery.loader import load
from loafer_core.engine.shutdown import ShutdownDeadlines
from loafer_core.observability.account import DISPOSITIONS
from loafer_core.observability.health import State
from loafer_core.observability.observers import EVENTS
from loafer_core.testing import run_virtual

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = {"loafer-core", *(path.name.replace("_", "-") for path in (ROOT / "plugins").iterdir())}
UNSET, REQUIRED = "unset", "required"


def rows(section: str) -> dict[str, list[str]]:
    """The rows of a section's tables by what stands in backticks in the first column."""
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            first, *rest = re.split(r"(?<!\\) \| ", line.strip("| "))
            found.update(dict.fromkeys(re.findall(r"`([^`]+)`", first), rest))
    return found


def defaults(section: str) -> dict[str, Any]:
    """The defaults that a section's table names, as values; nothing for what is unset or required."""
    cells = {key: rest[1] for key, rest in rows(section).items()}
    return {
        key: tomllib.loads(f"value = {cell.strip('`')}")["value"]
        for key, cell in cells.items()
        if cell not in (UNSET, REQUIRED)
    }


def names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind) if not field.name.startswith("_")}


# Configuration


@pytest.fixture
def configuration(pages):
    return pages["docs/reference/configuration.md"]


def test_every_setting_is_a_key_on_the_configuration_page_and_the_other_way_round(configuration):
    keys = {*rows(configuration.section("loafer"))}
    keys |= {f"plugins_{key}" for key in rows(configuration.section("plugins"))}
    assert keys | {"defaults", "routes"} == names(Settings)


def test_every_field_of_a_route_is_a_key_on_the_configuration_page(configuration):
    of_route = configuration.section("routes").split("\n### ")[0]
    assert {*rows(of_route)} | {"name"} == names(Route)
    assert {*rows(configuration.section("retry"))} == names(Retry)
    assert {*rows(configuration.section("breaker"))} == names(Breaker)


def test_a_default_on_the_configuration_page_is_what_happens_without_the_key(configuration):
    route = {"provider": "memory", "handler": "shop:handle"}
    written = {
        "loafer": defaults(configuration.section("loafer")),
        "plugins": defaults(configuration.section("plugins")),
        "routes": {"orders": route | defaults(configuration.section("routes").split("\n### ")[0])},
    }
    assert written["loafer"]["shutdown_timeout"] == 25
    left_out = read({"routes": {"orders": route}})
    assert read(written) == left_out
    assert left_out.findings == ()


OFFERS = [offer for offer in load(env={}).registry.offers() if offer.distribution in PLUGINS and offer.kind.place]
OF_CORE = {f"{o.spec.kind} {o.spec.name}": o.spec.options for o in OFFERS if o.distribution == "loafer-core"}
OF_PLUGINS = {f"{o.spec.kind} {o.spec.name}": o for o in OFFERS if o.distribution != "loafer-core"}


@pytest.mark.parametrize("component", OF_CORE)
def test_every_option_of_the_cores_components_is_on_the_configuration_page_with_its_default(component, configuration):
    kind, section = OF_CORE[component], configuration.section(component)
    assert {*rows(section)} == {field.name for field in fields(kind)}
    assert validate(kind, defaults(section), "") == validate(kind, {}, "")


@pytest.mark.parametrize("component", OF_PLUGINS)
def test_a_component_of_our_plugins_is_named_with_a_link_to_the_readme_that_has_its_options(component, configuration):
    offer = OF_PLUGINS[component]
    row = rf"^\| {offer.kind.label} `{offer.spec.name}` \| \[.*\]\((.*)\) \|$"
    found = re.search(row, configuration.section("Of our plugins"), re.MULTILINE)
    assert found is not None
    readme = (configuration.path.parent / found[1]).resolve()
    assert readme == ROOT / "plugins" / offer.distribution.replace("-", "_") / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert [field.name for field in fields(offer.spec.options) if f"`{field.name}`" not in text] == []


# Commands


def test_every_option_of_a_command_is_on_the_commands_page_and_the_other_way_round(command, pages):
    name, command = command
    taken = set()
    for parameter in command.params:
        taken |= {parameter.human_readable_name} if isinstance(parameter, click.Argument) else {*parameter.opts}
    assert {*rows(pages["docs/reference/commands.md"].section(name))} == taken


def test_the_kinds_that_a_package_can_be_made_for_are_on_the_commands_page(pages):
    [told] = rows(pages["docs/reference/commands.md"].section("plugins new"))["--kind"]
    assert re.split(", | or ", told) == [kind.label.replace(" ", "-") for kind in KINDS.values() if kind.scaffold]


def test_the_commands_page_has_no_command_that_is_not_there(pages, commands):
    headings = re.findall(r"^## ([a-z].*)$", pages["docs/reference/commands.md"].text, re.MULTILINE)
    assert sorted(headings) == sorted(commands)


def test_every_exit_code_is_on_the_commands_page(pages):
    from loafer_core.app import manager
    from loafer_core.cli import shared

    codes = {manager.OK, manager.FINDING, manager.BUG, manager.ABANDONED, manager.BAD_CONFIG}
    codes |= {shared.BUG, shared.BAD_CONFIG, click.UsageError.exit_code}
    listed = re.findall(r"^\| (\d+) \|", pages["docs/reference/commands.md"].section("Exit codes"), re.MULTILINE)
    assert {*map(int, listed)} == codes


def source_of(folder: str) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / folder).rglob("*.py")))


def test_every_environment_variable_of_ours_is_on_the_commands_page(pages):
    read_somewhere = set(re.findall(r'"(LOAFER_[A-Z_]+)"', source_of("loafer_core"))) - {"LOAFER_API"}
    assert {*rows(pages["docs/reference/commands.md"].section("Environment variables"))} == read_somewhere


def test_every_logger_is_on_the_commands_page(pages):
    loggers = set(re.findall(r'getLogger\("(loafer[\w.]*)"\)', source_of("loafer_core")))
    assert {*rows(pages["docs/reference/commands.md"].section("Logs"))} == loggers
    assert logging.getLogger("loafer") in {logging.getLogger(name).parent for name in loggers}


# Hooks


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_hook_is_on_the_hooks_page_with_what_it_declares(kind, pages):
    assert f"`{kind.spec.__name__}`" in pages["docs/reference/hooks.md"].section(kind.hook)


def test_the_hooks_page_names_no_hook_that_is_not_there(pages):
    headings = re.findall(r"^## (loafer_\w+)$", pages["docs/reference/hooks.md"].text, re.MULTILINE)
    assert headings == [kind.hook for kind in KINDS.values()]


def test_the_fields_of_a_declaration_are_on_the_hooks_page(pages):
    section = pages["docs/reference/hooks.md"].section("Declarations")
    assert {*rows(section)} == names(loafer_core.ProviderSpec)


def test_every_event_of_observers_is_on_the_hooks_page(pages):
    section = pages["docs/reference/hooks.md"].section("Observers")
    listed = rows(section)
    assert {event.partition("(")[0] for event in listed} == {*EVENTS}
    states = listed["route_state(route, state)"][0]
    assert {*re.findall(r"`(\w+)`", states)} == {*get_args(State)} - {"new"}


def test_every_number_of_the_plugin_api_is_on_the_stability_page_with_what_it_means(pages):
    listed = rows(pages["docs/reference/stability.md"].section("The number of the plugin API"))
    assert listed == {f"{number}": [api.since, api.means] for number, api in APIS.items()}
    assert max(APIS) == loafer_core.LOAFER_API


# API


@pytest.fixture
def api(pages):
    return pages["docs/reference/api.md"]


def test_every_public_name_is_on_the_api_page(api):
    assert [
        name for name in loafer_core.__all__ if not re.search(rf"`{name}\b|^## {name}$", api.text, re.MULTILINE)
    ] == []


def test_the_api_page_has_no_name_that_is_not_public(api):
    first_column = {name for section in sections(api) for name in rows(section)}
    classes = {name.removeprefix("async with ").partition("(")[0].partition(".")[0] for name in first_column}
    assert {name for name in classes if name[:1].isupper()} <= {*loafer_core.__all__}


def sections(page) -> list[str]:
    return [page.section(heading) for heading in re.findall(r"^## (.+)$", page.text, re.MULTILINE)]


@pytest.mark.parametrize("kind", [Message, Traits, Route, MemoryQueue])
def test_every_field_of_what_has_a_table_is_in_it(kind, api):
    assert {*rows(api.section(kind.__name__))} == names(kind)


def test_a_default_on_the_api_page_is_the_fields_own(api):
    listed = {name: rest[0].strip("`") for name, rest in rows(api.section("Traits")).items()}
    assert listed == {field.name: repr(field.default) for field in dataclasses.fields(Traits)}


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")} | {*getattr(kind, "__annotations__", {})}


MEMBERS = (
    "Provider Leases Rejects Publishes Measures Audits Translator Sandbox Context Settled Flag Current Failure Finding"
)


@pytest.mark.parametrize("name", MEMBERS.split())
def test_every_member_of_what_has_a_row_is_in_it(name, api):
    row = " ".join(rows(api.text)[name])
    kind = getattr(loafer_core, name)
    members = names(kind) if dataclasses.is_dataclass(kind) else public(kind)
    assert {member for member in members if not re.search(rf"`{member}\b", row)} == set()


def test_every_method_of_the_manager_is_on_the_api_page(api):
    assert {name for name in public(loafer_core.Manager) if f"`Manager.{name}" not in api.text} == set()


def test_a_signature_on_the_api_page_has_the_parameters_of_the_code(api):
    for signature in [name for section in sections(api) for name in rows(section)]:
        called, _, parameters = signature.partition("(")
        target = loafer_core
        if "..." in parameters or not parameters or called.startswith("async"):
            continue
        for part in called.split("."):
            target = getattr(target, part)
        written = [p.partition("=")[0].strip(" *") for p in parameters.rstrip(")").split(",") if p.strip(" *)")]
        assert written == [name for name in inspect.signature(target).parameters if name not in ("self", "_")], (
            signature
        )


# What several pages say


def test_the_outcomes_stages_and_words_are_explained(pages):
    assert {kind.__name__ for kind in get_args(Outcome)} <= {
        name.partition("(")[0] for name in rows(pages["docs/reference/api.md"].section("Outcomes"))
    }
    assert {*rows(pages["docs/howto/error-handlers.md"].section("What it gets"))} == {*get_args(Stage)}
    table = re.findall(r"^\| (\w+) \|", pages["docs/explanation/delivery.md"].section("The seven words"), re.MULTILINE)
    assert table[1:] == [*DISPOSITIONS]
    assert all(f"`{word}`" in pages["docs/howto/shutdown.md"].section("What a stop says") for word in DISPOSITIONS)


def test_the_metadata_on_the_handlers_page_is_what_a_handler_gets(pages):
    queue, got = MemoryQueue("orders"), {}
    queue.send("A1")

    async def handle(body, metadata):
        got.update(metadata)

    async def story():
        async with loafer_core.Manager([Route("orders", provider=MemoryProvider(queue=queue), handler=handle)]):
            await asyncio.sleep(1)

    run_virtual(story())
    assert {*rows(pages["docs/howto/handlers.md"].section("What it gets"))} | {"queue"} == {*got}


def test_the_times_of_a_stop_are_those_of_the_plan(pages):
    timeout = Settings().shutdown_timeout
    plan = ShutdownDeadlines.of(0.0, timeout, None)  # type: ignore[arg-type]
    listed = re.findall(r"^\| (\d+) s \|", pages["docs/howto/shutdown.md"].text, re.MULTILINE)
    moments = [plan.cancel_at, plan.cancelled_until, plan.polls_until, plan.flushed_until, plan.closed_until]
    assert [*map(float, listed)] == moments


def test_the_phases_of_a_message_are_those_that_it_can_be_in_while_it_is_in_flight(pages):
    listed = rows(pages["docs/reference/api.md"].section("Phases of a message"))
    assert [*listed] == [phase.value for phase in Phase if phase is not Phase.CLOSED]


# The words and the files


def glossary(pages) -> list[str]:
    return re.findall(r"^- \*\*(.+?)\*\* — ", pages["docs/glossary.md"].text, re.MULTILINE)


def test_the_glossary_has_each_word_once(pages):
    words = glossary(pages)
    assert len(words) > 60
    assert sorted(words) == sorted(set(words))


def test_a_class_that_the_glossary_names_is_one_of_the_core(pages):
    named = set(re.findall(r"`([A-Z]\w+)`", pages["docs/glossary.md"].text))
    assert len(named) > 30
    assert named - set(re.findall(r"^(?:class )?([A-Z]\w+)\b", source_of("loafer_core"), re.MULTILINE)) == set()


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/explanation/architecture.md", "docs/glossary.md"])
def test_a_file_or_folder_that_a_page_for_contributors_names_is_there(name, pages):
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.(?:toml|txt))`", pages[name].prose))
    there = {path for path in named if any((folder / path).exists() for folder in (ROOT, ROOT / "loafer_core"))}
    assert named - there - {"loafer.toml"} == set()
    assert named
