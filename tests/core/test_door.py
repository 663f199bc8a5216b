"""The door of the package: everything public, nothing loaded before it is asked for."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import loafer_core

HEAVY = ["aiobotocore", "botocore", "aiohttp", "boto3", "moto", "sentry_sdk"]


def test_every_public_name_can_be_had():
    for name in loafer_core.__all__:
        assert getattr(loafer_core, name) is not None, name


def test_the_names_are_listed_and_all_of_them_public():
    assert set(dir(loafer_core)) == set(loafer_core.__all__)
    assert len(set(loafer_core.__all__)) == len(loafer_core.__all__)


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="'loafer_core' has no attribute 'Managr'"):
        _ = loafer_core.Managr


def test_what_type_checkers_see_is_what_is_loaded():
    tree = ast.parse(Path(loafer_core.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names}

    assert sorted([*seen, "__version__"]) == sorted(loafer_core.__all__)
    for name, module in seen.items():
        assert getattr(loafer_core, name) is getattr(importlib.import_module(module), name), name


def loaded(*arguments: str, cwd: Path) -> set[str]:
    """Run ``loafer`` in a process of its own; gives the modules that it loaded."""
    code = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules)), file=sys.__stdout__))\n"
        "from loafer_core.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def write(folder: Path, provider: str) -> None:
    (folder / "loafer.toml").write_text(
        f'[routes.orders]\nprovider = {provider}\ntranslator = "json"\nhandler = "builtins:print"\n'
    )


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--help"]], ids=" ".join)
def test_what_asks_for_no_plugin_loads_none_of_the_dependencies_but_click(arguments, tmp_path):
    assert loaded(*arguments, cwd=tmp_path).isdisjoint({"pydantic", "importlib_metadata", "pluggy", *HEAVY})


@pytest.mark.parametrize(
    "arguments", [["plugins", "list"], ["plugins", "list", "--no-load"], ["routes"], ["check"]], ids=" ".join
)
def test_what_looks_at_plugins_loads_none_of_their_libraries(arguments, tmp_path):
    write(tmp_path, '"memory"')

    assert loaded(*arguments, cwd=tmp_path).isdisjoint(HEAVY)
