"""The fake and somebody else's server see the same requests and answer the same, but for known gaps of the other.

ministack refuses a second delete and a stale receipt; it lets a receipt change a message that is visible again, and
lets it delete one of a FIFO queue. Compared is what an answer says, except for those; and what is in the queue.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torture.clients import sqs_client

names = itertools.count(1)

SENDS = st.tuples(st.just("send"), st.sampled_from("ab"), st.sampled_from("xyz"))
RECEIVES = st.tuples(st.just("receive"), st.sampled_from([0, 30]), st.just(0))
ACTS = st.tuples(
    st.sampled_from(["delete", "show", "hide", "delete batch", "show batch"]), st.integers(0, 9), st.just(0)
)


class Side:
    """One server with a queue of its own, and the receipts that it gave out, in order."""

    def __init__(self, client: Any, url: str, *, fifo: bool) -> None:
        self.client, self.url, self.fifo = client, url, fifo
        self.handles: list[str] = []

    async def ask(self, method: str, **request: Any) -> Any:
        try:
            return await getattr(self.client, method)(QueueUrl=self.url, **request)
        except ClientError:
            return "refused"

    async def send(self, group: str, dedup: str) -> Any:
        fifo = {"MessageGroupId": group, "MessageDeduplicationId": dedup} if self.fifo else {}
        answer = await self.ask("send_message", MessageBody=group + dedup, **fifo)
        return answer["MD5OfMessageBody"], bool(answer.get("SequenceNumber"))

    async def receive(self, visibility: int) -> Any:
        answer = await self.ask(
            "receive_message",
            MaxNumberOfMessages=10,
            VisibilityTimeout=visibility,
            MessageSystemAttributeNames=["All"],
        )
        messages = sorted(answer.get("Messages", []), key=lambda one: (not self.fifo and one["Body"], one["Body"][0]))
        self.handles += [one["ReceiptHandle"] for one in messages]
        return [(one["Body"], one["MD5OfBody"], one["Attributes"]["ApproximateReceiveCount"]) for one in messages]

    async def act(self, act: str, places: list[int]) -> Any:
        verb, _, batch = act.partition(" ")
        method = "delete_message" if verb == "delete" else "change_message_visibility"
        more = {"delete": {}, "show": {"VisibilityTimeout": 0}, "hide": {"VisibilityTimeout": 60}}[verb]
        entries = [{"Id": str(place), "ReceiptHandle": self.handles[place], **more} for place in places]
        if not batch:
            return "refused" if await self.ask(method, **_without_id(entries[0])) == "refused" else "done"
        answer = await self.ask(f"{method}_batch", Entries=entries)
        return sorted(one["Id"] for one in answer.get("Successful", ()))

    async def counts(self) -> list[int]:
        suffixes = ("", "NotVisible", "Delayed")
        attributes = (await self.ask("get_queue_attributes", AttributeNames=["All"]))["Attributes"]
        return [int(attributes[f"ApproximateNumberOfMessages{suffix}"]) for suffix in suffixes]


def _without_id(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "Id"}


@pytest.fixture
async def other(ministack_server):
    async with sqs_client(ministack_server) as client:
        yield client


THOROUGH = settings(
    max_examples=30,
    deadline=None,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
STEPS = st.lists(st.one_of(SENDS, RECEIVES, RECEIVES, ACTS), min_size=5, max_size=20)


@pytest.mark.server
@pytest.mark.timeout(180)  # if it fails, making the example small takes its time
@THOROUGH
@given(fifo=st.booleans(), dead_letters=st.booleans(), steps=STEPS)
async def test_the_fake_and_ministack_answer_the_same(fake, client, other, fifo, dead_letters, steps):
    name = f"q{next(names)}" + ".fifo" * fifo
    sides = [await make(one, name, fifo=fifo, dead_letters=dead_letters) for one in (client, other)]
    queue = fake.backend.queues[name]
    for step in steps:
        what, first, second = step
        if what == "send":
            answers = [await side.send(first, second) for side in sides]
        elif what == "receive":
            answers = [await side.receive(first) for side in sides]
        else:
            places = chosen(queue, sides[0].handles, what, first, fifo=fifo)
            if not places:
                continue
            is_known_gap = any(state(queue, sides[0].handles[place]) == "old" for place in places)
            answers = [await side.act(what, places) for side in sides]
            if is_known_gap:
                continue
        assert answers[0] == answers[1], step
        assert await sides[0].counts() == await sides[1].counts(), step


async def make(client, name, *, fifo, dead_letters) -> Side:
    attributes = {"FifoQueue": "true"} if fifo else {}
    more = {}
    if dead_letters:
        dead = "dead-" + name
        await client.create_queue(QueueName=dead, Attributes=attributes)
        target = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{dead}", "maxReceiveCount": 2}
        more = {"RedrivePolicy": json.dumps(target)}
    url = (await client.create_queue(QueueName=name, Attributes=attributes | more))["QueueUrl"]
    return Side(client, url, fifo=fifo)


def state(queue, handle) -> str:
    """Of a receipt: live; shown, where its message is visible again; old, where it means nothing any more."""
    one = queue._find(handle)
    if one.deleted or one.handle != handle:
        return "old"
    return "live" if one in queue.hidden() else "shown"


def chosen(queue, handles, act, place, *, fifo) -> list[int]:
    """The places of the receipts that are asked about: not those where a gap of the other has consequences."""
    places = [place] if "batch" not in act else [place, place + 1, place + 2]
    known = [one for one in places if one < len(handles)]
    may_be_shown = "delete" in act and not fifo
    return [one for one in known if state(queue, handles[one]) != "shown" or may_be_shown]
