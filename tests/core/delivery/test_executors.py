"""Threads of our own: never more than allowed, never cut short, never waited for where that was not asked."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from loafer_core.delivery.executors import ThreadExecutor


@pytest.fixture
def threads():
    threads = ThreadExecutor("loafer-orders", 2)
    yield threads
    threads.close()


class Door:
    """A plain function that says when it is entered and returns when it is opened."""

    def __init__(self):
        self.entered, self.opened = threading.Semaphore(0), threading.Event()
        self.inside = self.most = 0
        self.lock = threading.Lock()

    def __call__(self, answer=None):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.entered.release()
        assert self.opened.wait(30)
        with self.lock:
            self.inside -= 1
        return answer

    async def wait_until_entered(self):
        assert await asyncio.to_thread(self.entered.acquire, timeout=30)


@pytest.fixture
def door():
    door = Door()
    yield door
    door.opened.set()


async def settled(task):
    """Let a cancellation arrive and everything that follows at once from it happen."""
    for _ in range(5):
        await asyncio.sleep(0)
    return task.done()


async def test_at_most_size_calls_run_at_once_and_the_others_wait_their_turn(threads, door):
    calls = [asyncio.create_task(threads.run(door, number)) for number in range(5)]
    await door.wait_until_entered()
    await door.wait_until_entered()
    assert threads.running == 5

    door.opened.set()

    assert await asyncio.gather(*calls) == [0, 1, 2, 3, 4]
    assert door.most == 2
    assert threads.running == 0


async def test_a_call_gets_its_arguments_and_gives_what_it_returns(threads):
    assert await threads.run(lambda *args, **kwargs: (args, kwargs), 1, 2, three=3) == ((1, 2), {"three": 3})


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
async def test_a_call_raises_what_was_raised_inside_whatever_that_is(kind, threads):
    def fail():
        raise kind("inside")

    with pytest.raises(kind, match="inside"):
        await threads.run(fail)
    assert threads.running == 0


async def test_a_stop_iteration_comes_out_as_an_error_and_hangs_nobody(threads):
    with pytest.raises(RuntimeError) as caught:
        await asyncio.wait_for(threads.run(next, iter(())), 30)
    assert isinstance(caught.value.__cause__, StopIteration)


async def test_a_call_that_runs_is_waited_for_although_its_task_is_cancelled(threads, door):
    call = asyncio.create_task(threads.run(door, "done all the same"))
    await door.wait_until_entered()
    call.cancel()
    assert not await settled(call)
    call.cancel()
    assert not await settled(call)

    door.opened.set()

    assert await call == "done all the same"


async def test_a_call_that_has_not_started_is_taken_back_when_its_task_is_cancelled(threads, door):
    running = [asyncio.create_task(threads.run(door)) for _ in range(2)]
    for _ in running:
        await door.wait_until_entered()
    started = []
    for leave in (False, True):
        waiting = asyncio.create_task(threads.run(started.append, leave, leave=leave))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    door.opened.set()
    await asyncio.gather(*running)
    await threads.run(lambda: None)

    assert started == []
    assert threads.running == 0


async def test_a_call_that_may_be_left_is_left_but_still_counted(threads, door):
    call = asyncio.create_task(threads.run(door, leave=True))
    await door.wait_until_entered()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert threads.running == 1

    door.opened.set()

    while threads.running:
        await asyncio.sleep(0)


async def test_close_waits_for_nobody_and_starts_nothing_more(threads, door):
    running = [asyncio.create_task(threads.run(door, "late")) for _ in range(2)]
    for _ in running:
        await door.wait_until_entered()
    waiting = asyncio.create_task(threads.run(door))
    await asyncio.sleep(0)

    threads.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert threads.running == 2
    running[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await running[1]
    with pytest.raises(RuntimeError):
        await threads.run(door)
    door.opened.set()
    assert await running[0] == "late"


class Payload:
    pass


async def test_a_failed_call_keeps_nothing_alive_once_its_error_is_gone(threads):
    def fail(payload):
        raise ValueError

    payload = Payload()
    alive = weakref.ref(payload)
    gc.disable()
    try:
        with pytest.raises(ValueError):  # noqa: PT011 - it has no text
            await threads.run(fail, payload)
        del payload
        await threads.run(lambda: None)  # the thread has forgotten its last call, too
        await threads.run(lambda: None)
        assert alive() is None
    finally:
        gc.enable()
