"""What blocks the event loop is named while it does: from a thread, because the loop itself cannot."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from loafer_core.engine import loop_monitor
from loafer_core.engine.loop_monitor import LoopMonitor


class _Said(logging.Handler):
    def __init__(self):
        super().__init__()
        self.event, self.texts = threading.Event(), []

    def emit(self, record):
        self.texts.append(record.getMessage())
        self.event.set()


@pytest.fixture
def said(monkeypatch):
    monkeypatch.setattr(loop_monitor, "LOOK_EVERY", 0.005)
    handler = _Said()
    loop_monitor.logger.addHandler(handler)
    yield handler
    loop_monitor.logger.removeHandler(handler)


@pytest.fixture
def watched():
    """Run a coroutine as the task ``orders/17`` on a loop that is watched."""

    def watched(work, patience):
        async def main():
            watch = LoopMonitor(patience)
            watch.start()
            await asyncio.get_running_loop().create_task(work(), name="orders/17")
            watch.stop()

        asyncio.run(main())

    return watched


def test_what_blocks_the_loop_is_named_with_its_delivery_and_place_while_it_blocks(said, watched):
    def query():
        assert said.event.wait(30)

    async def handle():
        query()

    watched(handle, patience=0.05)
    assert said.texts[0].startswith("the event loop has been blocked for 0.1 s by orders/17, at ")
    assert "threading.py:" in said.texts[0]
    assert f"called from {__file__}:" in said.texts[0]


def test_a_loop_that_answers_is_left_alone(said, watched):
    async def handle():
        for _ in range(20):
            await asyncio.sleep(0.005)

    watched(handle, patience=30.0)
    assert said.texts == []


def test_a_loop_that_is_at_nothing_is_not_blamed(said, watched):
    """As after the whole process was stopped for a while."""

    async def handle():
        asyncio.get_running_loop().call_soon(said.event.wait, 0.3)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    watched(handle, patience=0.05)
    assert said.texts == []


def test_its_thread_ends_with_it(said, watched):
    before = threading.active_count()
    watched(lambda: asyncio.sleep(0), patience=0.05)
    assert threading.active_count() == before
