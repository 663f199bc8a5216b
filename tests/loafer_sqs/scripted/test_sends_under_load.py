"""Concurrent calls of a publishing handler: how many requests they make, and that each caller gets its own answer."""

from __future__ import annotations

import asyncio
import collections
from typing import Any

import pytest

from loafer_core import ProviderError, SourceConfigError, Throttled, Unavailable

FOREVER = 600.0


@pytest.fixture
def never_linger(monkeypatch):
    """Whoever lingers does so until the test times out."""
    monkeypatch.setattr("loafer_sqs.aws.outbox.LINGER", FOREVER)


@pytest.fixture
def publish(way, scripted, open_publisher):
    """``publish(body)``: a task in which the handler sends ``body``; the publisher is opened by the first."""
    opening = None

    async def handle(body: str, **metadata: Any) -> bool:
        nonlocal opening
        opening = opening or asyncio.create_task(open_publisher(scripted.endpoint, **way.options))
        publisher = await asyncio.shield(opening)
        return await publisher.handle(body, {"message_id": body, "attributes": {}, **metadata})

    return lambda body, **metadata: asyncio.create_task(handle(body, **metadata))


class Gate:
    """A reply that says when a request has come, and waits until it may answer."""

    def __init__(self, scripted: Any, way: Any) -> None:
        self._scripted, self.came, self.may_answer = scripted, asyncio.Semaphore(0), asyncio.Event()
        self.now = self.most = 0
        scripted.on(way.operation, self)

    async def __call__(self, request: dict) -> dict:
        self.now += 1
        self.most = max(self.most, self.now)
        self.came.release()
        await self.may_answer.wait()
        self.now -= 1
        return await self._scripted.taken(request)

    async def requests(self, count: int) -> None:
        for _ in range(count):
            await self.came.acquire()


@pytest.fixture
def gate(scripted, way):
    return Gate(scripted, way)


def bodies(way) -> list[list[str]]:
    return [[way.body(entry) for entry in request] for request in way.requests]


async def test_a_lone_message_is_one_request_and_waits_for_no_company(way, publish, never_linger):
    assert await publish("a") is True
    assert await publish("b") is True

    assert bodies(way) == [["a"], ["b"]]


async def test_what_is_sent_at_the_same_time_goes_as_one_request(way, publish, never_linger):
    await publish("first")  # so that the publisher is open

    assert await asyncio.gather(*map(publish, "abcdefg")) == [True] * 7

    assert bodies(way)[1:] == [list("abcdefg")]


async def test_under_load_a_message_costs_a_fifth_of_a_request_or_less(way, publish, scripted):
    async def answer_soon(request):
        await asyncio.sleep(0.002)
        return await scripted.taken(request)

    async def route(slot):
        for number in range(8):
            assert await publish(f"{slot}-{number}") is True

    scripted.on(way.operation, answer_soon)
    await publish("first")

    await asyncio.gather(*map(route, range(50)))

    requests = bodies(way)[1:]
    assert sorted(body for request in requests for body in request) == sorted(
        f"{slot}-{number}" for slot in range(50) for number in range(8)
    )
    assert len(requests) / 400 <= 0.2
    assert max(map(len, requests)) <= 10


async def test_what_comes_while_a_call_is_under_way_goes_together_when_it_has_ended(way, publish, gate, never_linger):
    first = publish("first")
    await gate.requests(1)
    later = []
    for body in "abc":
        later.append(publish(body))
        await asyncio.sleep(0.005)

    gate.may_answer.set()
    await asyncio.gather(first, *later)

    assert bodies(way) == [["first"], ["a", "b", "c"]]


async def test_a_slow_call_holds_nobody_up_for_longer_than_the_linger(way, publish, gate):
    slow = publish("slow")
    await gate.requests(1)

    other = publish("other")
    await gate.requests(1)  # while the first has no answer

    assert bodies(way) == [["slow"], ["other"]]
    gate.may_answer.set()
    await asyncio.gather(slow, other)


async def test_ten_do_not_wait_for_an_eleventh(way, publish, gate, never_linger):
    slow = publish("slow")
    await gate.requests(1)

    ten = [publish(str(number)) for number in range(10)]
    await gate.requests(1)

    assert bodies(way) == [["slow"], [str(number) for number in range(10)]]
    gate.may_answer.set()
    await asyncio.gather(slow, *ten)


async def test_four_calls_are_under_way_at_most(way, publish, gate):
    all_of_them = [publish(str(number)) for number in range(75)]
    await gate.requests(4)
    await asyncio.sleep(0.05)  # five lingers: a fifth call would have come

    assert len(way.requests) == 4
    gate.may_answer.set()
    await asyncio.gather(*all_of_them)
    assert gate.most == 4


