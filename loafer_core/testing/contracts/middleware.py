"""The middleware contract: what is inside comes out, once, unless the middleware is there to change it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from loafer_core.api.errors import LoaferError
from loafer_core.api.message import Message
from loafer_core.api.outcomes import Ack, Nack, Outcome, Reject, described, is_outcome, settled_by
from loafer_core.delivery.handlers import compile_middleware, name_of
from loafer_core.testing.contracts.component import ComponentChecks
from loafer_core.testing.kit.checks import check
from loafer_core.testing.kit.component_rig import COMPONENT, CallNext, ComponentRig, as_message
from loafer_core.testing.kit.harness import Body
from loafer_core.testing.kit.verdict import Absent, expect

Middleware = Callable[[Message, CallNext], Awaitable[object]]


class MiddlewareContract(ComponentChecks):
    """Inherit it, name the component, and say what it lets pass and what it does not::

    class TestMiddleware(MiddlewareContract):
        component = "acme"
        refused = ["no tenant"]
    """

    kind: ClassVar[str] = "middleware"
    passes: ClassVar[Sequence[Body | Message]] = ("contract kit",)
    """Bodies, or Messages, that reach the handler."""
    refused: ClassVar[Sequence[Body | Message]] = ()
    """Bodies that do not: the middleware raises a LoaferError or Settle, or gives an outcome of its own."""
    changes_outcomes: bool = False
    """It is there to give another outcome than the one from inside."""
    catches_errors: bool = False
    """It is there to make outcomes of errors."""

    @check(
        contract="It returns an outcome: the one from inside, unless it is there to change it.",
        usually="`return` is missing before `await call_next(message)`",
    )
    async def test_m1_the_outcome_from_inside_comes_out(self, rig: ComponentRig) -> None:
        middleware = await _opened(rig)
        for outcome in (Ack(), Nack(5.0), Reject("not ours")):
            for message in self._passing():
                answer = await middleware(message, _inside(outcome))
                expect(is_outcome(answer), f"{outcome} came from inside, and it returned {described(answer)}")
                expect(self.changes_outcomes or answer == outcome, f"{outcome} came from inside, and {answer} came out")

    @check(
        contract="The handler runs once for each delivery.",
        usually="a retry around call_next, or call_next called in two branches",
    )
    async def test_m2_it_goes_inside_once(self, rig: ComponentRig) -> None:
        middleware, calls = await _opened(rig), list[Message]()
        for message in self._passing():
            calls.clear()
            await middleware(message, _inside(Ack(), calls))
            expect(len(calls) == 1, f"one message, and it went inside {len(calls)} times")

    @check(
        contract="What is raised inside comes out, unless it is there to catch it.",
        usually="`except Exception` around call_next, and an outcome made up",
    )
    async def test_m3_what_is_raised_inside_comes_out(self, rig: ComponentRig) -> None:
        if self.catches_errors:
            raise Absent("letting errors pass")
        middleware, error = await _opened(rig), ValueError("from inside")
        for message in self._passing():
            try:
                answer = await middleware(message, _inside(error))
            except ValueError as raised:
                expect(raised is error, f"another error came out than went in: {raised!r}")
            else:
                expect(False, f"an error was raised inside, and {answer} came out")

    @check(
        contract="CancelledError goes through: a stop, a timeout and a lost lease need it.",
        usually="`except BaseException`, a bare `except:`, or asyncio.shield around call_next",
    )
    async def test_m4_a_cancellation_goes_through_it(self, rig: ComponentRig) -> None:
        middleware, hears = await _opened(rig), list[str]()

        async def waits(message: Message) -> Outcome:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                hears.append(message.id)
                raise
            return Ack()

        for message in self._passing():
            running = asyncio.ensure_future(middleware(message, waits))
            await asyncio.sleep(0.05)
            running.cancel()
            await asyncio.wait([running], timeout=5)
            expect(
                running.cancelled(), "it was cancelled while the handler ran, and went on as if nothing had happened"
            )
            expect(hears == [message.id], "it was cancelled, and the handler inside did not hear of it")
            hears.clear()

    @check(
        contract="It may pass on a changed copy; whose delivery it is stays the same.",
        usually="a Message is made anew, without id, receipt or receive_count; or the message's dicts are changed",
    )
    async def test_m5_a_changed_copy_is_the_same_delivery(self, rig: ComponentRig) -> None:
        middleware, calls = await _opened(rig), list[Message]()
        for message in self._passing():
            before, calls[:] = (message.body, dict(message.attributes), dict(message.metadata)), []
            await middleware(message, _inside(Ack(), calls))
            for inner in calls:
                same = (inner.id, inner.receipt, inner.group) == (message.id, message.receipt, message.group)
                expect(same, f"{message} went in as {inner}: id, receipt and group are the delivery's")
            after = (message.body, dict(message.attributes), dict(message.metadata))
            expect(before == after, "it changed the message itself; pass on dataclasses.replace(message, ...)")

    @check(
        contract="What it refuses does not reach the handler: it raises, or gives an outcome of its own.",
        usually="the check comes after call_next, or its error is one of Python's, which says nothing to users",
    )
    async def test_m6_what_it_refuses_never_reaches_the_handler(self, rig: ComponentRig) -> None:
        if not self.refused:
            raise Absent("refused bodies")
        middleware, calls = await _opened(rig), list[Message]()
        for body in self.refused:
            answer: object = None
            try:
                answer = await middleware(as_message(body), _inside(Ack(), calls))
            except Exception as error:
                fine = isinstance(error, LoaferError) or settled_by(error) is not None
                expect(fine, f"it refused a message with {type(error).__name__}: {error}")
            else:
                expect(is_outcome(answer), f"it refused a message, and returned {described(answer)}")
            expect(not calls, f"what it should refuse reached the handler: {calls}")

    @check(
        contract="Deliveries run side by side: nothing of one is seen by another.",
        usually="the message is kept on self between two awaits",
    )
    async def test_m7_deliveries_side_by_side_are_not_mixed_up(self, rig: ComponentRig) -> None:
        middleware, first = await _opened(rig), self._passing()[0]

        async def own(message: Message) -> Outcome:
            await asyncio.sleep(0.01 * (int(message.id) % 3))
            return Nack(float(message.id))

        messages = [replace(first, id=str(number)) for number in range(1, 10)]
        answers = await asyncio.gather(*(middleware(message, own) for message in messages))
        fine = self.changes_outcomes or answers == [Nack(float(message.id)) for message in messages]
        expect(fine, f"nine deliveries side by side got the outcomes {answers}")

    @check(
        contract="In a route it is compiled once, opened before and closed after.",
        usually="it is not async (message, call_next), or open() needs what only a test gave it",
    )
    async def test_m8_under_the_dispatcher_messages_go_through(self, rig: ComponentRig) -> None:
        bodies = [message.body for message in self._passing()]
        account, manager = await rig.run(bodies, middleware=COMPONENT)
        fine = manager.accounts["contract"].acked == len(bodies)
        expect(fine or self.changes_outcomes, f"of {len(bodies)} messages that it lets pass: {account}")

    def _passing(self) -> list[Message]:
        return [as_message(body, number) for number, body in enumerate(self.passes, 1)]


async def _opened(rig: ComponentRig) -> Any:
    component = await rig.open()
    return compile_middleware(component, name_of(component))


def _inside(end: Outcome | Exception, calls: list[Message] | None = None) -> CallNext:
    async def call_next(message: Message) -> Outcome:
        if calls is not None:
            calls.append(message)
        await asyncio.sleep(0)
        if isinstance(end, Exception):
            raise end
        return end

    return call_next
