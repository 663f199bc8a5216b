"""What a provider does with outcomes: ack, nack, release, reject; once, twice, late, in batches, and in trouble."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from loafer_core.api.errors import Unavailable
from loafer_core.api.message import Message
from loafer_core.api.provider import Settled
from loafer_core.testing.contracts.provider.checks import ProviderChecks
from loafer_core.testing.kit.checks import check
from loafer_core.testing.kit.driver import Driver, Verb
from loafer_core.testing.kit.harness import Body
from loafer_core.testing.kit.rig import GLANCE, Rig
from loafer_core.testing.kit.verdict import expect

DONE, RETRY, LOST = Settled.DONE, Settled.RETRY, Settled.LOST
DELAY = 1.2
"""Seconds; not whole, so that a delay which is rounded down shows."""


class Settling(ProviderChecks):
    """Ack, nack, release, reject."""

    @check(
        contract="ack, DONE: the source recorded it: the message is gone for good.",
        usually="ack() answers before, or without, asking the source",
    )
    async def test_p6_an_acked_message_never_comes_again(self, rig: Rig) -> None:
        id = await rig.publish()
        driver = await rig.open()
        message = await driver.one()
        expect(not await rig.is_settled(id), f"{id} was gone from the source before it was acked")
        await driver.done("ack", message)
        expect(await rig.settled(id), f"ack of {message} answered DONE, and the source still has it")
        await driver.close()
        if rig.is_virtual:
            await asyncio.sleep((self.traits.lease or 0.0) * 1.05)
        again = await (await rig.open(max_wait=GLANCE)).receive()
        expect(again == [], f"{message} was acked, and came again")

    @check(
        contract="nack: the attempt failed; deliver again; counts where the source counts.",
        usually="nack() drops the message, or gives it back in a way that the source does not count",
    )
    async def test_p7_a_nacked_message_comes_again_and_is_counted(self, rig: Rig) -> None:
        id = await rig.publish("again")
        driver = await rig.open()
        first = await driver.one()
        await driver.done("nack", first)
        second = await driver.one()
        expect(second.body == first.body, f"the redelivery of {id} has another body: {second.body!r}")
        before, after = first.receive_count, second.receive_count
        counted = after == before if before is None or after is None else after == before + 1
        expect(counted, f"receive_count was {before}, and after one nack it is {after}")

    @check(
        contract="nack: deliver again not before the delay (rounded up).",
        usually="int(delay), where math.ceil(delay) is meant; or the source's clock has whole seconds only",
    )
    async def test_c12_a_nacked_message_comes_not_before_its_delay(self, rig: Rig) -> None:
        rig.need(self.traits.max_delay >= DELAY, "max_delay")
        await rig.publish()
        driver, loop = await rig.open(), asyncio.get_running_loop()
        message = await driver.one()
        asked_at = loop.time()
        await driver.done("nack", message, delay=DELAY)
        await driver.one()
        waited = loop.time() - asked_at
        expect(waited >= DELAY - 0.01, f"nack with a delay of {DELAY} s, and it came after {waited:.2f} s")

    @check(
        contract="release: never started: to anyone, now.",
        usually="release() keeps the message for its own consumer, or lets its lease run out",
    )
    async def test_c13_a_released_message_is_there_for_anyone_at_once(self, rig: Rig) -> None:
        await rig.publish()
        one, other = await rig.open(max_wait=GLANCE), await rig.open(max_wait=GLANCE)
        _, message = await rig.one_of(one)
        loop = asyncio.get_running_loop()
        lease = self.traits.lease or math.inf
        asked_at = loop.time()
        await one.done("release", message)
        await rig.one_of(other, one)
        waited = loop.time() - asked_at
        expect(waited < lease / 2 or not rig.is_virtual, f"it came after {waited:.2f} s; a lease has {lease:g} s")

    @check(
        contract="release: not a failed attempt where the source can tell the two apart.",
        usually="release() is a nack; if the source cannot do better, declare release_counts = True",
    )
    async def test_c14_a_release_is_not_counted_as_an_attempt(self, rig: Rig) -> None:
        rig.need(not self.release_counts, "uncounted release")
        await rig.publish()
        driver = await rig.open()
        first = await driver.one()
        rig.need(first.receive_count is not None, "receive_count")
        await driver.done("release", first)
        second = await driver.one()
        seen = f"receive_count was {first.receive_count}, and after one release it is {second.receive_count}"
        expect(second.receive_count == first.receive_count, seen)

    @check(
        contract="Settlements answer Mapping[Message, Settled]: for the very messages that were given.",
        usually="the answers are keyed by id or receipt, or are True and False, or a list",
    )
    async def test_c15_answers_are_settled_by_message(self, rig: Rig) -> None:
        driver = await rig.open()
        verbs: list[Verb] = ["ack", "nack", "release"]
        verbs += ["extend"] if self.traits.lease is not None else []
        verbs += ["reject"] if self.traits.rejects else []
        for verb in verbs:
            await rig.publish_many(2)
            messages = await driver.take(2)
            answers: Any = await driver.answers(verb, *messages)
            expect(isinstance(answers, Mapping), f"{verb}() answered a {type(answers).__name__}")
            strange = [key for key in answers if not any(key is message for message in messages)]
            expect(not strange, f"{verb}() answered for {strange}, and was asked about {messages}")
            odd = [answer for answer in answers.values() if not isinstance(answer, Settled)]
            expect(not odd, f"{verb}() answered {odd}, which is not Settled")
            expect(answers, f"{verb}() of two messages answered nothing: missing = RETRY")
            await _clear(driver, messages, verb)

    @check(
        contract="ack: repeating is harmless.",
        usually="the second ack of a message raises, or a KeyError comes out of the provider's own book-keeping",
    )
    async def test_p9_an_ack_may_be_repeated(self, rig: Rig) -> None:
        id, other = await rig.publish_many(2)
        driver = await rig.open()
        first, second = await driver.take(2)
        await driver.done("ack", first)
        try:
            [again] = await driver.settle("ack", first)
        except Exception as error:
            expect(False, f"the second ack of {first} raised {type(error).__name__}: {error}")
        expect(again in (DONE, LOST), f"the second ack of {first} answered {again}: it would be asked for ever")
        await driver.done("ack", second)
        expect(await rig.settled(id, other), "a message that was acked is still there")

    @check(
        contract="One bad entry of a batch is its own affair: every entry has its own answer.",
        usually="the batch call's exception is read for all, or its list of failed entries is not read at all",
    )
    async def test_p24_a_bad_entry_spoils_no_other_of_its_batch(self, rig: Rig) -> None:
        ids = await rig.publish_many(3)
        driver = await rig.open()
        messages = await driver.take(3)
        await driver.done("ack", messages[1])
        answers = await driver.settle("ack", *messages)
        seen = f"of three acks the second is a repetition, and the answers are {[answer.value for answer in answers]}"
        expect(answers[0] is DONE and answers[2] is DONE, seen)
        expect(await rig.settled(*ids), "a message that was acked in the batch is still there")

    @check(
        contract="ack: of the messages that are given, and of no other.",
        usually="a cumulative acknowledgement (`multiple=True`), or one token for all that came in one answer",
    )
    async def test_p20_an_ack_settles_its_own_message_only(self, rig: Rig) -> None:
        await rig.publish_many(5)
        driver = await rig.open()
        messages = await driver.take(5)
        await asyncio.gather(*(driver.done("ack", message) for message in (messages[3], messages[1])))
        expect(await rig.settled(messages[1].id, messages[3].id), "a message that was acked is still there")
        for message in messages[::2]:
            expect(not await rig.is_settled(message.id), f"two others were acked, and {message} is gone with them")
        await driver.done("ack", *messages[::2])

    @check(
        contract="ack: raising = RETRY for all, missing = RETRY: not applied, or unknown; still ours.",
        usually="an error is swallowed and answered DONE; or the receipt is dropped before the source has answered",
    )
    async def test_p10_a_failed_ack_is_not_done_and_may_be_asked_again(self, rig: Rig) -> None:
        id = await rig.publish()
        driver = await rig.open()
        message = await driver.one()
        await rig.fail_next("ack", Unavailable("injected by the contract kit"))
        await _fails(driver, "ack", message)
        await driver.done("ack", message)
        expect(await rig.settled(id), f"{id} was acked, and is still there")

    @check(
        contract="nack, release, extend: raising = RETRY for all, missing = RETRY: still ours.",
        usually="an error is swallowed and answered DONE; or the receipt is dropped before the source has answered",
    )
    async def test_c16_any_failed_settlement_is_not_done_and_may_be_asked_again(self, rig: Rig) -> None:
        driver = await rig.open()
        verbs: list[Verb] = ["nack", "release"]
        for verb in verbs + (["extend"] if self.traits.lease is not None else []):
            await rig.publish()
            message = await driver.one()
            await rig.fail_next(verb, Unavailable("injected by the contract kit"))
            await _fails(driver, verb, message)
            await driver.done(verb, message)
            await driver.done("ack", message if verb == "extend" else await driver.one())

    @check(
        contract="Cancelled while it asks, an ack either happened or did not: the message is gone, or comes again.",
        usually="the receipt is forgotten before the source has answered",
    )
    async def test_p15_a_cancelled_ack_loses_nothing(self, rig: Rig) -> None:
        driver = await rig.open()
        for turns in (0, 1, 2, 5):
            id = await rig.publish()
            message = await driver.one()
            asking = asyncio.ensure_future(driver.answers("ack", message))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            try:
                [answer] = await driver.settle("ack", message)
            except Exception:  # Whether it may raise is another check.
                answer = RETRY
            seen = f"an ack was cancelled, its repetition answered {answer.value}, and the source still has {id}"
            expect(answer is not DONE or await rig.settled(id), seen)
            if answer is not DONE and not await rig.is_settled(id):
                await rig.expire(message)
                await driver.done("ack", await driver.one())

    @check(
        contract="reject: dead-lettered unchanged, then gone.",
        usually="the body is wrapped or encoded again on its way to the dead-letter target",
    )
    async def test_p25_a_rejected_message_is_dead_lettered_unchanged(self, rig: Rig) -> None:
        rig.need(self.traits.rejects, "rejects")
        attributes = {"tenant": "acme"}
        id = await rig.publish(" never\u00a0again\n", attributes)
        driver = await rig.open()
        await driver.done("reject", await driver.one())
        dead = await rig.rejected()
        expect(len(dead) == 1, f"one message was rejected, and in the dead-letter target are {len(dead)}")
        body = dead[0].body if isinstance(dead[0], Message) else dead[0]
        expect(_text(body) == " never\u00a0again\n", f"sent: ' never\\xa0again\\n', dead-lettered: {body!r}")
        if isinstance(dead[0], Message):
            kept = {name: dead[0].attributes.get(name) for name in attributes}
            expect(kept == attributes, f"sent with {attributes}, dead-lettered with {dict(dead[0].attributes)}")
        expect(await rig.settled(id), f"{id} was rejected, and is still there")

    @check(
        contract="reject: send, then delete.",
        usually="the message is deleted first, and what cannot be sent to the dead-letter target then is gone",
    )
    async def test_c17_a_reject_that_failed_has_lost_nothing(self, rig: Rig) -> None:
        rig.need(self.traits.rejects, "rejects")
        id = await rig.publish()
        driver = await rig.open()
        message = await driver.one()
        await rig.fail_next("reject", Unavailable("injected by the contract kit"))
        await _fails(driver, "reject", message)
        there = not await rig.is_settled(id) or await rig.rejected()
        expect(there, f"a reject failed, and {id} is neither in the source nor in the dead-letter target")
        await driver.done("reject", message)
        expect(await rig.rejected(), f"{id} was rejected, and is not in the dead-letter target")
        expect(await rig.settled(id), f"{id} was rejected, and is still there")


async def _fails(driver: Driver, verb: Verb, message: Message) -> None:
    """Settle while the source fails: no answer may be DONE, nor LOST."""
    try:
        [answer] = await driver.settle(verb, message)
    except Exception:  # Whatever is raised counts as RETRY.
        return
    expect(answer is RETRY, f"the source failed, and {verb} of {message} answered {answer.value}")


async def _clear(driver: Driver, messages: Sequence[Message], verb: Verb) -> None:
    """Leave the source empty for the next one."""
    if verb == "extend":
        await driver.settle("ack", *messages)
    elif verb in ("nack", "release"):
        await driver.done("ack", *await driver.take(len(messages)))


def _text(body: Body) -> str:
    return body if isinstance(body, str) else body.decode()
