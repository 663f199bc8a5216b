"""Puts a translator, handler, error handler or middleware to work: built by name, opened, asked, closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from loafer_core.api.components import Failure
from loafer_core.api.message import Message
from loafer_core.api.outcomes import Nack, Outcome
from loafer_core.api.route import Route
from loafer_core.app.manager import Manager
from loafer_core.delivery.executors import ThreadExecutor
from loafer_core.engine.resources import Lifecycle, lifecycle_of
from loafer_core.memory.provider import MemoryProvider, MemoryQueue
from loafer_core.testing.kit.consumer import KitContext, expect
from loafer_core.testing.kit.harness import Absent, Body, Options, ask


class ComponentHarness(Protocol):
    """The far side of a component: what it is told, and what it has done there.

    The kit calls it as it calls a ``ProviderHarness``. What more it can do is found by name:

    ``sent()``: the bodies that have arrived where a handler publishes to, or Messages.
    ``reported()``: the texts that an error handler has sent to somebody.
    ``fail_next(operation, error)``: the next ``open`` or ``handle`` meets trouble that has to be told as ``error``.
    ``built(component)``: is told of each component under test.
    """

    def options(self) -> Options | Awaitable[Options]: ...
    def close(self) -> Awaitable[None] | None: ...


class Given:
    """The harness of a component that has no far side."""

    def __init__(self, options: Mapping[str, object]) -> None:
        self._options = options

    def options(self) -> Mapping[str, object]:
        return self._options

    def close(self) -> None:
        """Nothing was opened."""


class Subject(Protocol):
    """What the rig needs to know of the contract."""

    @property
    def component(self) -> str: ...
    @property
    def payload_type(self) -> object: ...
    @property
    def patience(self) -> float: ...
    def make(self, options: Mapping[str, object]) -> Any: ...


class ComponentRig:
    """Builds and opens components for one check."""

    def __init__(self, contract: Subject, harness: object) -> None:
        self.contract, self.harness = contract, harness
        self.threads = ThreadExecutor("contract", 8)
        self._opened: list[tuple[Lifecycle | None, KitContext]] = []

    async def options(self) -> Mapping[str, object]:
        """The component's options."""
        return dict(await ask(self.harness, "options"))

    async def build(self) -> Any:
        """A component that is not open."""
        component = self.contract.make(await self.options())
        try:
            await ask(self.harness, "built", component)
        except Absent:
            pass
        return component

    async def open(self, component: Any = None) -> Any:
        """Open a component: a new one, or the one that is given. It is closed when the check is over."""
        component = component or await self.build()
        context = KitContext(len(self._opened) + 1, 10, 1.0)
        context.payload_type = self.contract.payload_type
        lifecycle = lifecycle_of(component, self.contract.component, self.threads)
        self._opened.append((lifecycle, context))
        if lifecycle is not None:
            await lifecycle.open(context)
        return component

    async def close_components(self) -> None:
        """Close what was opened, the last first."""
        while self._opened:
            lifecycle, context = self._opened.pop()
            if lifecycle is not None:
                await lifecycle.close()
            await context.close()

    async def close(self) -> None:
        """Close everything."""
        try:
            await self.close_components()
        finally:
            self.threads.close()
            await ask(self.harness, "close")

    async def run(self, bodies: list[Body], **route: Any) -> tuple[str, Manager]:
        """Send these through a route that has this component, until all are accounted for; gives the account."""
        queue = MemoryQueue("contract")
        for body in bodies:
            queue.send(body, {"tenant": "contract-kit-attribute"})
        component = await self.build()
        for place, value in route.items():
            several = [component if one is COMPONENT else one for one in value] if isinstance(value, list) else value
            route[place] = component if value is COMPONENT else several
        defaults: dict[str, Any] = {"handler": _acks, "error_handler": _gives_up}
        one = Route("contract", provider=MemoryProvider(queue=queue), **(defaults | route))
        async with Manager([one], shutdown_timeout=5.0) as manager:
            loop = asyncio.get_running_loop()
            until = loop.time() + self.contract.patience
            while (account := manager.accounts["contract"]).settled < len(bodies):
                expect(loop.time() < until, f"the dispatcher did not come to an end of {len(bodies)}: {account}")
                await asyncio.sleep(0.02)
        return str(manager.accounts["contract"]), manager


COMPONENT = object()
"""Where the component under test goes into a route."""


def as_message(body: Body | Message, number: int = 1) -> Message:
    """A delivery of this body."""
    if isinstance(body, Message):
        return body
    return Message(f"contract-{number}", body, f"contract-kit-receipt-{number}", {"tenant": "acme"}, receive_count=1)


@asynccontextmanager
async def rigged(contract: Subject, harness: object) -> AsyncIterator[ComponentRig]:
    rig = ComponentRig(contract, harness)
    try:
        yield rig
    except BaseException:
        try:
            await rig.close()
        except Exception:  # noqa: S110 - the first thing that went wrong says more
            pass
        raise
    await rig.close()


async def _acks(payload: object) -> None: ...


async def _gives_up(failure: Failure) -> Outcome:
    return Nack(1000.0)


CallNext = Callable[[Message], Awaitable[Outcome]]
