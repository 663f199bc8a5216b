"""``loafer plugins new``: what it makes is complete, typed, tested and documented, for every kind."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

import loafer_core
from loafer_core import cli
from loafer_core.cli import main
from loafer_core.cli.new import SCAFFOLDS

KINDS = list(SCAFFOLDS)


def new(*words):
    return CliRunner().invoke(main, ["plugins", "new", *map(str, words)])


def python(*words, cwd, **environment):
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One package of each kind, made by the command."""
    folder = tmp_path_factory.mktemp("made")
    for kind in KINDS:
        assert new(f"acme-{kind}", "--kind", kind, "--into", folder).exit_code == 0
    return folder


def test_a_new_package_is_made_whole_and_says_what_comes_next(tmp_path):
    said = new("acme", "--kind", "provider", "--into", tmp_path)

    assert said.exit_code == 0
    folder = tmp_path / "loafer-acme"
    printed = [Path(line.strip()) for line in said.stdout.splitlines()]
    assert sorted(printed) == sorted(path for path in folder.rglob("*") if path.is_file())
    for word in ("cd ", "pip install -e '.[testing]'", "pytest", "loafer run"):
        assert word in said.stderr


def test_a_new_package_needs_the_core_that_made_it_or_any_later_one(tmp_path):
    new("acme", "--kind", "provider", "--into", tmp_path)

    project = tomllib.loads((tmp_path / "loafer-acme" / "pyproject.toml").read_text())["project"]
    core = next(need for need in map(Requirement, project["dependencies"]) if need.name == "loafer-core")
    assert core.specifier.contains(loafer_core.__version__)
    assert {bound.operator for bound in core.specifier} == {">="}


def test_there_are_templates_for_every_kind_that_has_a_scaffold_and_for_no_other():
    templates = Path(cli.__file__).parent / "templates"

    assert {folder.name for folder in templates.iterdir()} == {"common", *KINDS}


def test_the_readme_has_the_options_of_the_new_component(tmp_path):
    new("loafer-acme", "--kind", "translator", "--into", tmp_path)

    readme = (tmp_path / "loafer-acme" / "README.md").read_text()
    assert "translator = " in readme
    assert "| `separator` | a string, " in readme


@pytest.mark.parametrize("name", ["Acme", "1acme", "a b", "../acme", "", "acmé"])
def test_a_name_that_no_route_could_use_is_refused_before_anything_is_made(tmp_path, name):
    said = new(name, "--kind", "provider", "--into", tmp_path)

    assert said.exit_code == 2
    assert "lower-case letters, digits, '-' and '_', beginning with a letter" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_touched(tmp_path):
    folder = tmp_path / "loafer-acme"
    folder.mkdir()
    (folder / "work").write_text("of weeks")

    said = new("acme", "--kind", "provider", "--into", tmp_path)

    assert said.exit_code == 2
    assert "loafer-acme exists already" in said.stderr
    assert [path.read_text() for path in folder.iterdir()] == ["of weeks"]


def test_no_file_keeps_a_mark_of_its_template(made):
    files = [path for path in made.rglob("*") if path.is_file()]

    assert len(files) > 7 * len(KINDS)
    for path in files:
        text = path.read_text()
        assert "${" not in text, path
        assert not path.name.endswith(".template"), path


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_formatted_and_lint_finds_nothing(made, kind):
    rules = "E,F,W,I,UP,B,SIM,RET,PT,RUF"
    for words in (["format", "--check"], ["check", "--select", rules]):
        ruff = ["-m", "ruff", *words, "--line-length", "120", "--no-cache", "."]
        said = python(*ruff, cwd=made / f"loafer-acme-{kind}")
        assert said.returncode == 0, said.stdout


# As pip does it, without a process for each step of each package.
INSTALL = """
import os, sys, zipfile
from hatchling.build import build_wheel

site, *folders = sys.argv[1:]
for folder in folders:
    os.chdir(folder)
    zipfile.ZipFile(os.path.join(site, build_wheel(site))).extractall(site)
"""


@pytest.fixture(scope="module")
def installed(made, tmp_path_factory):
    """Where all of them are installed, beside what this Python has."""
    site = tmp_path_factory.mktemp("site")
    said = python("-c", INSTALL, site, *sorted(made.glob("loafer-*")), cwd=made, PATH="")
    assert said.returncode == 0, said.stderr
    return site


@pytest.mark.timeout(300)
def test_every_new_package_passes_its_own_tests_at_once(made, installed):
    tests = [folder / "tests" for folder in sorted(made.glob("loafer-*"))]
    (made / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\nfilterwarnings = error\n")
    said = python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", *tests, cwd=made, PYTHONPATH=str(installed)
    )

    assert said.returncode == 0, said.stdout
    assert "FAILED" not in said.stdout


@pytest.mark.timeout(300)
def test_every_new_package_is_typed_strictly(made, installed):
    packages = [
        word
        for path in sorted(installed.glob("loafer_acme*"))
        if path.is_dir() and not path.suffix
        for word in ("-p", path.name)
    ]
    said = python("-m", "mypy", "--strict", "--cache-dir", made / ".mypy", *packages, cwd=installed)

    assert len(packages) == 2 * len(KINDS)
    assert said.returncode == 0, said.stdout
