"""What editors are told of ``loafer.toml``: the examples and the configurations of the pages keep to the schema."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from loafer_core.app.file_schema import file_schema
from loafer_core.cli import main
from loafer_core.discovery.describe import paste
from loafer_core.discovery.loader import load

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = load(env={}).registry
SCHEMA = file_schema(REGISTRY)
CHECKER = jsonschema.Draft202012Validator(SCHEMA)
EXAMPLES = sorted((ROOT / "examples").rglob("loafer.toml"))
READMES = sorted([*ROOT.glob("plugins/*/README.md"), *ROOT.glob("examples/loafer_*/README.md")])
ROUTE = {"provider": "memory", "handler": "shop:handle"}


def problems(configuration: object, checker: jsonschema.Draft202012Validator = CHECKER) -> list[str]:
    """What an editor underlines, each with its place."""
    return [f"{error.json_path}: {error.message}" for error in checker.iter_errors(configuration)]


def test_the_schema_is_a_json_schema():
    CHECKER.check_schema(SCHEMA)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_is_as_the_schema_wants_it(path):
    assert problems(tomllib.loads(path.read_text())) == []


def test_a_configuration_on_a_page_is_as_the_schema_wants_it(toml_block, desk, pages):
    desk(pages[toml_block.page])  # which may bring a plugin
    checker = jsonschema.Draft202012Validator(file_schema(load(env={}).registry))
    configuration = tomllib.loads(toml_block.text)
    if toml_block.marks == "part":
        configuration.setdefault("routes", {"orders": ROUTE})
    assert problems(configuration, checker) == []


OFFERS = [offer for offer in REGISTRY.offers() if offer.kind.place]


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: f"{offer.spec.kind}-{offer.full_name}")
def test_a_configuration_to_paste_is_as_the_schema_wants_it(offer):
    configuration = {"routes": {"orders": ROUTE}} | tomllib.loads(paste(offer))
    assert problems(configuration) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"defaults": {"sqz": {}}},
        {"defaults": {"sqs": {"regionname": "eu-west-1"}}},
        {"defaults": {"sqs": {"wait_time_seconds": 21}}},
        {"defaults": {"builtin": {"queue": 3}}},
        {"plugins": {"disabled": []}},
        {"loafer": {"observers": ["nobody"]}},
        {"loafer": {"on_bad_route": "stop"}},
        {"routes": {"orders": {**ROUTE, "retry": {"bas": 1}}}},
        {"routes": {"orders": {**ROUTE, "error_handler": [{"name": "sentry", "dns": "x"}]}}},
        {"route": {}},
    ],
    ids=str,
)
def test_a_mistake_anywhere_in_the_file_is_underlined(wrong):
    assert problems({"routes": {"orders": ROUTE}} | wrong) != []


@pytest.mark.parametrize(
    "right",
    [
        {"region_name": "eu-west-1", "wait_time_seconds": "${WAIT:-20}"},
        {"group": "a"},
    ],
    ids=str,
)
def test_the_defaults_of_a_plugin_are_the_options_of_all_its_components(right):
    assert problems({"routes": {"orders": ROUTE}, "defaults": {"sqs": right}}) == []


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_the_options_in_a_readme_are_those_of_the_plugin(readme):
    told = CliRunner().invoke(main, ["plugins", "docs", "--into", str(readme), "--check"])

    assert (told.exit_code, told.output) == (0, "")
    assert "\n<!-- loafer plugins docs " in readme.read_text(), f"{readme} has no mark to put its options below"
