"""The test bench of one check of a translator, handler, error handler or middleware.

The component is built by its name, opened, asked, put to work in a route, and closed.
"""

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
from loafer_core.testing.kit.driver import KitContext
from loafer_core.testing.kit.harness import Body, Options, ask
from loafer_core.testing.kit.verdict import Absent, expect


class ComponentHarness(Protocol):
    """The far side of a component: the service that it talks to.

    The kit calls it as it calls a ``ProviderHarness``. The two methods below are needed. Those that follow are found by
    name; one that is missing, or raises NotImplementedError, skips the checks that need it.

    ``sent()``: gives the bodies that have arrived where a handler publishes to, or Messages.
    ``reported()``: gives the texts that an error handler has sent to somebody.
    ``fail_next(operation, error)``: the next ``open`` or ``handle`` meets trouble that has to be reported as ``error``.
    ``built(component)``: is told of each component under test.
    """

    def options(self) -> Options | Awaitable[Options]:
        """Give the component's options for this service."""

    def close(self) -> Awaitable[None] | None:
        """Let go of the service. This is the last call."""


CallNext = Callable[[Message], Awaitable[Outcome]]
"""What a middleware calls for what is inside it."""


class Given:
    """The harness of a component that has no far side."""

    def __init__(self, options: Mapping[str, object]) -> None:
        self._options = options

    def options(self) -> Mapping[str, object]:
        return self._options

    def close(self) -> None:
        """Nothing was opened."""


class Subject(Protocol):
    """The contract, as far as the rig knows it."""

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
        self.contract = contract
        self.harness = harness
        self.threads = ThreadExecutor("contract", 8)
        self._opened: list[tuple[Lifecycle | None, KitContext]] = []

    async def options(self) -> Mapping[str, object]:
        """Give the component's options."""
        return dict(await ask(self.harness, "options"))

    async def build(self) -> Any:
        """Build a component, and do not open it."""
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
        """Send messages through a route that has the component, until all are accounted for.

        Args:
            bodies: of the messages.
            route: the keys of the route; ``COMPONENT`` stands for the component under test.

        Returns the route's account as text, and the manager.
        """
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
            account = manager.accounts["contract"]
            while account.settled < len(bodies):
                expect(loop.time() < until, f"the dispatcher did not come to an end of {len(bodies)}: {account}")
                await asyncio.sleep(0.02)
        return str(manager.accounts["contract"]), manager


COMPONENT = object()
"""Stands for the component under test in what ``ComponentRig.run`` takes."""


def as_message(body: Body | Message, number: int = 1) -> Message:
    """Make a message of a body; a Message is given back as it is."""
    if isinstance(body, Message):
        return body
    return Message(f"contract-{number}", body, f"contract-kit-receipt-{number}", {"tenant": "acme"}, receive_count=1)


@asynccontextmanager
async def rigged(contract: Subject, harness: object) -> AsyncIterator[ComponentRig]:
    """Give a rig, and close it afterwards. What closing raises does not hide what the check found."""
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
