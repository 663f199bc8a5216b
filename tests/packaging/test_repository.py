"""What holds for the repository as a whole: pins, versions, licences, sizes, and nothing of anybody's own machine."""

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from statistics import median

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]
EXAMPLES = sorted(ROOT.glob("examples/*/pyproject.toml"))
PACKAGES = [ROOT / "loafer_core", *sorted(ROOT.glob("plugins/*/src/*/"))]
CONSTRAINTS = [ROOT / "constraints.txt", ROOT / "constraints-ministack.txt"]

each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)


def metadata(pyproject):
    return tomllib.loads(pyproject.read_text())


def name_of(pyproject):
    return metadata(pyproject)["project"]["name"]


def package_of(pyproject):
    return next(package for package in PACKAGES if package.name == name_of(pyproject).replace("-", "_"))


each_project = pytest.mark.parametrize("pyproject", PYPROJECTS, ids=name_of)


def python_files(package):
    return sorted(package.rglob("*.py"))


@cache
def text_files():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    texts = {}
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        try:
            texts[name] = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
    return texts


@pytest.mark.parametrize("constraints", CONSTRAINTS, ids=lambda path: path.name)
def test_constraints_are_names_and_versions_and_nothing_else(constraints):
    lines = constraints.read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[0-9][\w.]*", line)] == []
    names = [canonicalize_name(line.partition("==")[0]) for line in lines]
    assert len(set(names)) == len(names)


def test_every_direct_dependency_is_pinned_within_the_range_that_its_project_states():
    pins = dict(line.split("==") for line in CONSTRAINTS[0].read_text().splitlines())
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    for pyproject in PYPROJECTS:
        project = metadata(pyproject)
        extras = project["project"].get("optional-dependencies", {}).values()
        groups = project.get("dependency-groups", {}).values()
        for line in [*project["project"]["dependencies"], *(line for part in (*extras, *groups) for line in part)]:
            wanted = Requirement(line)
            if not wanted.name.startswith("loafer-"):
                assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), f"{pyproject}: {line}"


@each_project
def test_a_packages_own_version_is_its_projects(pyproject):
    (version,) = [
        ast.literal_eval(node.value)
        for node in ast.parse((package_of(pyproject) / "__init__.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]
    assert version == metadata(pyproject)["project"]["version"]


@pytest.mark.parametrize("pyproject", [*PYPROJECTS[1:], *EXAMPLES], ids=name_of)
def test_a_plugin_accepts_the_core_beside_it_and_every_later_one(pyproject):
    (core,) = [
        requirement
        for requirement in map(Requirement, metadata(pyproject)["project"]["dependencies"])
        if requirement.name == "loafer-core"
    ]
    assert core.specifier.contains(metadata(PYPROJECTS[0])["project"]["version"])
    assert {bound.operator for bound in core.specifier} == {">="}


@each_package
def test_a_package_tells_type_checkers_that_it_is_typed(package):
    assert (package / "py.typed").read_text() == ""


@each_project
def test_every_distribution_brings_the_same_licence(pyproject):
    assert (pyproject.parent / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert metadata(pyproject)["project"]["license-files"] == ["LICENSE"]


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(r"python[h]osted|registry[.]npm[j]s|\w\.\w+/[s]imple\b", id="registry host"),
        pytest.param(
            rf"(?<![\w.:/-])(?:{re.escape(str(ROOT))}|{re.escape(str(Path.home()))})(?![\w.-])", id="own machine"
        ),
    ],
)
def test_no_file_names_a_package_registry_or_a_folder_of_the_machine_it_was_written_on(pattern):
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in text_files().items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert found == []


@each_package
def test_no_module_is_longer_than_400_lines_and_half_of_them_are_at_most_120(package):
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in python_files(package)}
    assert {path: length for path, length in lengths.items() if length > 400} == {}
    assert median(lengths.values()) <= 120


def test_the_hall_of_the_core_has_at_most_five_files_and_no_room_of_any_package_more_than_fourteen():
    hall = [path.name for path in (ROOT / "loafer_core").iterdir() if path.is_file()]
    assert len(hall) <= 5, hall
    rooms = {path.parent for package in PACKAGES for path in python_files(package)}
    files = {room: [path for path in room.glob("*.py") if path.name != "__init__.py"] for room in rooms}
    assert {str(room.relative_to(ROOT)): len(found) for room, found in files.items() if len(found) > 14} == {}


@each_package
def test_nineteen_of_twenty_functions_are_at_most_40_lines_long(package):
    lengths = sorted(
        (node.end_lineno - node.lineno + 1, f"{path.relative_to(ROOT)}:{node.lineno}")
        for path in python_files(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    longer = [where for length, where in lengths if length > 40]
    assert len(longer) <= len(lengths) / 20, longer
