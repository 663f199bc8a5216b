"""Translators, error handlers, handlers and middlewares that keep their contract, and mutants with one fault each."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from loafer_core import Nack, Reject, Translation, TranslationError
from loafer_core.testing import (
    ErrorHandlerContract,
    HandlerContract,
    MiddlewareContract,
    TranslatorContract,
    VirtualLoop,
)

MUTANTS: dict[str, list[type[Any]]] = defaultdict(list)


def breaks(check: str) -> Callable[[type[Any]], type[Any]]:
    """Say which check a mutant fails."""

    def remember(mutant: type[Any]) -> type[Any]:
        MUTANTS[check].append(mutant)
        return mutant

    return remember


class FarSide:
    """What a component tells somebody, and what it is told to fail at."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.failing: list[Exception] = []
        self.given: dict[str, object] = {}

    def options(self):
        return self.given

    def built(self, component) -> None:
        component.side = self

    def sent(self):
        return self.told

    reported = sent

    def fail_next(self, operation, error) -> None:
        self.failing.append(error)

    def close(self) -> None: ...


# Translators


class Translator:
    def translate(self, message):
        return Translation(self.read(message.body), {"length": len(message.body)})

    def read(self, body):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise TranslationError("no JSON") from None


@breaks("T1")
class Counts(Translator):
    calls = 0

    def translate(self, message):
        self.calls += 1
        return replace(super().translate(message), metadata={"calls": self.calls})


@breaks("T1")
class PopsTheAttributes(Translator):
    def translate(self, message):
        message.attributes.pop("tenant", None)
        return super().translate(message)


@breaks("T2")
class WantsSomething(Translator):
    def read(self, body):
        payload = super().read(body)
        if not payload:
            raise TranslationError("no content")
        return payload


@breaks("T3")
class QuotesTheBody(Translator):
    def read(self, body):
        try:
            return super().read(body)
        except TranslationError:
            raise TranslationError(f"no JSON: {body!r}") from None


@breaks("T4")
class GivesAListOfFacts(Translator):
    def translate(self, message):
        return replace(super().translate(message), metadata=["json"])


@breaks("T5")
class TakesItsTime(Translator):
    def read(self, body):
        if len(body) > 200_000:
            time.sleep(2.1)
        return super().read(body)


@breaks("T6")
class TrustsTheTable(Translator):
    def read(self, body):
        payload = super().read(body)
        return payload["id"] and payload if isinstance(payload, dict) and payload == {} else payload


# Error handlers


class Reporter:
    side: FarSide

    async def handle(self, failure):
        await asyncio.sleep(0)
        self.report(failure)

    def report(self, failure):
        self.side.told.append(f"{type(failure.error).__name__} in {failure.route}")


@breaks("E1")
class TellsTheReportsId(Reporter):
    async def handle(self, failure):
        await super().handle(failure)
        return "report-1" if failure.stage == "timeout" else None


@breaks("E2")
class ReadsTheErrorsText(Reporter):
    def report(self, failure):
        assert str(failure.error) is not None
        super().report(failure)


@breaks("E3")
class CatchesEverything(Reporter):
    async def handle(self, failure):
        try:
            await super().handle(failure)
        except BaseException:
            pass


@breaks("E4")
class WaitsForItsReport(Reporter):
    async def handle(self, failure):
        await asyncio.sleep(2)
        await super().handle(failure)


@breaks("E5")
class ReportsTwice(Reporter):
    def report(self, failure):
        super().report(failure)
        super().report(failure)


@breaks("E6")
class ReportsTheBody(Reporter):
    def report(self, failure):
        self.side.told.append(f"{failure.message.body!r}")


@breaks("E6")
class ReportsTheAttributes(Reporter):
    def report(self, failure):
        self.side.told.append(f"{dict(failure.message.attributes)}")


# Handlers


class Publisher:
    side: FarSide
    closed = False

    async def open(self):
        self.closed = False

    async def close(self):
        self.closed = True

    async def handle(self, payload, metadata):
        body = self.encoded(payload)
        await asyncio.sleep(0)
        self.deliver(body)
        return True

    def deliver(self, body):
        if self.side.failing:
            raise self.side.failing.pop()
        self.side.told.append(body)

    def encoded(self, payload):
        return payload if isinstance(payload, str | bytes) else json.dumps(payload)


