"""The kinds of component stand in one table, and nowhere else: a kind that is invented here is known everywhere."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest

import loafer_core
from loafer_core.api.hookspecs import Hooks
from loafer_core.api.kinds import KINDS
from loafer_core.config.settings import read

CORE = Path(loafer_core.__file__).parent

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


# --- what every row keeps to


@each_kind
def test_a_kind_s_hook_returns_a_list_of_its_spec_which_is_on_the_door(kind):
    [declared] = get_args(get_type_hints(getattr(Hooks, kind.hook))["return"])

    assert (get_origin(declared) or declared) is kind.spec
    assert getattr(loafer_core, kind.spec.__name__) is kind.spec


def test_every_hook_belongs_to_a_kind():
    assert [name for name in vars(Hooks) if name.startswith("loafer_")] == [kind.hook for kind in KINDS.values()]


@each_kind
def test_a_kind_is_named_by_a_key_of_the_configuration_or_used_by_a_command(kind):
    route = {"provider": "memory", "handler": "builtins:print"}

    def is_right(value: object) -> bool:
        if kind.section == "routes":
            return read({"routes": {"orders": {**route, kind.key: value}}}).findings == ()
        return read({"routes": {"orders": route}, kind.section: {kind.key: value}}).findings == ()

    assert bool(kind.place) != bool(kind.command_line)
    if kind.place:
        assert is_right({"name": "acme"})
        assert is_right([{"name": "acme"}]) == kind.many


# --- nothing else lists them


def lists_of_kinds(source: str) -> Iterator[str]:
    """The tuples, lists, sets, dicts and Literals in which four or more kinds are named."""
    words = {word for kind in KINDS.values() for word in (kind.name, kind.label.replace(" ", "-"), kind.hook)}
    specs = {kind.spec.__name__ for kind in KINDS.values()}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            named = [*node.keys, *node.values]
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            named = [part for item in node.elts for part in (item.elts if isinstance(item, ast.Tuple) else [item])]
        else:
            continue
        constants = {part.value for part in named if isinstance(part, ast.Constant)}
        names = {part.id for part in named if isinstance(part, ast.Name)}
        if len(constants & words) >= 4 or len(names & specs) >= 4:
            yield ast.unparse(node)


@pytest.mark.parametrize(
    "source",
    [
        'KINDS = ("provider", "translator", "error-handler", "handler")',
        'Kind = Literal["provider", "translator", "handler", "middleware"]',
        'PLACES = {"provider": 1, "translator": 1, "error_handler": 2, "observer": 3}',
        'DECLARES = {"loafer_providers": 1, "loafer_handlers": 2, "loafer_commands": 3, "loafer_sandboxes": 4}',
        "SPECS = [ProviderSpec, HandlerSpec, ObserverSpec, SandboxSpec]",
        'KNOWN = [("provider", 1), ("handler", 2), ("observer", 3), ("command", 4)]',
    ],
)
def test_a_list_of_kinds_is_seen_in_every_form(source):
    assert [*lists_of_kinds(source)] != []


def test_no_module_but_the_table_lists_the_kinds():
    modules = {path.relative_to(CORE).as_posix(): path.read_text(encoding="utf-8") for path in CORE.rglob("*.py")}
    del modules["api/kinds.py"]

    assert {name: found for name, source in modules.items() if (found := [*lists_of_kinds(source)])} == {}


# --- a kind that is invented

INVENTED = '''
"""A spec, a hook and a row, as CONTRIBUTING has it; and, as a route names this kind, a key of the route."""
import dataclasses, json, sys
from typing import ClassVar

from click.testing import CliRunner

from loafer_core.api import declarations, hookspecs, kinds, route

@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DoorKeeperSpec(declarations.Spec):
    kind: ClassVar[str] = "door_keeper"

@hookspecs.hookspec
def loafer_door_keepers(self): ...

row = kinds.Kind(
    spec=DoorKeeperSpec, hook="loafer_door_keepers", place="routes.*.door_keeper", many=True, methods=("guard",)
)

@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Route(route.Route):
    door_keeper: object = ()

declarations.DoorKeeperSpec = DoorKeeperSpec
hookspecs.Hooks.loafer_door_keepers = loafer_door_keepers
kinds.KINDS = {**kinds.KINDS, row.name: row}
route.Route = Route

from loafer_core.cli import main

said = [CliRunner().invoke(main, words) for words in json.loads(sys.argv[1])]
print(json.dumps([[result.exit_code, result.stdout, result.stderr] for result in said]))
'''

PLUGIN = """
from loafer_core import Options, hookimpl
from loafer_core.api.declarations import DoorKeeperSpec

