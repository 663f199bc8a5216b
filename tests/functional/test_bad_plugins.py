"""Plugins that are broken, blocked or in each other's way, told by the command line to who wanted to use them."""

from __future__ import annotations

import pytest

PLUGIN = """
    from loafer_core import TranslatorSpec, hookimpl

    LOAFER_API = 1

    @hookimpl
    def loafer_translators():
        return [TranslatorSpec(name="csv", summary="Values with commas", factory=lambda options: Translator())]

    class Translator:
        def translate(self, message): ...
"""

ORDERS = """
[routes.orders]
provider = { name = "memory", queue = "orders" }
handler = "builtins:print"
"""
CSV = ORDERS + "translator = 'csv'"


def test_a_name_that_two_distributions_offer_is_refused_where_it_is_used_and_both_are_named(
    write, unpack, loafer, errors
):
    unpack("loafer-csv", PLUGIN, point="csv")
    unpack("acme-tables", PLUGIN, point="tables")
    write(**{"loafer.toml": CSV})

    assert errors() == [
        "routes.orders.translator: translator 'csv' is offered by the plugins loafer-csv/csv and acme-tables/tables; "
        "write 'acme-tables/csv' or 'loafer-csv/csv', or put one of them into plugins.disable"
    ]
    assert loafer("check", "--set", "routes.orders.translator=acme-tables/csv").exit_code == 0
    assert loafer("check", "--set", "plugins.disable=['tables']").exit_code == 0
    assert loafer("check", "--set", "routes.orders.translator=text").exit_code == 0


def test_a_broken_plugin_that_no_route_uses_is_a_warning(write, unpack, loafer):
    unpack("loafer-csv", "import no_such_sdk", point="csv")
    write(**{"loafer.toml": ORDERS})

    result = loafer("check")

    assert result.exit_code == 0
    assert result.stderr == (
        "warning: plugin loafer-csv/csv: broken: cannot import 'loafer_csv_plugin': "
        "ModuleNotFoundError: No module named 'no_such_sdk'\n"
    )
    assert result.stdout == "ok: 1 route, 1 warning\n"
    assert loafer("check", "--strict").exit_code == 1
    assert "running: orders" in loafer("run", "--until-empty=0.1").stderr


def test_a_broken_plugin_that_a_route_uses_is_why_its_component_is_not_there(write, unpack, loafer, errors):
    unpack("loafer-csv", "import no_such_sdk", point="csv")
    write(**{"loafer.toml": CSV})

    [line] = errors()

    assert "there is no translator 'csv': the plugin loafer-csv/csv is broken: cannot import" in line
    assert "no_such_sdk" in line
    assert "loafer_csv_plugin.py" in loafer("check", "--traceback").stderr


@pytest.mark.parametrize("switch", ["file", "environment"])
def test_a_blocked_plugin_that_a_route_uses_is_why_its_component_is_not_there(
    write, unpack, errors, monkeypatch, switch
):
    unpack("loafer-csv", PLUGIN, point="csv")
    write(**{"loafer.toml": CSV})
    if switch == "environment":
        monkeypatch.setenv("LOAFER_PLUGINS_DISABLE", "csv")

    [line] = errors(*(["--set", "plugins.disable=['csv']"] if switch == "file" else []))

    who = "plugins.disable" if switch == "file" else "LOAFER_PLUGINS_DISABLE"
    assert f"there is no translator 'csv': the plugin loafer-csv/csv is blocked: {who} names it" in line


def test_a_plugin_that_cannot_build_what_it_offers_is_named_as_the_culprit(write, unpack, errors):
    unpack("loafer-csv", PLUGIN.replace("Translator()", "1 / 0"), point="csv")
    write(**{"loafer.toml": CSV})

    [line] = errors()

    assert line == (
        "routes.orders.translator: the plugin loafer-csv/csv: its 'csv' raised ZeroDivisionError: division by zero"
    )


def test_a_plugin_that_builds_something_else_is_named_as_the_culprit(write, unpack, errors):
    unpack("loafer-csv", PLUGIN.replace("Translator()", "42"), point="csv")
    write(**{"loafer.toml": CSV})

    [line] = errors()

    assert "the plugin loafer-csv/csv: its 'csv' is no translator: it lacks translate()" in line
