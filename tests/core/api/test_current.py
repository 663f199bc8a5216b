"""What user code may ask about its delivery, from the loop and from threads."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from loafer_core import Current, Flag, Message, current
from loafer_core.api.current import enter


def test_current_outside_of_a_delivery_says_so():
    with pytest.raises(LookupError, match="outside of a delivery"):
        current()


async def test_current_is_the_delivery_of_the_running_task_and_of_no_other():
    async def deliver(id):
        enter(Current(Message(id, ""), "orders", Flag()))
        await both.wait()
        return current().message.id

    both = asyncio.Barrier(2)

    assert await asyncio.gather(deliver("a"), deliver("b")) == ["a", "b"]


async def test_current_reaches_into_the_tasks_that_a_handler_starts():
    enter(Current(Message("m-1", ""), "orders", Flag()))

    async def child():
        return current().message.id

    assert await asyncio.create_task(child()) == "m-1"


def test_each_delivery_has_a_lease_of_its_own_and_the_stop_of_its_route():
    stopping = Flag()
    one, other = (Current(Message(id, ""), "orders", stopping) for id in "ab")

    one.lease_lost.set()

    assert not other.lease_lost.is_set()
    assert one.stopping is other.stopping


async def test_a_flag_wakes_everyone_who_waits_on_the_loop():
    flag = Flag()
    waiters = [asyncio.ensure_future(flag.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not flag.is_set()

    flag.set()

    await asyncio.gather(*waiters)
    assert flag.is_set()


async def test_a_flag_that_is_set_lets_everyone_pass_at_once():
    flag = Flag()
    flag.set()
    flag.set()

    await flag.wait()
    assert flag.wait_blocking(0)


async def test_a_waiter_that_gave_up_disturbs_neither_the_flag_nor_the_others():
    flag = Flag()
    impatient, patient = (asyncio.ensure_future(flag.wait()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    flag.set()
    await patient
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_waiters_that_gave_up_are_not_kept():
    flag = Flag()

    def futures():
        return sum(isinstance(one, asyncio.Future) for one in gc.get_objects())

    before = futures()
    for _ in range(100):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await flag.wait()
    assert futures() - before < 10


async def test_a_flag_set_on_the_loop_wakes_threads_that_block_on_it():
    flag = Flag()
    both_in = threading.Barrier(3)

    def block():
        both_in.wait(30)
        return flag.wait_blocking(30)

    blocked = [asyncio.create_task(asyncio.to_thread(block)) for _ in range(2)]
    await asyncio.to_thread(both_in.wait, 30)

    flag.set()

    assert await asyncio.gather(*blocked) == [True, True]


async def test_blocking_on_a_flag_ends_after_its_timeout():
    assert await asyncio.to_thread(Flag().wait_blocking, 0.01) is False
