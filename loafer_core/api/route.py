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

    d = min(cap, base * 2 ** (receive_count - 1)), then uniform(d / 2, d): never near zero, so that an outage does not
    burn the receive count. base unset: max(30, lease). cap unset: 900, on ordered sources the lease.
    """

    base: Seconds | None = None
    cap: Seconds | None = None

    def span(self, receive_count: int, *, lease: float | None, ordered: bool) -> float:
        """Seconds before jitter after the ``receive_count``-th delivery failed."""
        base = max(30.0, lease or 0.0) if self.base is None else self.base
        cap = self.cap if self.cap is not None else (lease if ordered and lease else 900.0)
        return float(min(cap, base * 2 ** min(max(receive_count, 1) - 1, 60)))

    def delay(self, receive_count: int, *, lease: float | None, ordered: bool, rng: random.Random) -> float:
        """Seconds to wait, jittered."""
        span = self.span(receive_count, lease=lease, ordered=ordered)
        return rng.uniform(span / 2, span)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Stop receiving after ``failures`` failures that are not the message's own within ``window`` seconds."""

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
    """Seconds; None = none."""
    retry: Retry | Literal["leave"] = field(default_factory=Retry)
    """``"leave"``: no nack, the lease runs out."""
    returns: Literal["lenient", "strict", "truthy"] = "lenient"
    breaker: Breaker | None = None
    ledger: bool = True
    """Remember finished messages whose ack was not confirmed, where the source's ids are stable."""
