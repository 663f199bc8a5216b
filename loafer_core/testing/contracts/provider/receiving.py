"""What a provider hands out, how many, how fast, and what it does when the source is empty or in trouble."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from loafer_core.api.errors import CredentialError, ProviderError, SourceConfigError, Throttled, Unavailable
from loafer_core.api.message import Message
from loafer_core.testing.contracts.provider.checks import ProviderChecks
from loafer_core.testing.kit.checks import check
from loafer_core.testing.kit.driver import Driver
from loafer_core.testing.kit.harness import Body
from loafer_core.testing.kit.rig import Rig
from loafer_core.testing.kit.verdict import Absent, expect

SLACK = 5.0
"""Seconds that a busy machine may be late."""
# What a provider may be tempted to change on the way.
ODD_BODIES: Mapping[str, Body] = {
    "empty": "",
    "blanks and line ends": "  a\r\n\tb \n",
    "other scripts": "gr\u00fc\u00df dich, \u4e16\u754c \U0001f680",
    "large": "0123456789abcdef" * 4096,
    "bytes that are no text": bytes(range(256)),
}


class Receiving(ProviderChecks):
    """Receive."""

    @check(
        contract="Message.body: untouched, as the source delivered it; id: as the source tells it.",
        usually="receive() makes up an id where the source has one, or decodes what it should pass on",
    )
    async def test_p1_what_is_published_is_received(self, rig: Rig) -> None:
        body = '{"id":1, "items": [ null, "\\u0000" ]}'
        id = await rig.publish(body)
        message = await (await rig.open()).one()
        expect(_bytes(message.body) == body.encode(), f"published: {body!r}, received: {message.body!r}")
        expect(message.id == id, f"the message that was sent as {id!r} came as {message.id!r}")

    @check(
        contract="Message.attributes: what the sender put beside the body.",
        usually="the source has to be asked for attributes in each receive; or they are renamed on the way",
    )
    async def test_c5_attributes_come_as_they_were_sent(self, rig: Rig) -> None:
        sent = {"tenant": "acme", "trace": "00-ab-01"}
        await rig.publish("with attributes", sent)
        message = await (await rig.open()).one()
        came = {name: message.attributes.get(name) for name in sent}
        expect(came == sent, f"sent: {sent!r}, received: {dict(message.attributes)!r}")

    @check(
        contract="Message: id, body, receipt, attributes, metadata, receive_count (1 = first), group, sent_at.",
        usually="a number is handed on as the text that came over the wire, or counted from 0",
    )
    async def test_c6_a_message_is_well_formed(self, rig: Rig) -> None:
        await rig.publish()
        message = await (await rig.open()).one()
        expect(isinstance(message, Message), f"receive() gave a {type(message).__name__}, not a Message")
        for wrong in _malformed(message):
            expect(False, f"{message}: {wrong}")

    @check(
        contract="Message.lease_until: the running loop's time at which the lease ends, as of receive; None = none.",
        usually="it is wall-clock time, or the lease is counted from when the answer was read and not from before",
    )
    async def test_c7_a_lease_ends_no_later_than_the_traits_say(self, rig: Rig) -> None:
        driver = await rig.open()
        await rig.publish()
        message = await driver.one()
        now = asyncio.get_running_loop().time()
        lease = driver.provider.traits.lease
        until = message.lease_until
        if lease is None:
            expect(until is None, f"there is no lease, and lease_until is {until!r}")
        elif until is not None:
            seen = f"lease_until is {until - now:+.3f} s from now, and a lease has {lease:g} s"
            expect(now < until <= now + lease, seen)

    @check(
        contract="Message: one delivery; two of one id may be alive at once. stable_ids: the same id on redelivery.",
        usually="the provider keeps its messages by id and hands the same object out again; or ids are made up",
    )
    async def test_c8_a_redelivery_is_another_message_with_the_same_id(self, rig: Rig) -> None:
        await rig.publish()
        driver = await rig.open()
        first = await driver.one()
        await driver.done("nack", first)
        second = await driver.one()
        expect(second is not first and second != first, "the redelivery is the same Message object")
        if driver.provider.traits.stable_ids:
            expect(second.id == first.id, f"traits.stable_ids, and {first.id!r} came again as {second.id!r}")

    @check(
        contract="Message.body: untouched. What the source cannot carry is a ProviderError when it is sent.",
        usually="strip(), decode(errors='replace'), or a text column for bytes",
    )
    async def test_p26_an_odd_body_comes_as_it_was_sent_or_is_refused(self, rig: Rig) -> None:
        driver = await rig.open()
        for name, body in ODD_BODIES.items():
            try:
                await rig.publish(body)
            except (ProviderError, ValueError, Absent):
                continue
            message = await driver.one()
            expect(_bytes(message.body) == _bytes(body), f"the body {name!r} came as {_short(message.body)}")
            await driver.done("ack", message)

    @check(
        contract="receive: wait as suits the source, at most context.max_wait.",
        usually="the source's own long poll is taken from the options alone",
    )
    async def test_c9_an_empty_receive_waits_no_longer_than_max_wait(self, rig: Rig) -> None:
        driver, loop = await rig.open(), asyncio.get_running_loop()
        began = loop.time()
        messages = await driver.receive()
        took = loop.time() - began
        expect(messages == [], f"the source is empty, and receive() gave {messages}")
        slack = 0.01 if rig.is_virtual else SLACK
        expect(took <= self.max_wait + slack, f"max_wait is {self.max_wait:g} s, and it took {took:.2f} s")

    @check(
        contract="receive: empty at most 5 times a second.",
        usually="the source answers at once when it has nothing; wait for news, or sleep for the rest of 0.2 s",
    )
    async def test_p2_empty_receives_come_at_most_five_times_a_second(self, rig: Rig) -> None:
        driver, loop = await rig.open(), asyncio.get_running_loop()
        began = loop.time()
        returns = 0
        while returns < 7 and loop.time() < began + 1.0:
            await driver.receive()
            returns += 1
            await asyncio.sleep(0)
        took = loop.time() - began
        expect(took >= 0.999, f"{returns} empty receives in {took:.2f} s")

    @check(
        contract="receive(limit): 0..limit messages.",
        usually="the limit is not passed on to the source, or what was fetched ahead is handed out whole",
    )
    async def test_p3_a_receive_gives_no_more_than_the_limit(self, rig: Rig) -> None:
        await rig.publish_many(5)
        driver = await rig.open()
        for limit in (1, 2, 1):
            messages = await driver.receive(limit)
            expect(len(messages) <= limit, f"receive({limit}) gave {len(messages)} messages")

    @check(
        contract="Traits.receives: receive() calls that may run at once.",
        usually="two calls share a buffer, or a client that cannot do two things at once",
    )
    async def test_c10_as_many_receives_run_at_once_as_the_traits_say(self, rig: Rig) -> None:
        rig.need(self.traits.receives > 1, "receives > 1")
        ids = set(await rig.publish_many(self.traits.receives * 2))
        driver = await rig.open()
        loop = asyncio.get_running_loop()
        until = loop.time() + self.patience
        found: list[Message] = []
        while len(found) < len(ids) and loop.time() < until:
            for came in await asyncio.gather(*(driver.receive(2) for _ in range(self.traits.receives))):
                found += came
        got = [message.id for message in found]
        expect(len(got) == len(set(got)), f"a message was handed out twice: {got}")
        expect(set(got) == ids or not self.traits.stable_ids, f"of {sorted(ids)} there came {sorted(got)}")
        expect(len(got) == len(ids), f"of {len(ids)} messages {len(got)} came")

    @check(
        contract="Errors: Throttled, Unavailable. What passes by itself is raised, and the next receive works.",
        usually="the error is swallowed and becomes an empty answer, or receive() stays broken after it",
    )
    async def test_p11_trouble_that_passes_is_unavailable_or_throttled(self, rig: Rig) -> None:
        error = await _failed_receive(rig, Unavailable("injected by the contract kit"))
        seen = f"the source was unavailable, and receive() raised {_named(error)}"
        expect(isinstance(error, (Unavailable, Throttled)), seen)

    @check(
        contract="SourceConfigError: it answered: there is no such source, or not for us.",
        usually="every error of the client becomes Unavailable",
    )
    async def test_c11_a_source_that_is_gone_is_a_source_config_error(self, rig: Rig) -> None:
        error = await _failed_receive(rig, SourceConfigError("injected by the contract kit"))
        expect(isinstance(error, SourceConfigError), f"the source is gone, and receive() raised {_named(error)}")

    @check(
        contract="CredentialError: who we are was not accepted; after three the provider is opened anew.",
        usually="every error of the client becomes Unavailable, and expired credentials are never read again",
    )
    async def test_c36_refused_credentials_are_a_credential_error(self, rig: Rig) -> None:
        error = await _failed_receive(rig, CredentialError("injected by the contract kit"))
        expect(isinstance(error, CredentialError), f"credentials were refused, and receive() raised {_named(error)}")

    @check(
        contract="Errors: anything else counts as Unavailable, with its traceback.",
        usually="`except Exception: return []`, or a new error raised `from None`",
    )
    async def test_p13_an_unknown_error_is_not_swallowed_and_keeps_its_cause(self, rig: Rig) -> None:
        error = await _failed_receive(rig, OSError("injected by the contract kit"))
        expect(error, "the source failed in a way that nobody knows, and receive() raised nothing")
        if isinstance(error, ProviderError):
            expect(error.__cause__ or error.__context__, f"{_named(error)} has lost its cause")

    @check(
        contract="receive: cancelled only at the drain deadline; what it had in its hands is not lost even then.",
        usually="messages are taken from the source and then something is awaited before they are handed out",
    )
    async def test_p14_a_cancelled_receive_loses_nothing(self, rig: Rig) -> None:
        driver = await rig.open()
        for turns in (0, 1, 2, 3, 5, 8, 13, 21):
            id = await rig.publish(f"turns {turns}")
            waiting = asyncio.ensure_future(driver.receive(1))
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting.cancel()
            done, _ = await asyncio.wait([waiting], timeout=SLACK)
            expect(done, f"a cancelled receive() went on for {SLACK:g} s")
            found = [] if waiting.cancelled() else waiting.result()
            await driver.done("ack", *(found or await _come_back(rig, driver, id)))


async def _come_back(rig: Rig, driver: Driver, id: str) -> list[Message]:
    try:
        await rig.expire(Message(id, ""))
    except Absent:
        pass  # The harness cannot make it come again; it may come by itself.
    found = await driver.gather(1)
    expect(found, f"a receive() was cancelled while {id} arrived, and {id} never came again")
    return found


async def _failed_receive(rig: Rig, error: Exception) -> BaseException | None:
    """Receive once while the source fails, and give what was raised; then see that receiving works."""
    driver, raised = await rig.open(), None
    await rig.fail_next("receive", error)
    try:
        await driver.receive()
    except Exception as caught:
        raised = caught  # Python deletes the name after the block.
    await rig.publish()
    await driver.one()
    return raised


def _malformed(message: Any) -> list[str]:
    facts: dict[str, tuple[Any, bool]] = {
        "id": (message.id, isinstance(message.id, str) and message.id != ""),
        "body": (type(message.body), isinstance(message.body, (str, bytes))),
        "attributes": (type(message.attributes), isinstance(message.attributes, Mapping)),
        "metadata": (type(message.metadata), isinstance(message.metadata, Mapping)),
        "receive_count of a first delivery": (message.receive_count, message.receive_count in (None, 1)),
        "group": (message.group, message.group is None or isinstance(message.group, str)),
        "sent_at": (message.sent_at, message.sent_at is None or abs(time.time() - message.sent_at) < 86_400),
    }
    return [f"{name} is {value!r}" for name, (value, fine) in facts.items() if not fine]


def _bytes(body: Body) -> bytes:
    return body if isinstance(body, bytes) else body.encode()


def _short(body: Body) -> str:
    return repr(body) if len(body) < 300 else f"{len(body)} of them, {body[:50]!r}..."


def _named(error: BaseException | None) -> str:
    return "nothing" if error is None else f"{type(error).__name__}: {error}"
