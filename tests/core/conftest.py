"""What several tests of the core need."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from collections.abc import Iterator

import pytest

from loafer_core.testing import VirtualLoop

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # what is beside this file is imported by its name
pytest.register_assert_rewrite("route_rig")

from route_rig import ids, rig  # noqa: E402 - its asserts are rewritten, which has to be said first

__all__ = ["ids", "rig", "virtual_time"]


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
