"""What tests of several rooms need, and which of them are not looked at by coverage."""

from __future__ import annotations

import os
import pathlib
import sys
import textwrap
from collections.abc import Callable, Generator, Iterator

import coverage
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # what is beside this file is imported by its name

import servers

# They run the same lines of the core ten thousand times, or none of it; so does what hypothesis thinks up.
UNCOVERED = ("simulation/test_simulation", "/torture/", "/functional/processes/", "/loafer_sqs/", "/loafer_rabbitmq/")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run what is not covered without being traced, which would make it two to three times as slow.

    The mark of pytest-cov would spare neither the fixtures nor, in a worker of pytest-xdist, the test itself: two
    measurements are begun there, and the first one goes on when the second is paused.
    """
    stopped = []
    while _is_uncovered(item) and (measurement := coverage.Coverage.current()):
        measurement.stop()
        stopped.append(measurement)
    try:
        return (yield)
    finally:
        for measurement in reversed(stopped):
            measurement.start()


def _is_uncovered(item: pytest.Item) -> bool:
    is_by_chance = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    return is_by_chance or any(part in item.path.as_posix() for part in UNCOVERED)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """The endpoint of an SQS and SNS that runs in this process. One receiver a queue, and few messages."""
    with servers.moto() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def ministack_server() -> Iterator[str]:
    """The endpoint of an SQS and SNS in a process of its own: FIFO, and visibility as documented."""
    program = servers.ministack_program()
    if program is None and os.environ.get("CI"):
        pytest.fail(servers.MISSING, pytrace=False)
    if program is None:
        pytest.skip(servers.MISSING)
    with servers.ministack(program) as endpoint:
        yield endpoint


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
