"""``routes``, ``send``, ``schema``, ``plugins show``, ``check`` and ``docs``, as a user calls them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from loafer_core import MemoryQueue
from loafer_core.cli import main

FILE = """
[routes.orders]
provider = { name = "memory", queue = "more-orders" }
handler = "more_shop:handle"
error_handler = "log"
concurrency = 3

[routes.parcels]
provider = { name = "memory", queue = "more-parcels", ordered = true }
handler = "more_shop:handle"
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "loafer.toml").write_text(FILE)
    (tmp_path / "more_shop.py").write_text("def handle(body): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    return tmp_path


def call(*args: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, args, input=stdin)


def test_routes_shows_one_line_a_route(shop):
    result = call("routes")

    header, orders, parcels = result.stdout.splitlines()
    assert header.split() == [
        "ROUTE",
        "PROVIDER",
        "TRANSLATOR",
        "HANDLER",
        "ERROR",
        "HANDLER",
        "MIDDLEWARE",
        "CONCURRENCY",
    ]
    assert orders.split() == ["orders", "memory", "text", "more_shop:handle", "log", "-", "3"]
    assert parcels.split() == ["parcels", "memory", "text", "more_shop:handle", "-", "-", "10"]
    assert result.exit_code == 0


def test_routes_as_json_is_json_and_nothing_else(shop):
    answer = json.loads(call("routes", "--json").stdout)

    assert answer["schema"] == 1
    assert [route["route"] for route in answer["routes"]] == ["orders", "parcels"]
    assert answer["routes"][0]["error_handler"] == ["log"]


def test_routes_of_a_file_with_mistakes_names_them_and_exits_1(shop):
    result = call("routes", "--set", "routes.orders.translator=jsson")

    assert result.exit_code == 1
    assert "routes.orders.translator: there is no translator 'jsson'" in result.stderr
    assert "parcels" in result.stdout


def test_send_publishes_the_whole_file_as_one_body_and_prints_its_id(shop):
    (shop / "order.json").write_text('{"id":\n 1}\n')

    result = call("send", "orders", "order.json", "--attribute", "tenant=acme")

    [message] = MemoryQueue.named("more-orders").messages()
    assert result.exit_code == 0
    assert result.stdout.split() == [message.id]
    assert (message.body, dict(message.attributes)) == ('{"id":\n 1}\n', {"tenant": "acme"})


def test_send_reads_standard_input_and_every_line_when_told_so(shop):
    result = call("send", "parcels", "--lines", "--group", "a", stdin="one\n\ntwo\n")

    sent = MemoryQueue.named("more-parcels").messages()
    assert len(result.stdout.split()) == 2
    assert [(message.body, message.group) for message in sent] == [("one", "a"), ("two", "a")]


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("send", "ordres"), 2, "there is no route 'ordres'; did you mean 'orders'?"),
        (("send", "orders", "--attribute", "x"), 2, "write NAME=VALUE"),
        (("send", "orders", "missing.json"), 2, "missing.json"),
        (("routes", "--set", "nonsense"), 2, "nonsense"),
        (("plugins", "show", "memroy"), 2, "did you mean 'memory'?"),
        (("plugins", "docs", "nothing-like-it"), 2, "there is no plugin or component"),
    ],
)
def test_a_mistake_is_named_with_the_way_out_and_without_a_traceback(shop, args, code, text):
    result = call(*args, stdin="body")

    assert result.exit_code == code
    assert text in result.stderr
    assert "Traceback" not in result.output


def test_plugins_show_has_every_option_and_a_configuration_that_can_be_pasted():
    result = call("plugins", "show", "memory")

    pasted = "\n".join(line[4:] for line in result.stdout.splitlines() if line.startswith("    "))
    route = tomllib.loads(pasted)["routes"]["orders"]
    assert {"queue", "lease", "max_receives"} <= {line.split()[0] for line in result.stdout.splitlines() if line}
    assert route["provider"] == "memory"
    assert "handler" in route


def test_plugins_show_as_json_is_the_schema_of_the_options():
    answer = json.loads(call("plugins", "show", "loafer-core/memory", "--json").stdout)

    [component] = answer["components"]
    assert (component["kind"], component["name"]) == ("provider", "memory")
    assert "queue" in component["options"]["properties"]


def test_plugins_docs_is_a_markdown_table_with_every_option():
    result = call("plugins", "docs", "memory")

    assert "## Provider memory" in result.stdout
    assert "| `queue` | a string" in result.stdout
    assert "```toml" in result.stdout


def test_plugins_check_builds_what_is_installed():
    result = call("plugins", "check", "builtin")

    assert result.exit_code == 0
    assert "provider memory: built" in result.stdout


def test_the_schema_accepts_the_example_and_refuses_misspelt_keys_options_and_missing_parts():
    schema = json.loads(call("schema").stdout)
    check = jsonschema.Draft202012Validator(schema)
    example = tomllib.loads((Path(__file__).parents[3] / "examples/shop/loafer.toml").read_text())
    route = {"provider": {"name": "memory", "queue": "x"}, "handler": "a:b"}

    def accepts(**changed: object) -> bool:
        return check.is_valid({"routes": {"orders": {**route, **changed}}})

    assert check.is_valid(example)
    assert accepts(concurrency="${CONCURRENCY:-5}", retry="leave", error_handler=["log", "a.b:c"])
    assert not accepts(concurency=5)
    assert not accepts(provider={"name": "memory", "lesse": 5})
    assert not accepts(translator="jsson")
    assert not accepts(concurrency=0)
    assert not check.is_valid({"routes": {"orders": {"provider": "memory"}}})
    assert not check.is_valid({"loafer": {"shutdown": 5}, "routes": {"orders": route}})
