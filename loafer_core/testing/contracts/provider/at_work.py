"""The provider at work: under the real dispatcher, through a Manager with one route on it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from loafer_core.api.components import Failure
from loafer_core.api.current import current
from loafer_core.api.errors import Unavailable
from loafer_core.api.outcomes import Nack, Outcome, Reject
from loafer_core.api.provider import Leases, Rejects
from loafer_core.api.route import Route
from loafer_core.app.manager import Manager
from loafer_core.testing.contracts.provider.checks import ProviderChecks
from loafer_core.testing.kit.checks import check
from loafer_core.testing.kit.rig import Rig
from loafer_core.testing.kit.verdict import Absent, expect

Handler = Callable[[str], Awaitable[Outcome | None]]


class AtWork(ProviderChecks):
    """Under the dispatcher."""

    @check(
        contract="Nothing is lost: every message is handled until it succeeds, whatever fails in between.",
        usually="look at the other checks first: this one puts them together",
    )
    async def test_p4_every_message_is_done_in_the_end(self, rig: Rig) -> None:
        ids = [await rig.publish(f"{number}") for number in range(12)]
        attempts: Counter[str] = Counter()

        async def fails_first(payload: str) -> Outcome | None:
            attempts[payload] += 1
            if attempts[payload] == 1 and int(payload) % 3 == 0:
                return Nack(0.0)
            if attempts[payload] == 1 and int(payload) % 3 == 1:
                raise ValueError(payload)
            return None

        async with self._running(rig, fails_first) as manager:
            await self._until(lambda: manager.accounts["contract"].acked >= len(ids))
        expect(await rig.settled(*ids), f"some are still there: {dict(attempts)}; account: {manager.accounts}")

    @check(
        contract="An ack comes after the handler, and not before.",
        usually="the source acknowledges at delivery (auto-ack)",
    )
    async def test_p5_the_source_holds_a_message_while_its_handler_runs(self, rig: Rig) -> None:
        id = await rig.publish()
        gone: list[bool] = []

        async def looks(payload: str) -> None:
            await asyncio.sleep(0.05)
            gone.append(await rig.is_settled(id))

        async with self._running(rig, looks):
            await self._until(lambda: gone)
        expect(not gone[0], f"{id} was gone from the source while its handler ran")
        expect(await rig.settled(id), f"the handler of {id} succeeded, and it is still there")

    @check(
        contract="A failed ack is tried again while the lease lasts, and the handler is not run again.",
        usually="a failed ack loses the receipt; or the message is given back by the failure",
    )
    async def test_c32_an_ack_that_failed_is_repeated_and_the_handler_is_not(self, rig: Rig) -> None:
        rig.need(hasattr(rig.harness, "fail_next"), "fail_next")
        id = await rig.publish()
        runs: list[str] = []

        async def handler(payload: str) -> None:
            runs.append(payload)

        provider = await rig.build()
        await rig.fail_next("ack", Unavailable("injected by the contract kit"))
        # Without the ledger, which would hide it.
        async with self._running(rig, handler, provider=provider, ledger=False) as manager:
            await self._until(lambda: manager.accounts["contract"].acked)
        expect(len(runs) == 1, f"one ack failed, and the handler ran {len(runs)} times")
        expect(await rig.settled(id), f"{id} is still there")

    @check(
        contract="Leases are kept while work runs.",
        usually="extend() is refused, or the lease is shorter than the traits say",
    )
    async def test_c33_a_slow_handler_keeps_its_message(self, rig: Rig) -> None:
        lease = rig.short_lease()
        if lease is None:
            raise Absent("lease" if self.traits.lease is None else "short lease")
        id, runs, lost = await rig.publish(), list[str](), list[bool]()

        async def slow(payload: str) -> None:
            runs.append(payload)
            await asyncio.sleep(lease * 1.2)
            lost.append(current().lease_lost.is_set())

        async with self._running(rig, slow):
            await self._until(lambda: lost)
        expect(not any(lost) and len(runs) == 1, f"the handler took 1.2 leases, ran {len(runs)} times; lost: {lost}")
        expect(await rig.settled(id), f"{id} is still there")

    @check(
        contract="A graceful stop loses nothing and hides nothing: what has not started goes back at once.",
        usually="release() or stop() leaves messages hidden until their leases end",
    )
    async def test_c34_a_stop_gives_back_what_is_not_done(self, rig: Rig) -> None:
        await rig.publish_many(6)
        started = asyncio.Event()

        async def hangs(payload: str) -> None:
            started.set()
            await asyncio.sleep(1000)

        async with self._running(rig, hangs, concurrency=3):
            await self._until(started.is_set)
        lease = self.traits.lease or self.patience
        came = await (await rig.open()).gather(6, within=min(self.patience, lease / 2))
        expect(len(came) == 6, f"the manager stopped in the middle of 6 messages, and {len(came)} of them came back")

    @check(
        contract="Reject: to the source's dead-letter target. Without one it becomes a nack.",
        usually="traits.rejects is True, and reject() never answers DONE",
    )
    async def test_c35_a_rejecting_handler_dead_letters(self, rig: Rig) -> None:
        rig.need(self.traits.rejects, "rejects")
        id = await rig.publish()

        async def refuses(payload: str) -> Outcome:
            return Reject("not ours")

        async with self._running(rig, refuses) as manager:
            await self._until(lambda: manager.accounts["contract"].rejected)
        expect(await rig.settled(id), f"{id} was rejected, and is still there")

    @asynccontextmanager
    async def _running(
        self, rig: Rig, handler: Handler, *, provider: Any = None, concurrency: int = 4, ledger: bool = True
    ) -> AsyncIterator[Manager]:
        provider = provider or await rig.build()
        # Said by the check that asks for the methods.
        rig.need(self.traits.lease is None or isinstance(provider, Leases), "extend")
        rig.need(not self.traits.rejects or isinstance(provider, Rejects), "reject")

        async def gives_back(failure: Failure) -> Outcome:
            return Nack(0.0)

        route = Route(
            "contract",
            provider=provider,
            handler=handler,
            error_handler=gives_back,
            concurrency=concurrency,
            ledger=ledger,
        )
        async with Manager([route], shutdown_timeout=max(4.0, 2 * self.max_wait)) as manager:
            yield manager

    async def _until(self, true: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.patience + 2 * (self.traits.lease or 0.0)
        while not true():
            expect(loop.time() < until, "the dispatcher did not come to an end of it; see its log")
            await asyncio.sleep(0.02)
