"""What a provider hands out: one delivery of one message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return _NOTHING


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """One delivery. Two deliveries of one id may be alive at once, so a message equals only itself.

    ``repr`` shows id, receive count and group: never body, receipt or attributes, which are other people's data.
    """

    id: str
    """The source's own id where it has one (``Traits.stable_ids``), else one that the provider made up."""
    body: str | bytes
    """Untouched, as the source delivered it."""
    receipt: object = None
    """The provider's own token for this delivery; opaque to everybody else."""
    attributes: Mapping[str, str | bytes] = field(default_factory=_nothing)
    """What the sender put beside the body."""
    metadata: Mapping[str, object] = field(default_factory=_nothing)
    """The source's own facts about this delivery."""
    receive_count: int | None = None
    """1 = first delivery; None = the source cannot tell."""
    group: str | None = None
    """Ordering key on ordered sources."""
    sent_at: float | None = None
    """Epoch seconds."""
    lease_until: float | None = None
    """The running loop's ``time()`` at which the lease ends, as of receive; None = ours until settled or lost."""

    def __repr__(self) -> str:
        group = "" if self.group is None else f" group={self.group!r}"
        return f"<Message {self.id!r} receive_count={self.receive_count}{group}>"
