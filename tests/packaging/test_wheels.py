"""The distributions as users get them: built wheels, not the checkout."""

import io
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


# Yesterday's plugins

YESTERDAY = "ba69dc7f6650f08495e9d83cb6d48c89591de35e"
"""A commit whose plugins have to work with the core of today: the last release, once there is one.

These bind the core from above, as was right then, so a core 0.2 needs a later commit here.
"""
ROUTES = """
[defaults.sqs]
region_name = "eu-west-1"

[routes.orders]
provider = { name = "sqs", queue = "orders" }
translator = "json"
handler = { name = "sqs", queue = "parcels" }

[routes.parcels]
provider = { name = "sqs", queue = "parcels", visibility_timeout = 600 }  # it is the nack that brings a parcel back
translator = "json"
handler = "parcels:send"
retry = { base = 0.1, cap = 0.2 }
"""
HANDLER = """
async def send(parcel: dict, metadata):
    if parcel["to"] == "Ada" and metadata["receive_count"] == 1:
        raise ConnectionError("not at home")
    print(parcel["to"], metadata["receive_count"])
"""


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory):
    """What the repository had then: the plugins, and the contracts that they kept."""
    parts = ["plugins", "examples", "tests/loafer_json", "tests/loafer_sentry"]
    git = ["git", "archive", "--format=zip", YESTERDAY, *parts]
    archive = subprocess.run(git, cwd=ROOT, capture_output=True)
    if archive.returncode != 0:
        if (ROOT / ".git" / "shallow").exists():
            pytest.skip(f"commit {YESTERDAY[:7]} is not in this shallow clone ('git fetch --unshallow' brings it)")
        pytest.fail(f"commit {YESTERDAY[:7]} is not in this repository: {archive.stderr.decode()}")
    folder = tmp_path_factory.mktemp("yesterday")
    zipfile.ZipFile(io.BytesIO(archive.stdout)).extractall(folder)
    return folder


@pytest.fixture(scope="module")
def their_bin(yesterday, wheels, tmp_path_factory):
    """The programs of a venv with the plugins of then, as wheels, and the core of now.

    The libraries of others are linked from where this Python has them: to install them once more would take a minute.
    """
    projects = [yesterday / "examples" / "loafer_spool", *(yesterday / "plugins").iterdir()]
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(yesterday)]
    run(*build, *map(str, projects), cwd=yesterday)
    home = tmp_path_factory.mktemp("home")
    venv.create(home)
    [site] = home.glob("lib/python*/site-packages")
    for library in (entry for path in sys.path if path.endswith("-packages") for entry in Path(path).iterdir()):
        if "loafer" not in library.name and library.suffix != ".pth" and not (site / library.name).exists():
            (site / library.name).symlink_to(library)
    pip = [sys.executable, "-m", "pip", "--python", str(home), "install", "-q", "--no-index"]
    run(*pip, str(wheels["loafer_core"]), *map(str, yesterday.glob("*.whl")), cwd=home)
    return home / "bin"


@pytest.mark.wheels
@pytest.mark.timeout(300)
def test_yesterdays_plugins_are_loaded_and_built_by_todays_core(yesterday, wheels, their_bin):
    listed = json.loads(run(their_bin / "loafer", "plugins", "list", "--json", cwd=yesterday))["plugins"]
    run(their_bin / "loafer", "plugins", "check", cwd=yesterday)

    assert {plugin["distribution"]: (plugin["state"], plugin["origin"]) for plugin in listed} == {
        wheel.name.partition("-")[0].replace("_", "-"): ("ok", f"wheel {wheel}")
        for wheel in [wheels["loafer_core"], *yesterday.glob("*.whl")]
    }


@pytest.mark.wheels
@pytest.mark.timeout(300)
def test_yesterdays_plugins_keep_their_contracts_with_todays_core(yesterday, their_bin):
    # In four processes, because most of the time goes by in waiting for leases to end. The contract of loafer-sqs needs
    # modules of the kit that are not public, so it cannot be asked; that of loafer-rabbitmq needs a broker.
    contracts = [
        "tests/loafer_json/test_contract.py",
        "tests/loafer_sentry/test_contract.py",
        "examples/loafer_spool/tests/test_contract.py",
    ]
    pytest = ["-m", "pytest", "-q", "-n", "4", "-p", "loafer_core.testing.summary", "--import-mode=importlib"]
    proved = run(their_bin / "python", *pytest, *contracts, cwd=yesterday)

    kept = {
        name: int(count) for name, count in re.findall(r"^contract: (\w+)\(.*\): (\d+) proved", proved, re.MULTILINE)
    }
    assert kept["TestSpool"] > 50
    assert {"TestJSON", "TestSNS", "TestS3", "TestEventBridge", "TestSNSSignature", "TestSentry"} <= kept.keys()


@pytest.mark.wheels
@pytest.mark.timeout(300)
def test_routes_on_yesterdays_plugins_are_worked_off_by_todays_core(their_bin, tmp_path):
    (tmp_path / "loafer.toml").write_text(ROUTES)
    (tmp_path / "parcels.py").write_text(HANDLER)
    (tmp_path / "orders.jsonl").write_text('{"to": "Ada"}\n{"to": "Bob"}\n')

    sample = ["--sandbox", "--sample", "orders=orders.jsonl", "--until-empty=60"]
    said = run(their_bin / "loafer", "run", *sample, cwd=tmp_path)

    assert sorted(said.split("\n")) == ["", "Ada 2", "Bob 1"]
