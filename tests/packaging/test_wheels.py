"""The distributions as users get them: built wheels, not the checkout."""

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = {"loafer_core": ROOT} | {path.parent.name: path.parent for path in ROOT.glob("plugins/*/pyproject.toml")}


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=own_environment())
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def own_environment():
    """Give ours, less what could show the checkout to the Python that is asked."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_", "COVERAGE_"))}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Build every distribution, each from its own folder; offline, as the build backend is installed."""
    folder = tmp_path_factory.mktemp("dist")
    for project in PROJECTS.values():
        build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(project)]
        run(*build, cwd=folder)
    return {wheel.name.partition("-")[0]: wheel for wheel in folder.glob("*.whl")}


def test_every_distribution_builds_a_wheel_of_its_own_package_only(wheels):
    assert set(wheels) == set(PROJECTS)
    for package, wheel in wheels.items():
        names = zipfile.ZipFile(wheel).namelist()
        info = next(name.partition("/")[0] for name in names if ".dist-info/" in name)
        assert {name.partition("/")[0] for name in names} == {package, info}
        assert {f"{package}/__init__.py", f"{package}/py.typed", f"{info}/licenses/LICENSE"} <= set(names)


def test_a_plugins_wheel_names_one_module_in_the_group_loafer(wheels):
    for package, wheel in wheels.items():
        archive = zipfile.ZipFile(wheel)
        (entry_points,) = [name for name in archive.namelist() if name.endswith("dist-info/entry_points.txt")]
        text = archive.read(entry_points).decode()
        assert ("[loafer]" in text) == (package != "loafer_core")
        assert ("[console_scripts]" in text) == (package == "loafer_core")


@pytest.mark.wheels
@pytest.mark.timeout(600)
def test_wheels_work_in_an_empty_venv_and_a_removed_plugin_is_gone(wheels, tmp_path):
    home, elsewhere = tmp_path / "venv", tmp_path / "elsewhere"
    elsewhere.mkdir()
    venv.create(home, with_pip=True)
    python, loafer = str(home / "bin" / "python"), str(home / "bin" / "loafer")
    dist = str(next(iter(wheels.values())).parent)

    def pip(*arguments):
        run(python, "-m", "pip", "--disable-pip-version-check", *arguments, cwd=elsewhere)

    def plugins():
        listed = json.loads(run(loafer, "plugins", "list", "--json", cwd=elsewhere))["plugins"]
        return {plugin["plugin"]: plugin["state"] for plugin in listed if plugin["distribution"] != "loafer-core"}

    pip("install", "-q", "-c", str(ROOT / "constraints.txt"), "--find-links", dist, "loafer-sqs")
    assert "loafer_core" in run(python, "-c", "import loafer_core; print(loafer_core.__file__)", cwd=elsewhere)
    assert plugins() == {"sqs": "ok"}

    others = [str(wheel) for package, wheel in wheels.items() if package not in ("loafer_core", "loafer_sqs")]
    pip("install", "-q", "-c", str(ROOT / "constraints.txt"), "--find-links", dist, *others)
    everything = {package.removeprefix("loafer_"): "ok" for package in wheels if package != "loafer_core"}
    assert plugins() == everything

    pip("uninstall", "-q", "-y", "loafer-json")
    del everything["json"]
    assert plugins() == everything


EVERY_MODULE = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        assert not error.name.startswith("loafer"), error  # of an extra, which is not installed
"""


@pytest.mark.wheels
@pytest.mark.timeout(600)
def test_a_plugin_works_with_the_oldest_core_that_it_allows(wheels, tmp_path):
    home, elsewhere = tmp_path / "venv", tmp_path / "elsewhere"
    elsewhere.mkdir()
    venv.create(home, with_pip=True)
    python, dist = str(home / "bin" / "python"), str(next(iter(wheels.values())).parent)
    oldest = {package: oldest_core(wheel) for package, wheel in wheels.items() if package != "loafer_core"}

    for package, version in oldest.items():
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "-c", str(ROOT / "constraints.txt")]
        run(*pip, "--find-links", dist, f"loafer-core=={version}", str(wheels[package]), cwd=elsewhere)
        run(python, "-c", EVERY_MODULE, package, cwd=elsewhere)
        listed = run(str(home / "bin" / "loafer"), "plugins", "list", "--json", cwd=elsewhere)
        states = {plugin["distribution"]: plugin["state"] for plugin in json.loads(listed)["plugins"]}
        assert states[package.replace("_", "-")] == "ok"


def oldest_core(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
    bounds = re.search(r"^Requires-Dist: loafer-core(.*)$", archive.read(metadata).decode(), re.MULTILINE)
    return re.search(r">=([0-9.]+)", bounds[1])[1]