@breaks("H1")
class TellsItsId(Publisher):
    async def handle(self, payload, metadata):
        await super().handle(payload, metadata)
        return "sent-1"


@breaks("H2")
class SendsPython(Publisher):
    def encoded(self, payload):
        return str(payload) if isinstance(payload, dict) else super().encoded(payload)


@breaks("H3")
class SendsAddresses(Publisher):
    def encoded(self, payload):
        return payload if isinstance(payload, str) else json.dumps(payload, default=str)


@breaks("H4")
class SwallowsAFailure(Publisher):
    def deliver(self, body):
        try:
            super().deliver(body)
        except Exception:
            return


@breaks("H5")
class HasASmallBuffer(Publisher):
    waiting = 0

    async def handle(self, payload, metadata):
        self.waiting += 1
        try:
            return True if self.waiting > 20 else await super().handle(payload, metadata)
        finally:
            self.waiting -= 1


@breaks("H6")
class DropsAtClose(Publisher):
    def deliver(self, body):
        if not self.closed:
            super().deliver(body)


@breaks("H7")
class OpensOnce(Publisher):
    async def open(self):
        if self.closed:
            raise RuntimeError("closed")


@breaks("H8")
class CopiesTheMetadata(Publisher):
    async def handle(self, payload, metadata):
        copy.deepcopy(metadata["attributes"])
        return await super().handle(payload, metadata)


# Middlewares


class Guard:
    async def handle(self, message, call_next):
        if message.body == "refused":
            raise TranslationError("not for us")
        return await self.go_on(message, call_next)

    async def go_on(self, message, call_next):
        return await call_next(message)


@breaks("M1")
class NeverRejects(Guard):
    async def go_on(self, message, call_next):
        outcome = await call_next(message)
        return Nack(0.0) if isinstance(outcome, Reject) else outcome


@breaks("M2")
class TriesTwice(Guard):
    async def go_on(self, message, call_next):
        await call_next(message)
        return await call_next(message)


@breaks("M3")
class MakesOutcomesOfErrors(Guard):
    async def go_on(self, message, call_next):
        try:
            return await call_next(message)
        except ValueError:
            return Nack()


@breaks("M4")
class Shields(Guard):
    async def go_on(self, message, call_next):
        return await asyncio.shield(call_next(message))


@breaks("M5")
class LosesTheReceipt(Guard):
    async def go_on(self, message, call_next):
        return await call_next(replace(message, receipt=None))


@breaks("M6")
class ChecksAfterwards(Guard):
    async def handle(self, message, call_next):
        outcome = await call_next(message)
        if message.body == "refused":
            raise TranslationError("not for us")
        return outcome


@breaks("M6")
class RefusesWithAKeyError(Guard):
    async def handle(self, message, call_next):
        if message.body == "refused":
            raise KeyError("tenant")
        return await call_next(message)


@breaks("M7")
class KeepsTheMessage(Guard):
    async def go_on(self, message, call_next):
        self.message = message
        await asyncio.sleep(0)
        return await call_next(self.message)


@breaks("M8")
class CopiesTheAttributes(Guard):
    async def go_on(self, message, call_next):
        copy.deepcopy(message.attributes)
        return await call_next(message)


# Their contracts


class _Made:
    """Builds what is under test without a plugin."""

    loop_factory = VirtualLoop
    made: type[Any]

    def make(self, options):
        return self.made()


class OfTranslator(_Made, TranslatorContract):
    made = Translator
    good = ('{"id": 1}', b"[true]")
    bad = ("{'secret-4711': 1}",)
    falsy = {"0": 0, "[]": [], "null": None, '""': ""}


class OfErrorHandler(_Made, ErrorHandlerContract):
    made = Reporter


class OfHandler(_Made, HandlerContract):
    made = Publisher


class OfMiddleware(_Made, MiddlewareContract):
    made = Guard
    refused = ("refused",)


CONTRACTS: dict[str, type[Any]] = {"T": OfTranslator, "E": OfErrorHandler, "H": OfHandler, "M": OfMiddleware}
