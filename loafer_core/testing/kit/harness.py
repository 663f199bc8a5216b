"""What the kit needs to know of a source to drive a provider against it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

Body = str | bytes
Options = Mapping[str, object]


class Absent(Exception):
    """The source, the provider or the harness has no such ability: the check is skipped by its name."""


class ProviderHarness(Protocol):
    """The far side of one fresh, empty source: whoever sends to it and looks into it.

    The kit calls it from the loop of the check, methods may be plain or async, and ``close`` is the last call. What
    more a harness can do is found by name; a method that is missing, or raises NotImplementedError, skips the checks
    that need it:

    ``expire(id)``: what was handed out is not ours any more, from now on: its lease ends, or its channel is cut. Where
    the declared lease is short (3 s), or time is virtual, the kit can also wait for it.
    ``fail_next(operation, error)``: the next ``open``, ``receive``, ``ack``, ``nack``, ``release``, ``extend`` or
    ``reject`` meets trouble that the provider has to report as ``error``: make the source answer so.
    ``rejected()``: the bodies that lie in the dead-letter target, or Messages, where it can tell attributes too.
    ``missing()``: options that lead to a source that is not there.
    ``built(provider)``: is told of each provider under test, where faults have to be put into its client.
    """

    def options(self) -> Options | Awaitable[Options]: ...  # the component's options for this source
    def publish(
        self, body: Body, attributes: Mapping[str, Body] | None = None, group: str | None = None
    ) -> str | Awaitable[str]: ...  # gives the id that the provider will tell
    # raises NotImplementedError for what the source cannot carry
    def settled(self, id: str) -> bool | Awaitable[bool]: ...  # gone from the source for good, acked or rejected
    def close(self) -> Awaitable[None] | None: ...


async def ask(harness: object, method: str, *args: object) -> Any:
    """Call a method of the harness, plain or async. Raises Absent where it has none."""
    function = getattr(harness, method, None)
    if function is None:
        raise Absent(method)
    try:
        answer = function(*args)
        return await answer if inspect.isawaitable(answer) else answer
    except NotImplementedError as error:
        raise Absent(str(error) or method) from error