@pytest.mark.parametrize(
    "fifo", [{"queue": "orders.fifo"}, {"topic": "arn:aws:sns:us-east-1:123456789012:orders.fifo"}]
)
async def test_a_fifo_target_gets_one_call_at_a_time_and_everything_in_order(scripted, open_publisher, fifo):
    now, sent = 0, collections.defaultdict(list)

    async def one_at_a_time(request):
        nonlocal now
        now += 1
        assert now == 1
        for entry in request.get("Entries") or request["PublishBatchRequestEntries"]:
            sent[entry["MessageGroupId"]].append(entry.get("MessageBody") or entry.get("Message"))
        await asyncio.sleep(0.002)
        now -= 1
        return await scripted.taken(request)

    scripted.on("SendMessageBatch", one_at_a_time)
    scripted.on("PublishBatch", one_at_a_time)
    publisher = await open_publisher(scripted.endpoint, **fifo)

    await asyncio.gather(
        *(
            publisher.handle(f"{number:02}", {"message_id": str(number), "group": f"g{number % 3}"})
            for number in range(40)
        )
    )

    assert sent == {f"g{group}": [f"{number:02}" for number in range(group, 40, 3)] for group in range(3)}


async def test_every_caller_gets_the_answer_to_its_own_message(way, publish, scripted):
    async def some_fail(request):
        taken = await scripted.taken(request)
        entries = {way.body(entry): entry["Id"] for entry in way.requests[-1]}
        codes = {"b": "InternalError", "c": "InvalidParameterValue", "d": "ThrottledException"}
        failed = [{"Id": entries[body], "Code": code, "SenderFault": "false"} for body, code in codes.items()]
        silent = {entries[body] for body in "bcde"}
        return {"Successful": [one for one in taken["Successful"] if one["Id"] not in silent], "Failed": failed}

    await publish("first")
    scripted.on(way.operation, some_fail)

    a, b, c, d, e, f = await asyncio.gather(*map(publish, "abcdef"), return_exceptions=True)

    assert a is f is True
    assert isinstance(b, Unavailable)
    assert isinstance(c, ProviderError)
    assert not isinstance(c, Unavailable)
    assert isinstance(d, Throttled)
    assert isinstance(e, Unavailable)
    assert "does not confirm" in str(e)


async def test_a_call_that_fails_as_a_whole_is_an_error_of_its_own_for_each(way, publish, scripted):
    await publish("first")
    scripted.on(way.operation, scripted.error("AccessDenied", 403))

    errors = await asyncio.gather(*map(publish, "abc"), return_exceptions=True)

    assert [isinstance(error, SourceConfigError) for error in errors] == [True] * 3
    assert len({id(error) for error in errors}) == 3  # who reports errors may take the same one twice for once


async def test_a_batch_that_is_refused_for_one_bad_message_costs_the_others_nothing(way, publish, scripted):
    async def no_b(request):
        if "b" in [way.body(entry) for entry in way.requests[-1]]:
            return scripted.error("InvalidParameterValue")
        return await scripted.taken(request)

    await publish("first")
    scripted.on(way.operation, no_b)

    a, b, c = await asyncio.gather(*map(publish, "abc"), return_exceptions=True)

    assert a is c is True
    assert "InvalidParameterValue" in str(b)


async def test_a_caller_that_gives_up_while_it_waits_is_not_sent_and_the_others_are_sent_once(way, publish, gate):
    slow = [publish(f"slow {number}") for number in range(40)]
    await gate.requests(4)
    others = [publish(body) for body in "abc"]
    await asyncio.sleep(0)

    others[1].cancel()
    gate.may_answer.set()
    await asyncio.gather(*slow, others[0], others[2])

    assert others[1].cancelled()
    assert collections.Counter(body for request in bodies(way) for body in request if body in "abc") == {"a": 1, "c": 1}


async def test_a_caller_that_gives_up_while_its_call_is_under_way_takes_nobody_with_it(way, publish, gate):
    gate.may_answer.set()
    await publish("first")
    gate.may_answer.clear()
    a, b, c = map(publish, "abc")
    await gate.requests(2)

    b.cancel()
    gate.may_answer.set()

    assert await asyncio.gather(a, c) == [True, True]
    assert b.cancelled()
    assert bodies(way) == [["first"], ["a", "b", "c"]]


async def test_closing_waits_for_what_is_under_way(way, scripted, open_publisher, gate):
    publisher = await open_publisher(scripted.endpoint, **way.options)
    sending = asyncio.create_task(publisher.handle("a", {"message_id": "1"}))
    await gate.requests(1)

    closing = asyncio.create_task(publisher.close())
    await asyncio.sleep(0)
    assert not closing.done()
    gate.may_answer.set()
    await closing

    assert await sending is True
    await publisher.close()


async def test_a_batch_is_no_heavier_than_its_target_takes(way, publish, scripted):
    scripted.on("GetTopicAttributes", {"Attributes": {"MaximumMessageSize": "1048576"}})
    await publish("first")

    await asyncio.gather(*(publish(letter * 400_000) for letter in "abcde"))

    assert sorted(len(request) for request in way.requests[1:]) == [1, 2, 2]


async def test_a_provider_publishes_in_the_same_way(scripted, open_provider):
    provider = await open_provider(scripted.endpoint, "orders")

    ids = await asyncio.gather(*map(provider.publish, "abc"))

    assert ids == ["id of a", "id of b", "id of c"]
    assert len(scripted.asked("SendMessageBatch")) == 1
