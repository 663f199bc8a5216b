"""What several users share is opened once, closed after the last of them, and never left half open."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from loafer_core.engine.provider_context import Sharing


class Client:
    """Something expensive to share, which keeps a diary."""

    def __init__(self, *, failing=(), closing=None):
        self.diary, self.tasks = [], []
        self.failing, self.closing = list(failing), closing
        self.gate = asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def open(self):
        self.diary.append("opening")
        self.tasks.append(asyncio.current_task())
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.diary.append("given up")
            raise
        if self.failing:
            raise self.failing.pop(0)
        self.diary.append("open")
        yield self
        self.tasks.append(asyncio.current_task())
        self.diary.append("closed")
        if self.closing is not None:
            raise self.closing


@pytest.fixture
def sharing():
    return Sharing()


async def steps():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_two_users_share_what_is_opened_once_and_closed_after_the_last(sharing):
    client = Client()

    assert await sharing.acquire("orders", "key", client.open) is client
    assert await sharing.acquire("refunds", "key", client.open) is client
    await sharing.release("orders")
    assert client.diary == ["opening", "open"]
    await sharing.release("refunds")

    assert client.diary == ["opening", "open", "closed"]


async def test_users_who_come_while_it_is_opened_wait_for_the_same(sharing):
    client = Client()
    client.gate.clear()
    waiting = [asyncio.create_task(sharing.acquire(user, "key", client.open)) for user in ("a", "b", "c")]
    await steps()
    client.gate.set()

    assert await asyncio.gather(*waiting) == [client] * 3
    assert client.diary == ["opening", "open"]


async def test_it_is_entered_and_left_in_one_task_that_is_nobody_elses(sharing):
    client = Client()
    await asyncio.create_task(sharing.acquire("orders", "key", client.open))
    await asyncio.create_task(sharing.release("orders"))

    entered, left = client.tasks
    assert entered is left
    assert entered is not asyncio.current_task()


async def test_two_keys_are_two_things(sharing):
    one, other = Client(), Client()
    assert await sharing.acquire("orders", "one", one.open) is one
    assert await sharing.acquire("orders", "other", other.open) is other
    await sharing.acquire("refunds", "other", other.open)

    await sharing.release("orders")

    assert one.diary[-1] == "closed"
    assert other.diary[-1] == "open"


async def test_it_can_be_opened_again_after_it_was_closed(sharing):
    client = Client()
    for _ in range(2):
        await sharing.acquire("orders", "key", client.open)
        await sharing.release("orders")
    assert client.diary == ["opening", "open", "closed"] * 2


async def test_releasing_twice_or_without_having_acquired_is_harmless(sharing):
    client = Client()
    await sharing.acquire("orders", "key", client.open)
    await sharing.release("stranger")
    assert client.diary == ["opening", "open"]
    await sharing.release("orders")
    await sharing.release("orders")
    assert client.diary == ["opening", "open", "closed"]


class OfNoKnownKind(BaseException):
    pass


@pytest.mark.parametrize("error", [ConnectionError("down"), OfNoKnownKind("down")])
async def test_everyone_who_waits_is_told_that_opening_failed_and_may_try_again(error, sharing):
    client = Client(failing=[error])
    waiting = [sharing.acquire(user, "key", client.open) for user in ("a", "b")]

    assert await asyncio.gather(*waiting, return_exceptions=True) == [error, error]
    assert await sharing.acquire("a", "key", client.open) is client


async def test_who_tries_again_at_once_opens_anew_while_others_still_learn_of_the_failure(sharing):
    client = Client(failing=[ConnectionError("down")])

    async def insist():
        with pytest.raises(ConnectionError):
            await sharing.acquire("insisting", "key", client.open)
        return await sharing.acquire("insisting", "key", client.open)

    async def accept():
        with pytest.raises(ConnectionError):
            await sharing.acquire("accepting", "key", client.open)

    assert (await asyncio.gather(insist(), accept()))[0] is client
    await sharing.release("insisting")
    assert client.diary == ["opening", "opening", "open", "closed"]


async def test_a_stop_iteration_while_opening_hangs_nobody(sharing):
    def open():
        raise StopIteration

    async with asyncio.timeout(30):
        with pytest.raises(RuntimeError):
            await sharing.acquire("orders", "key", open)


async def test_a_waiter_that_is_cancelled_leaves_the_opening_to_the_others(sharing):
    client = Client()
    client.gate.clear()
    impatient, patient = (asyncio.create_task(sharing.acquire(user, "key", client.open)) for user in "ab")
    await steps()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    client.gate.set()

    assert await patient is client
    await sharing.release("b")
    assert client.diary == ["opening", "open", "closed"]


async def test_opening_is_given_up_with_the_last_waiter(sharing):
    client = Client()
    client.gate.clear()
    waiting = asyncio.create_task(sharing.acquire("orders", "key", client.open))
    await steps()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert client.diary == ["opening", "given up"]

    client.gate.set()
    assert await sharing.acquire("orders", "key", client.open) is client


async def test_a_cancelled_waiter_stays_cancelled_whatever_giving_up_raises(sharing):
    @asynccontextmanager
    async def open():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("while giving up") from None
        yield

    waiting = asyncio.create_task(sharing.acquire("orders", "key", open))
    await steps()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_was_cancelled_from_outside_is_opened_anew_for_the_next(sharing):
    client = Client()
    await sharing.acquire("orders", "key", client.open)
    client.tasks[0].cancel()
    await steps()

    assert await sharing.acquire("refunds", "key", client.open) is client
    assert client.diary.count("open") == 2
    await sharing.release("orders")
    await sharing.release("refunds")
    assert client.diary[-1] == "closed"


async def test_a_failure_to_close_comes_out_after_everything_else_was_closed(sharing):
    failing, other = Client(closing=ConnectionError("gone")), Client()
    await sharing.acquire("orders", "failing", failing.open)
    await sharing.acquire("orders", "other", other.open)

    with pytest.raises(ConnectionError):
        await sharing.release("orders")

    assert other.diary[-1] == "closed"
    await sharing.release("orders")
