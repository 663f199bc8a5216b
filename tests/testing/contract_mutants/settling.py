"""Providers with one fault each: in settling, in keeping leases and in stopping."""

from __future__ import annotations

import asyncio
import json
import logging

from contract_mutants.reference import LEASE, Channel, Reference, breaks

from loafer_core import Settled, Unavailable

DONE, RETRY, LOST = Settled.DONE, Settled.RETRY, Settled.LOST


@breaks("P6")
class SendsAgainAtClose(Reference):
    """Its book-keeping does not hear of acks."""

    async def ack(self, messages):
        self.acked = [*getattr(self, "acked", []), *messages]
        return await super().ack(messages)

    async def close(self):
        for message in getattr(self, "acked", []):
            self.queue.send(message.body, message.attributes, message.group, delay=LEASE)
        self.acked = []
        await super().close()


@breaks("P7")
class NacksUncounted(Reference):
    async def nack(self, delays):
        return await self._settle("nack", list(delays), self.uncounted(delays))

    def uncounted(self, delays):
        return lambda message: self.queue._give_back(message.receipt, delays[message], attempts=0)


@breaks("C12")
class RoundsDown(Reference):
    async def nack(self, delays):
        return await super().nack({message: int(delay) for message, delay in delays.items()})


@breaks("C13")
class ReleasesLate(Reference):
    async def release(self, messages):
        delay = 6.0 if self.alone else 0.0
        return await self._settle(
            "release", messages, lambda message: self.queue._give_back(message.receipt, delay, attempts=0)
        )


@breaks("C14")
class CountsReleases(Reference):
    async def release(self, messages):
        return await self._settle("release", messages, lambda message: self.queue.nack(message.receipt))


@breaks("C15")
class AnswersByIdToo(Reference):
    async def ack(self, messages):
        answers = await super().ack(messages)
        return {**answers, **{message.id: answer for message, answer in answers.items()}}


@breaks("P9")
class HasNothingToAsk(Reference):
    def __init__(self, options):
        super().__init__(options)
        self.mine = set()

    async def ack(self, messages):
        if self.mine.issuperset(messages):
            raise KeyError("unknown delivery tag")
        answers = await super().ack(messages)
        self.mine.update(answers)
        return answers


@breaks("P24")
class ReadsABatchAsOne(Reference):
    async def ack(self, messages):
        answers = await super().ack(messages[:1])
        spent = [message for message in messages if message.receipt.removed]
        if len(messages) > 1 and len(spent) > 1:
            return dict.fromkeys(messages, RETRY)
        return {**answers, **await super().ack(messages[1:])} if len(messages) > 1 else answers


@breaks("P20")
class AcksWhatCameTogether(Reference):
    def __init__(self, options):
        super().__init__(options)
        self.answers = []

    async def receive(self, limit):
        messages = await super().receive(limit)
        self.answers.append(messages)
        return messages

    async def ack(self, messages):
        together = [answer for answer in self.answers if self.alone and any(one in answer for one in messages)]
        for answer in together:
            last = max(answer.index(one) for one in messages if one in answer)
            for before in answer[:last]:
                self.queue.delete(before.receipt)
        return await super().ack(messages)


@breaks("P10")
class AcksInTheBackground(Reference):
    async def ack(self, messages):
        try:
            return await super().ack(messages)
        except Unavailable:
            for message in messages:
                asyncio.get_running_loop().call_later(0.1, self.queue.delete, message.receipt)
            return dict.fromkeys(messages, DONE)


@breaks("C16")
class NacksInTheBackground(Reference):
    async def nack(self, delays):
        try:
            return await super().nack(delays)
        except Unavailable:
            for message, delay in delays.items():
                asyncio.get_running_loop().call_later(0.1, self.queue.nack, message.receipt, delay)
            return dict.fromkeys(delays, DONE)


@breaks("P15")
class ForgetsWhenCancelled(Reference):
    def __init__(self, options):
        super().__init__(options)
        self.forgotten = set()

    async def ack(self, messages):
        if self.forgotten.issuperset(messages):
            return dict.fromkeys(messages, DONE)
        try:
            return await super().ack(messages)
        except asyncio.CancelledError:
            self.forgotten.update(messages)
            raise


@breaks("P25")
class WrapsDeadLetters(Reference):
    async def reject(self, messages, reason):
        answers = await super().reject(messages, reason)
        for entry in self.queue.dead_letter._store.entries:
            entry.body = json.dumps({"reason": reason, "body": entry.body})
        return answers


@breaks("C17")
class DeletesBeforeItSends(Reference):
    async def reject(self, messages, reason):
        try:
            return await super().reject(messages, reason)
        except Unavailable:
            await super().ack(messages)
            raise


@breaks("P8")
class CleansUpAtOpen(Reference):
    async def open(self, context):
        await super().open(context)
        now = self.queue._store.tick()
        for entry in list(self.queue._store.entries):
            if entry.receipt and not entry.receipt.returned and entry.visible_at <= now:
                self.queue._store.drop(entry)


@breaks("P22")
class ExtendsByHalf(Reference):
    async def extend(self, messages):
        return await self._settle("extend", messages, lambda message: self.queue.extend(message.receipt, LEASE / 2))


@breaks("C18")
class ExtendsForLong(Reference):
    async def extend(self, messages):
        return await self._settle("extend", messages, lambda message: self.queue.extend(message.receipt, 3 * LEASE))