LOAFER_API = 1

class BoltOptions(Options):
    strength: int = 1

class Bolt:
    def guard(self): ...

@hookimpl
def loafer_door_keepers():
    return [
        DoorKeeperSpec(name="bolt", summary="Bolts the door", options=BoltOptions, factory=lambda _: Bolt()),
        DoorKeeperSpec(name="curtain", summary="Hides the door", options=BoltOptions, factory=lambda _: object()),
    ]
"""

FILE = """
[routes.orders]
provider = "memory"
handler = "builtins:print"
door_keeper = "bolt"
"""


@pytest.fixture
def loafer(tmp_path):
    """Run ``loafer`` commands in a process in which that kind, and a plugin that brings two of it, are known."""
    (tmp_path / "invented.py").write_text(INVENTED)
    (tmp_path / "doors.py").write_text(PLUGIN)
    (tmp_path / "loafer.toml").write_text(FILE)
    metadata = tmp_path / "loafer_doors-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: loafer-doors\nVersion: 1.0\nSummary: Doors\n")
    (metadata / "entry_points.txt").write_text("[loafer]\ndoors = doors\n")

    def loafer(*commands: str) -> list[tuple[int, str, str]]:
        path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
        words = json.dumps([command.split() for command in commands])
        command = [sys.executable, "-P", "invented.py", words]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return loafer


def test_a_plugin_s_components_of_an_invented_kind_are_listed_shown_documented_and_built(loafer):
    listed, shown, documented, built = loafer(
        "plugins list --kind door_keeper --json",
        "plugins show bolt",
        "plugins docs doors --kind door_keeper",
        "plugins check doors",
    )

    [plugin] = [plugin for plugin in json.loads(listed[1])["plugins"] if plugin["plugin"] == "doors"]
    assert [provided["kind"] for provided in plugin["provides"]] == ["door_keeper", "door_keeper"]
    assert "door keeper bolt: Bolts the door" in shown[1]
    assert '    door_keeper = "bolt"\n' in shown[1]
    assert "## Door keeper curtain\n" in documented[1]
    assert "door keeper bolt: built in" in built[1]
    assert "door keeper curtain: failed: it lacks guard()" in built[1]


def test_a_route_binds_an_invented_kind_with_its_options_and_objections(loafer):
    key = "routes.orders.door_keeper"
    routes, told, refused, unfit, schema = loafer(
        "routes --json",
        f"check --set {key}.strength=2",
        f"check --set {key}.strength=strong",
        f'check --set {key}=["bolt","curtain"]',
        "schema",
    )

    [route] = json.loads(routes[1])["routes"]
    assert route["door_keeper"] == ["bolt"]
    assert told[0] == 0
    assert f"{key}.strength: expected a whole number, not 'strong'" in refused[2]
    assert f"{key}[1]: the plugin loafer-doors/doors: its 'curtain' is no door keeper: it lacks guard()" in unfit[2]
    definitions = json.loads(schema[1])["$defs"]
    assert {"bolt", "loafer-doors/curtain"} < {*definitions["door_keeper"]["anyOf"][0]["enum"]}
    assert {"$ref": "#/$defs/door_keeper"} in definitions["RouteTable"]["properties"]["door_keeper"]["anyOf"]
