"""What the author of a provider brings to the kit: a harness, which sends to a source and looks into it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from loafer_core.testing.kit.verdict import Absent

Body = str | bytes
Options = Mapping[str, object]


class ProviderHarness(Protocol):
    """The far side of one fresh, empty source: it sends to the source and looks into it.

    The kit calls it on the event loop of the check. Methods may be plain or async. The four below are needed. Those
    that follow are found by name; one that is missing, or raises NotImplementedError, skips the checks that need it.

    ``expire(id)``: what was handed out under this id is not ours any more, from now on: its lease ends, or its channel
    is cut. Without it, the kit waits for the end of the lease, where that is declared to be short (3 s) or time is
    virtual.
    ``fail_next(operation, error)``: the next ``open``, ``receive``, ``ack``, ``nack``, ``release``, ``extend`` or
    ``reject`` meets trouble that the provider has to report as ``error``. The harness makes the source answer so.
    ``rejected()``: gives the bodies that lie in the dead-letter target; or Messages, where it can tell attributes, too.
    ``missing()``: gives options that lead to a source that is not there.
    ``built(provider)``: is told of each provider under test, for a harness that puts faults into its client.
    """

    def options(self) -> Options | Awaitable[Options]:
        """Give the component's options for this source."""

    def publish(
        self, body: Body, attributes: Mapping[str, Body] | None = None, group: str | None = None
    ) -> str | Awaitable[str]:
        """Send a message, and give the id that the provider will tell.

        Raises:
            NotImplementedError: the source cannot carry this.
        """

    def settled(self, id: str) -> bool | Awaitable[bool]:
        """Tell whether the message is gone from the source for good, acked or rejected."""

    def close(self) -> Awaitable[None] | None:
        """Let go of the source. This is the last call."""


async def ask(harness: object, method: str, *args: object) -> Any:
    """Call a method of the harness, plain or async, and give what it gives.

    Raises:
        Absent: it has no such method, or the method raised NotImplementedError.
    """
    function = getattr(harness, method, None)
    if function is None:
        raise Absent(method)
    try:
        answer = function(*args)
        return await answer if inspect.isawaitable(answer) else answer
    except NotImplementedError as error:
        raise Absent(str(error) or method) from error