@breaks("C19")
class StealsBack(Reference):
    async def extend(self, messages):
        return {message: DONE for message in await super().extend(messages)}


@breaks("C20")
class ReleasesWhateverHasTheId(Reference):
    async def release(self, messages):
        return await self._settle("release", messages, lambda message: self.queue.release(self.entry(message).receipt))


@breaks("C21")
class KeepsReceiptsById(Reference):
    def __init__(self, options):
        super().__init__(options)
        self.receipts = {}

    async def receive(self, limit):
        messages = await super().receive(limit)
        self.receipts.update({message.id: message.receipt for message in messages})
        return messages

    async def nack(self, delays):
        return await self._settle(
            "nack", list(delays), lambda message: self.queue.nack(self.receipts[message.id], delays[message])
        )


@breaks("C22")
class BelievesLateAcks(Reference):
    async def ack(self, messages):
        return {message: DONE for message in await super().ack(messages)}


@breaks("C23")
class BelievesLateNacks(Reference):
    async def nack(self, delays):
        return {message: DONE for message in await super().nack(delays)}


@breaks("C23")
class TellsNobodyThatItsChannelIsGone(Channel):
    def tell(self, messages):
        pass


@breaks("P16")
class BreaksItsReceiveAtStop(Reference):
    async def receive(self, limit):
        messages = await super().receive(limit)
        if self._stopped and not messages:
            raise Unavailable("the consumer was cancelled")
        return messages


@breaks("P16")
class HangsAfterStop(Reference):
    async def receive(self, limit):
        messages = await super().receive(limit)
        if self._stopped and not messages and self.alone:
            await asyncio.sleep(30)
        return messages


@breaks("C27")
class StopsOnce(Reference):
    async def stop(self):
        if self._stopped:
            raise KeyError("unknown consumer tag")
        await super().stop()


class FetchesAhead(Reference):
    """Keeps some more messages than were asked for, and hands them out first."""

    def __init__(self, options):
        super().__init__(options)
        self.ahead = []

    def most(self):
        return 0

    async def receive(self, limit):
        more = [] if self.ahead else await super().receive(limit + self.most())
        self.ahead += more
        messages, self.ahead = self.ahead[:limit], self.ahead[limit:]
        return messages


@breaks("P17")
class KeepsItsPrefetchAtStop(FetchesAhead):
    def most(self):
        return 2 if self.alone and self.queue.depth == 5 else 0


@breaks("P21")
class FetchesTooMuchAhead(FetchesAhead):
    async def open(self, context):
        await super().open(context)
        self.concurrency = context.concurrency

    def most(self):
        return 6 if self.concurrency == 2 else 0


@breaks("C28")
class CannotNackAfterStop(Reference):
    async def nack(self, delays):
        if self._stopped:
            raise Unavailable("the channel is closed")
        return await super().nack(delays)


@breaks("C37")
class LogsWhatItNacks(Reference):
    async def nack(self, delays):
        logging.getLogger("loafer.mutant").debug("nack %s", [message.body for message in delays])
        return await super().nack(delays)


@breaks("C29")
class TellsItsOwnNumber(Reference):
    async def publish(self, body, attributes=None, group=None):
        await super().publish(body, attributes, group)
        return "request-1"


@breaks("C30")
class MeasuresInText(Reference):
    async def measure(self):
        return {name: str(value) for name, value in (await super().measure()).items()}


@breaks("C31")
class AuditsInText(Reference):
    async def audit(self):
        return ["no retention"]


@breaks("P4")
class SettlesTwoOfABatch(Reference):
    async def nack(self, delays):
        answers = await super().nack(dict(list(delays.items())[:2]))
        for message in list(delays)[2:]:
            self.queue.delete(message.receipt)
        return {message: answers.get(message, DONE) for message in delays}


@breaks("P5")
class AcksAtDelivery(Reference):
    """Where it thinks that one message is no work."""

    async def receive(self, limit):
        messages = await super().receive(limit)
        if not self.alone and limit == 4 and len(messages) == 1:
            await super().ack(messages)
        return messages

    async def extend(self, messages):
        gone = {message: DONE for message in messages if message.receipt.removed}
        return {**await super().extend(messages), **gone}


@breaks("C32")
class ReleasesWhenAnAckFails(Reference):
    async def ack(self, messages):
        try:
            return await super().ack(messages)
        except Unavailable:
            await super().release(messages)
            raise


@breaks("C33")
class UsesTheFirstReceiptForEver(Reference):
    """Each extension gives another token."""

    def __init__(self, options):
        super().__init__(options)
        self.extended = set()

    async def extend(self, messages):
        answers = await super().extend(messages)
        told = {message: LOST if message in self.extended else answer for message, answer in answers.items()}
        self.extended.update(answers)
        return told


@breaks("C34")
class ReleasesTwoOfABatch(Reference):
    async def release(self, messages):
        await super().release(messages[:2])
        return dict.fromkeys(messages, DONE)


@breaks("C35")
class RejectsOnlyWhenIdle(Reference):
    receiving = 0

    async def receive(self, limit):
        self.receiving += 1
        try:
            return await super().receive(limit)
        finally:
            self.receiving -= 1

    async def reject(self, messages, reason):
        if self.receiving:
            raise Unavailable("the connection is busy")
        return await super().reject(messages, reason)
