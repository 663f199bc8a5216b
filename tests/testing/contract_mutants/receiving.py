"""Providers with one fault each: in opening and in receiving."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace

from contract_mutants.reference import Reference, breaks

from loafer_core import CredentialError, SourceConfigError, Unavailable


@breaks("C1")
class TellsAnotherBatch(Reference):
    async def open(self, context):
        await super().open(context)
        self.traits = replace(self.traits, batch=1)


@breaks("C2")
class CannotExtend(Reference):
    extend = None


@breaks("P12")
class WaitsForAMissingQueue(Reference):
    def no_such_queue(self):
        return Unavailable("try again")


@breaks("P18")
class WorksOnce(Reference):
    used = False

    async def receive(self, limit):
        if self.used:
            await asyncio.sleep(1)
            return []
        messages = await super().receive(limit)
        self.seen = messages or getattr(self, "seen", [])
        return messages

    async def close(self):
        self.used = bool(getattr(self, "seen", []))
        await super().close()


@breaks("C3")
class RemembersThatOpenFailed(Reference):
    failed = False

    async def open(self, context):
        if self.failed:
            raise RuntimeError("half open")
        try:
            await super().open(context)
        except Unavailable:
            self.failed = True
            raise


@breaks("C4")
class ClosesOnce(Reference):
    closed = False

    async def open(self, context):
        self.closed = False
        try:
            await super().open(context)
        finally:
            self.closed = False

    async def close(self):
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
        await super().close()


@breaks("P27")
class StopsThemAll(Reference):
    everybody = True

    async def open(self, context):
        type(self).everybody = True
        await super().open(context)

    async def stop(self):
        type(self).everybody = False
        await super().stop()

    async def receive(self, limit):
        if type(self).everybody:
            return await super().receive(limit)
        await asyncio.sleep(1)
        return []


@breaks("P28")
class KeepsItsFirstLoop(Reference):
    loop = None

    async def open(self, context):
        self.loop = self.loop or asyncio.get_running_loop()
        if self.loop is not asyncio.get_running_loop():
            raise RuntimeError("attached to a different loop")
        await super().open(context)


@breaks("P19")
class LeavesATask(Reference):
    async def open(self, context):
        await super().open(context)
        self.task = asyncio.create_task(asyncio.sleep(1000))


@breaks("P1")
class ReadsTheBody(Reference):
    async def receive(self, limit):
        return [replace(message, body=self.read(message.body)) for message in await super().receive(limit)]

    def read(self, body):
        try:
            return json.dumps(json.loads(body))
        except ValueError:
            return body


@breaks("C5")
class DropsAttributes(Reference):
    async def receive(self, limit):
        return [replace(message, attributes={}) for message in await super().receive(limit)]


@breaks("C6")
class TellsMilliseconds(Reference):
    async def receive(self, limit):
        return [replace(message, sent_at=message.sent_at * 1000) for message in await super().receive(limit)]


@breaks("C7")
class OverstatesTheLease(Reference):
    async def receive(self, limit):
        return [replace(message, lease_until=message.lease_until + 5) for message in await super().receive(limit)]


@breaks("C8")
class RenamesARedelivery(Reference):
    async def receive(self, limit):
        return [self.renamed(message) for message in await super().receive(limit)]

    def renamed(self, message):
        return message if message.receive_count == 1 else replace(message, id=f"{message.id}#{message.receive_count}")


@breaks("P26")
class StripsTheBody(Reference):
    async def receive(self, limit):
        return [replace(message, body=message.body.strip()) for message in await super().receive(limit)]


@breaks("C9")
class WaitsLonger(Reference):
    async def open(self, context):
        await super().open(context)
        self._wait = context.max_wait + 2


@breaks("P2")
class Spins(Reference):
    async def open(self, context):
        await super().open(context)
        self._wait = 0


@breaks("P3")
class GivesOneMore(Reference):
    async def receive(self, limit):
        return await super().receive(3 if limit == 2 else limit)


@breaks("C10")
class ReceivesOneAtATime(Reference):
    receiving = False

    async def receive(self, limit):
        if self.receiving:
            raise RuntimeError("another coroutine is already waiting for incoming data")
        self.receiving = True
        try:
            return await super().receive(limit)
        finally:
            self.receiving = False


class Swallows(Reference):
    what: type[Exception]

    async def receive(self, limit):
        try:
            return await super().receive(limit)
        except self.what:
            await asyncio.sleep(1)
            return []


@breaks("P11")
class SwallowsOutages(Swallows):
    what = Unavailable


@breaks("P13")
class SwallowsTheUnknown(Swallows):
    what = OSError


@breaks("P13")
class ForgetsTheCause(Reference):
    async def receive(self, limit):
        try:
            return await super().receive(limit)
        except OSError:
            pass
        raise Unavailable("something happened")


@breaks("C11")
class TriesForEver(Reference):
    async def receive(self, limit):
        try:
            return await super().receive(limit)
        except SourceConfigError as error:
            raise Unavailable(str(error)) from error


@breaks("C36")
class TriesRefusedCredentialsForEver(Reference):
    async def receive(self, limit):
        try:
            return await super().receive(limit)
        except CredentialError as error:
            raise Unavailable(str(error)) from error


@breaks("P14")
class DropsWhatACancelledReceiveHad(Reference):
    async def receive(self, limit):
        messages = await super().receive(limit)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await asyncio.gather(super().ack(messages))
            raise
        return messages


@breaks("C24")
class LocksNoGroup(Reference):
    ordered = True

    async def open(self, context):
        await super().open(context)
        self.queue.ordered = False


@breaks("C25")
class HashesGroups(Reference):
    """What has no namespace shares one lane."""

    ordered = True

    async def receive(self, limit):
        now = asyncio.get_running_loop().time()
        if any(entry.in_flight(now) and "-" not in entry.group for entry in self.queue._store.entries):
            await asyncio.sleep(1)
            return []
        return await super().receive(limit)


@breaks("C26")
class TurnsItsAnswerRound(Reference):
    ordered = True

    async def receive(self, limit):
        messages = list(await super().receive(limit))
        groups = Counter(message.group for message in messages)
        return messages[::-1] if max(groups.values(), default=0) > 1 else messages


@breaks("P23")
class NacksToTheEnd(Reference):
    ordered = True

    async def nack(self, delays):
        answers = await super().nack(delays)
        for message in delays:
            self.queue._store._entries.move_to_end(message.id)
        return answers
