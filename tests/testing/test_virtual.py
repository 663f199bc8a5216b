"""Virtual time: what a test may rely on."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from loafer_core.testing import VirtualLoop, run_virtual


def test_days_pass_at_once_and_in_order():
    async def story():
        loop = asyncio.get_running_loop()
        began, woken = loop.time(), []

        async def sleeper(seconds):
            await asyncio.sleep(seconds)
            woken.append((seconds, round(loop.time() - began, 6)))

        await asyncio.gather(*map(sleeper, [90_000.0, 0.1, 3600.0]))
        return woken

    really = time.monotonic()
    assert run_virtual(story()) == [(0.1, 0.1), (3600.0, 3600.0), (90_000.0, 90_000.0)]
    assert time.monotonic() - really < 5


def test_a_timeout_strikes_at_its_virtual_time():
    async def story():
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time() - began

    assert run_virtual(story()) == 60


def test_time_stands_still_while_there_is_work():
    async def story():
        began = asyncio.get_running_loop().time()
        for _ in range(1000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time() - began

    assert run_virtual(story()) == 0


def test_a_thread_is_waited_for_when_nothing_else_is_to_come():
    async def story():
        loop = asyncio.get_running_loop()
        release = threading.Event()
        answer = loop.run_in_executor(None, release.wait, 10)
        loop.call_later(5, release.set)
        return await answer

    assert run_virtual(story()) is True


def test_a_thread_that_is_still_busy_when_all_else_has_ended_is_waited_for():
    release, ended = threading.Event(), []

    def busy():
        ended.append(release.wait(10))

    async def story():
        asyncio.get_running_loop().run_in_executor(None, busy)
        threading.Timer(0.05, release.set).start()

    run_virtual(story())
    assert ended == [True]


def test_grace_lets_a_thread_answer_before_the_next_timer():
    async def story():
        async with asyncio.timeout(30):
            return await asyncio.to_thread(lambda: "answer")

    assert run_virtual(story(), grace=5.0) == "answer"


def test_two_runs_begin_at_the_same_time_which_is_not_zero():
    async def story():
        return asyncio.get_running_loop().time()

    assert run_virtual(story()) == run_virtual(story()) != 0
    assert run_virtual(story(), start=7.0) == 7.0


def test_the_loop_of_its_own_serves_what_builds_its_loops_itself():
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        began = runner.get_loop().time()
        runner.run(asyncio.sleep(3600))
        assert runner.get_loop().time() - began == pytest.approx(3600)
