"""An author's first afternoon, from built wheels in an empty venv: make a package, install it, test it, run it."""

import os
import re
import signal
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINS = ["-c", str(ROOT / "constraints.txt")]


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_", "COVERAGE_"))}


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.wheels
@pytest.mark.timeout(600)
def test_a_new_provider_is_installed_tested_typed_listed_and_run_within_four_commands(tmp_path):
    build = ["-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path)]
    run(sys.executable, *build, str(ROOT), cwd=tmp_path)
    [core] = tmp_path.glob("loafer_core-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    pip = [str(binaries / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q", *PINS]
    run(*pip, str(core), cwd=tmp_path)

    run(binaries / "loafer", "plugins", "new", "acme", "--kind", "provider", cwd=tmp_path)
    home = tmp_path / "loafer-acme"
    run(*pip, "-e", ".[testing]", cwd=home)
    tested = run(binaries / "pytest", cwd=home)
    run(binaries / "mypy", cwd=home)
    listed = run(binaries / "loafer", "plugins", "list", cwd=home)

    assert re.search(r"TestProvider\(acme\): [4-9]\d proved, \d+ skipped", tested), tested
    assert re.search(r"^acme +0\.1\.0 +ok +provider: acme", listed, re.MULTILINE), listed
    service = subprocess.Popen(
        [binaries / "loafer", "run"],
        cwd=home,
        env=environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = [service.stdout.readline() for _ in range(2)]
        service.send_signal(signal.SIGINT)
        assert service.wait(60) == 0
    finally:
        service.kill()
        service.stdout.close()
    assert [line.split(" (")[0] for line in said] == ["Hello", "World"]
