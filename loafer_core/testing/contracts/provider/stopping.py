"""The end of receiving: stop, with a receive open, with messages fetched ahead, and with work still to be settled."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from loafer_core.api.errors import Finding
from loafer_core.api.provider import Audits, Measures, Publishes
from loafer_core.testing.contracts.options import SECRET
from loafer_core.testing.contracts.provider.checks import ProviderChecks
from loafer_core.testing.contracts.provider.receiving import SLACK
from loafer_core.testing.kit.checks import check
from loafer_core.testing.kit.rig import Rig
from loafer_core.testing.kit.verdict import Absent, expect

OURS = "loafer"
"""The parent of all loggers of Loafer and of plugins that follow it."""


class Stopping(ProviderChecks):
    """Stop; and what a provider may do beside its work."""

    @check(
        contract="stop: a pending receive ends by itself.",
        usually="receive() waits for something that stop() does not wake, and has no time limit of its own",
    )
    async def test_p16_a_pending_receive_ends_by_itself_after_stop(self, rig: Rig) -> None:
        driver = await rig.open()
        pending = asyncio.ensure_future(driver.receive())
        await asyncio.sleep(0.01)
        await driver.provider.stop()
        done, _ = await asyncio.wait([pending], timeout=self.max_wait + (0.01 if rig.is_virtual else SLACK))
        pending.cancel()
        expect(done, f"stop() was called, and the pending receive went on for more than {self.max_wait:g} s")
        try:
            pending.result()
        except Exception as error:
            expect(False, f"stop() was called, and the pending receive raised {type(error).__name__}: {error}")

    @check(
        contract="stop: idempotent.",
        usually="stop() cancels a consumer at the source that is not there any more",
    )
    async def test_c27_stop_may_be_called_twice_and_twice_at_once(self, rig: Rig) -> None:
        driver = await rig.open()
        await asyncio.gather(driver.provider.stop(), driver.provider.stop())
        await driver.provider.stop()

    @check(
        contract="stop: take no more; prefetch goes back.",
        usually="stop() ends the subscription and keeps what had been fetched ahead until its lease ends",
    )
    async def test_p17_what_was_fetched_ahead_goes_back_at_stop(self, rig: Rig) -> None:
        await rig.publish_many(5)
        one = await rig.open()
        await one.one()
        await one.provider.stop()
        other = await rig.open()
        lease = self.traits.lease or math.inf
        came = await other.gather(4, within=min(self.patience, lease / 2))
        seen = f"5 messages were sent, one is held; after stop() somebody else got {len(came)} of the other 4"
        expect(len(came) == 4, seen)

    @check(
        contract="stop: settling still works.",
        usually="stop() closes the connection that acks need",
    )
    async def test_c28_settling_works_after_stop(self, rig: Rig) -> None:
        ids = await rig.publish_many(3)
        driver = await rig.open()
        first, second, third = await driver.take(3)
        await driver.provider.stop()
        await driver.done("ack", first)
        await driver.done("nack", second)
        await driver.done("release", third)
        expect(await rig.settled(first.id), f"{ids[0]} was acked after stop(), and is still there")
        other = await rig.open()
        await other.done("ack", *await other.take(2))

    @check(
        contract="context.concurrency: the prefetch worth asking for.",
        usually="the client's own prefetch is not limited, and this process takes what others could work on",
    )
    async def test_p21_no_more_is_held_than_hands_and_prefetch(self, rig: Rig) -> None:
        await rig.publish_many(12)
        one = await rig.open(concurrency=2)
        await one.take(2, limit=1)
        await asyncio.sleep(0.05)
        other = await rig.open()
        lease = self.traits.lease or math.inf
        came = await other.gather(8, within=min(self.patience, lease / 2))
        seen = f"concurrency is 2, 12 messages were sent, 2 are held; somebody else can get {len(came)}, not 8"
        expect(len(came) >= 8, seen)

    @check(
        contract="Ids in logs, never bodies, attributes or secrets.",
        usually="the whole answer of the source is logged at DEBUG",
    )
    async def test_c37_its_log_shows_no_content_and_no_secret(self, rig: Rig) -> None:
        body = "contract-kit-body-4711"
        attribute = "contract-kit-attribute-4711"
        secrets = [str(value) for name, value in (await rig.options()).items() if SECRET.search(name)]
        with _logged() as texts:
            try:
                await rig.publish(body, {"tenant": attribute})
            except Absent:
                await rig.publish(body)
            driver = await rig.open()
            await driver.done("nack", await driver.one())
            await driver.done("ack", await driver.one())
            await driver.provider.stop()
            await driver.close()
        for name, secret in [("the body", body), ("an attribute", attribute), *(("a secret", one) for one in secrets)]:
            shown = [text for text in texts if len(secret) > 5 and secret in text]
            expect(not shown, f"{name} is in the log: {shown[:1]}")

    @check(
        contract="publish: send to the own source; returns the id of what was sent.",
        usually="it returns the client's own number for the request",
    )
    async def test_c29_what_the_provider_publishes_it_receives(self, rig: Rig) -> None:
        driver = await rig.open()
        provider: object = driver.provider
        if not isinstance(provider, Publishes):
            return rig.need(False, "publish")
        id = await provider.publish("published")
        message = await driver.one()
        body = message.body if isinstance(message.body, str) else message.body.decode()
        expect(body == "published", f"published: 'published', received: {message.body!r}")
        seen = f"publish() gave {id!r}, and the message came as {message.id!r}"
        expect(message.id == id or not self.traits.stable_ids, seen)
        return None

    @check(
        contract="measure: numbers such as depth and oldest_age (seconds).",
        usually="the source's text is handed on, or None for what it does not tell",
    )
    async def test_c30_measures_are_finite_numbers(self, rig: Rig) -> None:
        await rig.publish()
        provider: object = (await rig.open()).provider
        if not isinstance(provider, Measures):
            return rig.need(False, "measure")
        measures: Any = await provider.measure()
        expect(isinstance(measures, Mapping), f"measure() gave a {type(measures).__name__}")
        odd = {k: v for k, v in measures.items() if not isinstance(v, int | float) or isinstance(v, bool) or v != v}
        odd |= {k: v for k, v in measures.items() if k not in odd and (v < 0 or v == math.inf)}
        expect(not odd, f"measure() gave {odd}")
        return None

    @check(
        contract="audit: findings about the live source; read-only.",
        usually="text is returned in place of Finding; or a message is received to look at it",
    )
    async def test_c31_an_audit_gives_findings_and_changes_nothing(self, rig: Rig) -> None:
        await rig.publish()
        driver = await rig.open()
        provider: object = driver.provider
        if not isinstance(provider, Audits):
            return rig.need(False, "audit")
        findings: Any = await provider.audit()
        odd = [one for one in findings if not isinstance(one, Finding)]
        expect(not odd, f"audit() gave {odd}, which are not Findings")
        message = await driver.one()
        expect(message.receive_count in (None, 1), f"audit() was called, and the message has {message!r}")
        return None


@contextmanager
def _logged() -> Iterator[list[str]]:
    """What is logged meanwhile: by Loafer's own loggers, DEBUG too; by others, what their level lets through."""
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    ours = logging.getLogger(OURS)
    root = logging.getLogger()
    level = ours.level
    ours.setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield texts
    finally:
        root.removeHandler(handler)
        ours.setLevel(level)
