"""A provider's beginning and end: open, close, again, twice at once, in one loop after another, leaving nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from loafer_core.api.errors import ProviderError, SourceConfigError, Unavailable
from loafer_core.api.provider import Leases, Provider, Rejects, Traits
from loafer_core.testing.contracts.provider.checks import ProviderChecks
from loafer_core.testing.kit.checks import check
from loafer_core.testing.kit.driver import Driver, KitContext
from loafer_core.testing.kit.harness import ask
from loafer_core.testing.kit.rig import Rig
from loafer_core.testing.kit.verdict import expect
from loafer_core.testing.virtual import VirtualLoop


class Opening(ProviderChecks):
    """Open and close."""

    @check(
        contract="traits: what a source can do; read once, after open().",
        usually="the contract's class does not declare what the provider says, or the provider says what it cannot do",
    )
    async def test_c1_traits_after_open_are_those_that_are_declared(self, rig: Rig) -> None:
        driver = await rig.open()
        says = driver.provider.traits
        declared = self.traits
        differ = [f.name for f in dataclasses.fields(Traits) if getattr(says, f.name) != getattr(declared, f.name)]
        seen = ", ".join(f"{name}={getattr(says, name)!r} (declared: {getattr(declared, name)!r})" for name in differ)
        expect(not differ, f"the provider says {seen}")

    @check(
        contract="Traits.lease needs Leases, Traits.rejects needs Rejects.",
        usually="extend() or reject() has another name, or other parameters, than those of Leases and Rejects",
    )
    async def test_c2_what_the_traits_promise_has_its_method(self, rig: Rig) -> None:
        provider = (await rig.open()).provider
        expect(provider.traits.lease is None or isinstance(provider, Leases), "traits.lease is set: there is no extend")
        expect(not provider.traits.rejects or isinstance(provider, Rejects), "traits.rejects: there is no reject")

    @check(
        contract="open: connect, prove the source is there. SourceConfigError: it answered that there is none.",
        usually="open() only makes a client; or every error becomes Unavailable, which is tried again for ever",
    )
    async def test_p12_a_source_that_is_not_there_is_a_source_config_error_at_open(self, rig: Rig) -> None:
        provider = await rig.build(await ask(rig.harness, "missing"))
        context = rig.context()
        try:
            await provider.open(context)
        except SourceConfigError:
            return
        except Exception as error:
            expect(False, f"open() of a source that is not there raised {type(error).__name__}: {error}")
        finally:
            await provider.close()
            await context.close()
        expect(False, "open() of a source that is not there raised nothing")

    @check(
        contract="open: again after close().",
        usually="close() sets a flag, or cancels a task, that open() does not make anew",
    )
    async def test_p18_it_opens_again_after_close(self, rig: Rig) -> None:
        first = await rig.open()
        await _round_trip(rig, first)
        await first.close()
        await _round_trip(rig, await rig.open(first.provider))

    @check(
        contract="open: again after a failure; close: after a failed open.",
        usually="open() keeps half of what it made when a later step of it fails; close() expects all of it",
    )
    async def test_c3_it_closes_and_opens_again_after_an_open_that_failed(self, rig: Rig) -> None:
        provider, failed = await rig.build(), None
        await rig.fail_next("open", Unavailable("injected by the contract kit"))
        try:
            await rig.open(provider)
        except ProviderError as error:
            failed = error
        expect(failed, "the source failed, and open() raised no ProviderError")
        await provider.close()
        await _round_trip(rig, await rig.open(provider))

    @check(
        contract="close: idempotent.",
        usually="close() uses what it has set to None the first time, or what only open() makes",
    )
    async def test_c4_close_may_be_called_twice_and_without_open(self, rig: Rig) -> None:
        await (await rig.build()).close()
        driver = await rig.open()
        await driver.provider.close()
        await driver.provider.close()

    @check(
        contract="two providers of one component do not know of each other.",
        usually="something that belongs to one provider is a module's global or a class attribute",
    )
    async def test_p27_two_at_once_share_no_state(self, rig: Rig) -> None:
        first, second = await rig.open(concurrency=1), await rig.open(concurrency=1)
        await rig.publish_many(2)
        [mine] = await first.take(1, limit=1)
        [other] = await second.take(1, limit=1)
        await first.done("ack", mine)
        await first.provider.stop()
        await first.close()
        await second.done("ack", other)
        expect(await rig.settled(mine.id, other.id), "a message that was acked is still there")
        await _round_trip(rig, second)

    @check(
        contract="constructor: no loop; open: again after close(), in whatever loop runs then.",
        usually="a lock, an event or a client is made in __init__ or kept over close(), and belongs to the first loop",
    )
    async def test_p28_it_works_in_one_event_loop_after_another(self, rig: Rig) -> None:
        provider, context = await rig.build(), rig.context()
        context.max_wait = min(0.05, self.max_wait)
        await _elsewhere(self.loop_factory, provider, context)
        await _round_trip(rig, await rig.open(provider))

    @check(
        contract="close: after it nothing is left: no task, thread, socket or file.",
        usually="close() cancels a task and does not await it, or drops a client without closing it",
    )
    async def test_p19_nothing_is_left_behind(self, rig: Rig) -> None:
        await rig.publish_many(2)
        options = await rig.options()
        gc.collect()
        tasks = asyncio.all_tasks()
        threads = set(threading.enumerate())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            driver = Driver(self.make(options), rig.context(), self.patience)
            await driver.provider.open(driver.context)
            await driver.done("ack", *await driver.take(2))
            await driver.receive(1)
            await driver.provider.stop()
            await driver.close()
            del driver
            await asyncio.sleep(0.05)  # A transport is gone one turn of the loop after it was closed.
            gc.collect()
        left = asyncio.all_tasks() - tasks
        expect(not left, f"tasks are left: {', '.join(task.get_name() for task in left)}")
        pool = "asyncio_"  # The names of the loop's own threads, which end with it, begin so.
        more = [thread for thread in threading.enumerate() if thread not in threads and pool not in thread.name]
        expect(not more, f"threads are left: {', '.join(thread.name for thread in more)}")
        leaks = [str(one.message) for one in caught if issubclass(one.category, ResourceWarning)]
        expect(not leaks, f"resources are left: {'; '.join(leaks)}")


async def _round_trip(rig: Rig, driver: Driver) -> None:
    """Show that it works."""
    id = await rig.publish()
    await driver.done("ack", await driver.one())
    expect(await rig.settled(id), f"{id} was acked, and is still there")


async def _elsewhere(loop_factory: Any, provider: Provider, context: KitContext) -> None:
    """Open, receive nothing, close: in a thread, in a loop of its own."""

    async def use() -> None:
        await provider.open(context)
        await provider.receive(1)
        await provider.stop()
        await provider.close()
        await context.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(use())

    with ThreadPoolExecutor(1, "contract") as threads:
        if isinstance(asyncio.get_running_loop(), VirtualLoop):
            threads.submit(run).result()  # Virtual time would not wait for the thread.
        else:
            await asyncio.wrap_future(threads.submit(run))
