"""What tests of several rooms need, and which of them are not looked at by coverage."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest

# They run the same lines of the core ten thousand times, or none of it.
UNCOVERED = ("simulation/test_simulation", "/torture/", "/loafer_sqs/", "/loafer_rabbitmq/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(part in item.path.as_posix() for part in UNCOVERED):
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture
def install(tmp_path, monkeypatch) -> Iterator[Callable[..., None]]:
    """``install("loafer-x", source, point="x")``: a plugin in this process, as pip would leave it."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def install(distribution: str, source: str, *, point: str) -> None:
        module = f"{distribution}_plugin".replace("-", "_")
        (site / f"{module}.py").write_text(textwrap.dedent(source))
        metadata = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nSummary: X\n")
        (metadata / "entry_points.txt").write_text(f"[loafer]\n{point} = {module}\n")
        # What is installed is looked up once per path: for the next look this is another one.
        monkeypatch.syspath_prepend(str(tmp_path / f"after-{distribution}"))

    yield install
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
