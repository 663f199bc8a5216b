"""The order within a group: nothing of it is handed out while one of it is not settled."""

from __future__ import annotations

from loafer_core.api.message import Message
from loafer_core.testing.contracts.provider.checks import ProviderChecks
from loafer_core.testing.kit.checks import check
from loafer_core.testing.kit.rig import GLANCE, Rig
from loafer_core.testing.kit.verdict import expect

# What the contract says of groups; several checks prove it.
LOCKED = "ordered: while a group has an unsettled message none of it is handed out, except later in the same answer."


class Ordering(ProviderChecks):
    """Groups, where ``traits.ordered`` says so."""

    @check(contract=LOCKED, usually="the group is unlocked when its message is received, not when it is settled")
    async def test_c24_a_group_waits_for_its_unsettled_message(self, rig: Rig) -> None:
        bodies = await self._publish_group(rig)
        driver = await rig.open(max_wait=GLANCE)
        for body in bodies:
            message = await driver.one()
            expect(message.body in (body, body.encode()), f"{body!r} is next, and {message.body!r} came")
            more = await driver.receive(1)
            expect(more == [], f"{message} of the group is not settled, and {more} of it came")
            await driver.done("ack", message)

    @check(contract="Message.group: the ordering key. " + LOCKED, usually="one lock for all groups")
    async def test_c25_groups_do_not_wait_for_each_other(self, rig: Rig) -> None:
        await self._publish_group(rig)
        await rig.publish("other", group="other")
        driver = await rig.open()
        groups = [str((await driver.one()).group)]
        while "other" not in groups and len(groups) < 5:
            groups += [str(message.group) for message in await driver.gather(1, limit=1)] or ["nothing more"]
        expect({"one", "other"} <= set(groups), f"of the groups 'one' and 'other' there came {', '.join(groups)}")

    @check(
        contract="ordered: also across a nack: what failed comes again before what follows it.",
        usually="nack() puts the message at the end of the queue",
    )
    async def test_p23_order_is_kept_across_a_nack(self, rig: Rig) -> None:
        bodies = await self._publish_group(rig)
        driver, seen = await rig.open(), list[str]()
        await driver.done("nack", await driver.one())
        for _ in bodies:
            message = await driver.one()
            seen.append(_text(message))
            await driver.done("ack", message)
        expect(seen == bodies, f"sent: {bodies}; the first was nacked once; then there came {seen}")

    @check(contract="ordered: later in the same answer, in order.", usually="the answer is sorted by something else")
    async def test_c26_one_answer_is_in_order(self, rig: Rig) -> None:
        bodies = await self._publish_group(rig)
        driver, seen = await rig.open(), list[str]()
        while len(seen) < len(bodies):
            messages = await driver.take(1, limit=10)
            seen += map(_text, messages)
            await driver.done("ack", *messages)
        expect(seen == bodies, f"sent: {bodies}, received: {seen}")

    async def _publish_group(self, rig: Rig) -> list[str]:
        rig.need(self.traits.ordered, "order")
        bodies = [f"{number}. of the group" for number in (1, 2, 3, 4)]
        for body in bodies:
            await rig.publish(body, group="one")
        return bodies


def _text(message: Message) -> str:
    return message.body if isinstance(message.body, str) else message.body.decode()
