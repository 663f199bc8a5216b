"""A route: the named binding of a provider, a translator, a handler and error handlers, with its limits. Data only."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from loafer_core.api.components import Translator
from loafer_core.api.provider import Provider

Component = str | Mapping[str, object]
"""A component's name, ``"module:attribute"``, or a table with ``name`` and options."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How long a nack without a delay of its own hides the message.

    With d = min(cap, base * 2 ** (receive_count - 1)), the delay is uniform(d / 2, d). It is never near zero, so that
    an outage does not use up the receives that a source allows before it dead-letters the message.

    Without ``base`` it is 30 seconds, or the lease if that is longer. Without ``cap`` it is 900 seconds; on ordered
    sources the lease, because the rest of the group waits.
    """

    base: Seconds | None = None
    cap: Seconds | None = None

    def span(self, receive_count: int, *, lease: float | None, ordered: bool) -> float:
        """Give the longest delay, in seconds, after the ``receive_count``-th delivery failed."""
        base = max(30.0, lease or 0.0) if self.base is None else self.base
        cap = self.cap if self.cap is not None else (lease if ordered and lease else 900.0)
        return float(min(cap, base * 2 ** min(max(receive_count, 1) - 1, 60)))

    def delay(self, receive_count: int, *, lease: float | None, ordered: bool, rng: random.Random) -> float:
        """Give the seconds to wait after the ``receive_count``-th delivery failed, jittered."""
        span = self.span(receive_count, lease=lease, ordered=ordered)
        return rng.uniform(span / 2, span)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Stop receiving after ``failures`` failures within ``window`` seconds.

    Only those count that are not the message's own fault: something that the handler needs is down.
    """

    failures: Annotated[int, Field(ge=1)]
    window: Seconds


@dataclass(frozen=True, slots=True)
class Route:
    """One route. A component is given by name, as a table, as ``"module:attribute"``, or as the object itself."""

    name: str
    _: KW_ONLY
    provider: Component | Provider
    handler: Component | Callable[..., Any] | object
    translator: Component | Translator = "text"
    error_handler: Component | Callable[..., Any] | Sequence[Component | Callable[..., Any]] = ()
    """One or several; the first that decides, decides."""
    middleware: Component | Callable[..., Any] | Sequence[Component | Callable[..., Any]] = ()
    """First is outermost."""
    concurrency: Annotated[int, Field(ge=1)] = 10
    """Most messages in work at once."""
    handler_timeout: Seconds | None = None
    """Seconds that one run of the handler may take; None = no limit."""
    retry: Retry | Literal["leave"] = field(default_factory=Retry)
    """``"leave"``: no nack is sent, and the message comes again when its lease ends."""
    returns: Literal["lenient", "strict", "truthy"] = "lenient"
    """What a handler's return value that is no outcome means: an ack with a warning, a failure, or by its truth an ack
    or a nack."""
    breaker: Breaker | None = None
    ledger: bool = True
    """Remember finished messages whose ack was not confirmed, where the source's ids are stable."""
