"""Distributions as strangers would publish them: written to disk, installed beside us, asked from another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def site(tmp_path) -> Path:
    """An empty directory to install into; ``python`` puts it on the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def unpack(site) -> Callable[..., None]:
    """Install a distribution by hand: one module, and the metadata that an installer writes."""

    def unpack(distribution: str, source: str, *, point: str) -> None:
        module = f"{distribution}_plugin".replace("-", "_")
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        metadata = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nSummary: {distribution} for Loafer\n"
        )
        (metadata / "entry_points.txt").write_text(f"[loafer]\n{point} = {module}\n")

    return unpack


@pytest.fixture
def python(site, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python in a process of its own that sees ``site``, from a directory where nothing of ours lies."""

    def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOAFER_")}
        return subprocess.run(
            [sys.executable, *arguments],
            env={**inherited, "PYTHONPATH": str(site), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
        )

    return python


@pytest.fixture
def plugins_list(python) -> Callable[..., dict[str, dict]]:
    """Ask ``loafer plugins list --json``; gives the plugins by ``distribution/entry-point``."""

    def plugins_list(*options: str, **environment: str) -> dict[str, dict]:
        answer = python("-m", "loafer_core", "plugins", "list", "--json", *options, **environment)
        assert (answer.returncode, answer.stderr) == (0, "")
        return {
            f"{plugin['distribution']}/{plugin['plugin']}": plugin for plugin in json.loads(answer.stdout)["plugins"]
        }

    return plugins_list
