"""What several tests of the core need."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest

from loafer_core.testing.virtual import VirtualLoop


class _VirtualTime(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualLoop(grace=0.01)


@pytest.fixture
def virtual_time(monkeypatch) -> Iterator[None]:
    """``Manager.run()`` makes its own loop: here in virtual time, so that nobody waits for leases and quiet seconds."""
    monkeypatch.setitem(sys.modules, "uvloop", None)  # it would not ask the policy
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_VirtualTime())
    yield
    asyncio.set_event_loop_policy(before)


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
