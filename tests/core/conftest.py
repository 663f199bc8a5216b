"""What several tests of the core need."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from loafer_core.testing.virtual import VirtualLoop


class _VirtualTime(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualLoop(grace=0.01)


@pytest.fixture
def virtual_time() -> Iterator[None]:
    """``Manager.run()`` makes its own loop: here in virtual time, so that nobody waits for leases and quiet seconds."""
    before = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_VirtualTime())
    yield
    asyncio.set_event_loop_policy(before)
