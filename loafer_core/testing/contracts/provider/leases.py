"""Until when a delivery is ours: leases that end, that are made longer, and that are not stolen back."""

from __future__ import annotations

import asyncio

from loafer_core.api.message import Message
from loafer_core.api.provider import Settled
from loafer_core.testing.contracts.provider.checks import ProviderChecks
from loafer_core.testing.kit.checks import check
from loafer_core.testing.kit.driver import Driver
from loafer_core.testing.kit.rig import GLANCE, Rig
from loafer_core.testing.kit.verdict import Absent, expect

DONE, LOST = Settled.DONE, Settled.LOST
# The usual cause of several failures.
STOLEN = "the message's id is looked up, or its lease written, without asking whether this delivery still holds it"


class Leasing(ProviderChecks):
    """Leases, or channels."""

    @check(
        contract="What is never settled comes again: when its lease ends, or its consumer is gone.",
        usually="the source acknowledges by itself (auto-ack), or receive() deletes",
    )
    async def test_p8_what_is_not_settled_comes_again(self, rig: Rig) -> None:
        await rig.publish("not settled")
        one = await rig.open()
        first = await one.one()
        try:
            await rig.expire(first)
        except Absent:
            if self.traits.lease is not None:
                raise
            await one.close()
        again = await (await rig.open()).one()
        expect(again.body == first.body, f"{first} came again with the body {again.body!r}")

    @check(
        contract="extend: ours for traits.lease from now.",
        usually="extend() adds to what is left where it should begin anew, or asks for less than the lease",
    )
    async def test_p22_an_extended_lease_is_kept(self, rig: Rig) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            one, other, message, lease = await _held(rig)
            await asyncio.sleep(lease * 0.7)
            extended_at = loop.time()
            await one.done("extend", message)
            await asyncio.sleep(lease * 0.7)
            came = await other.receive()
            if not came or loop.time() < extended_at + lease:
                break  # If not, the machine was too slow, and the lease may have ended by itself.
        expect(not came, f"{message} was extended {lease * 0.7:.1f} s ago for {lease:g} s, and somebody else got it")
        await one.done("ack", message)
        expect(await rig.settled(message.id), f"{message} was acked, and is still there")

    @check(
        contract="extend: ours for traits.lease, and then for everybody.",
        usually="extend() asks for more than traits.lease: what a killed process held stays hidden for so long",
    )
    async def test_c18_an_extended_lease_ends(self, rig: Rig) -> None:
        one, other, message, lease = await _held(rig)
        await one.done("extend", message)
        await asyncio.sleep(lease)
        came = await other.gather(1, within=lease / 2 + (0.0 if rig.is_virtual else 2.0))
        expect(came, f"{message} was extended for {lease:g} s, and is still hidden long after that")

    @check(contract="extend: fenced: LOST, never stolen back.", usually=STOLEN)
    async def test_c19_a_lease_that_ended_is_not_stolen_back(self, rig: Rig) -> None:
        rig.need(self.traits.lease is not None, "lease")
        await rig.publish()
        one, other = await rig.open(), await rig.open()
        stale = await one.one()
        await rig.expire(stale)
        fresh = await other.one()
        [answer] = await one.settle("extend", stale)
        expect(answer is LOST, f"somebody else has the message, and extend of {stale} answered {answer.value}")
        await _still_held(rig, other, fresh, "extend")

    @check(contract="Message: one delivery. Settled is a delivery, not whatever has its id now.", usually=STOLEN)
    async def test_c20_a_late_release_or_nack_does_not_touch_the_next_delivery(self, rig: Rig) -> None:
        one, other = await rig.open(max_wait=GLANCE), await rig.open(max_wait=GLANCE)
        for verb in ("release", "nack"):
            await rig.publish()
            holder, stale = await rig.one_of(one, other)
            await rig.expire(stale)
            next_holder, fresh = await rig.one_of(other, one)
            try:
                await holder.settle("release" if verb == "release" else "nack", stale)
            except Exception as error:
                expect(False, f"{verb} of {stale}, whose lease ended, raised {type(error).__name__}: {error}")
            await _still_held(rig, next_holder, fresh, verb)

    @check(
        contract="Two deliveries of one id may be alive at once, in the same provider.",
        usually="receipts are kept in a dict by message id, where the next delivery replaces the last one",
    )
    async def test_c21_settlement_goes_by_delivery_and_not_by_id(self, rig: Rig) -> None:
        id = await rig.publish()
        one = await rig.open()
        stale = await one.one()
        await rig.expire(stale)
        fresh = await one.one()
        await one.settle("nack", stale)
        came = await (await rig.open(max_wait=GLANCE)).receive()
        expect(not came, f"{stale}, whose lease ended, was nacked, and that gave {fresh} away")
        answers = await one.settle("ack", stale, fresh)
        seen = f"acks of a stale and a fresh delivery of {id} answered {[answer.value for answer in answers]}"
        expect(DONE in answers, seen)
        expect(await rig.settled(id), f"{seen}, and it is still there")

    @check(
        contract="DONE: the source recorded it. LOST: not ours any more, final.",
        usually="a late ack answers DONE though the source ignored it; then nobody knows that it comes again",
    )
    async def test_c22_a_late_ack_says_what_became_of_it(self, rig: Rig) -> None:
        rig.need(self.knows_late_acks, "known late acks")
        id = await rig.publish()
        one, other = await rig.open(), await rig.open()
        stale = await one.one()
        await rig.expire(stale)
        fresh = await other.one()
        [answer] = await one.settle("ack", stale)
        expect(answer in (DONE, LOST), f"a late ack answered {answer.value}: it would be asked again for ever")
        if answer is DONE:
            expect(await rig.settled(id), f"a late ack answered DONE, and the source still has {id}")
        else:
            await other.done("ack", fresh)

    @check(
        contract="context.lost(messages, reason): gone already. LOST: stale receipt, channel gone.",
        usually="the client reconnects by itself, and nobody tells the core that the old deliveries are void",
    )
    async def test_c23_the_core_hears_of_a_delivery_that_is_gone(self, rig: Rig) -> None:
        await rig.publish()
        one, other = await rig.open(), await rig.open()
        stale = await one.one()
        await rig.expire(stale)
        loop = asyncio.get_running_loop()
        until = loop.time() + self.patience
        if self.traits.lease is not None:
            await other.one()
        while stale not in one.context.gone:
            [answer] = await one.settle("nack", stale)
            if answer is LOST:
                break
            seen = f"{stale} is not ours any more; context.lost() was not called, and nack answered {answer.value}"
            expect(answer is not DONE and loop.time() < until, seen)
            await asyncio.sleep(0.1)


async def _held(rig: Rig) -> tuple[Driver, Driver, Message, float]:
    """One who holds a message under a lease that can be waited for, and another one who would like to have it."""
    lease = rig.short_lease()
    if lease is None:
        raise Absent("lease" if rig.traits.lease is None else "short lease")
    await rig.publish()
    one, other = await rig.open(), await rig.open(max_wait=GLANCE)
    return one, other, await one.one(), lease


async def _still_held(rig: Rig, driver: Driver, fresh: Message, verb: str) -> None:
    """See that the newest delivery still belongs to whoever received it."""
    came = await (await rig.open(max_wait=GLANCE)).receive()
    expect(not came, f"{verb} of the delivery before, whose lease ended, gave {fresh} away")
    await driver.done("ack", fresh)
    expect(await rig.settled(fresh.id), f"{fresh} was acked, and is still there")
