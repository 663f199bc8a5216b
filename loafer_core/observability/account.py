"""The account of a route: what became of every message that was received.

received = acked + nacked + rejected + released + dropped + abandoned + ack_lost, once nothing is in work any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Disposition = Literal["acked", "nacked", "rejected", "released", "dropped", "abandoned", "ack_lost"]
DISPOSITIONS: tuple[Disposition, ...] = get_args(Disposition)


@dataclass(slots=True)
class Account:
    """Counts of deliveries. ``known``, ``leases_lost`` and ``odd_returns`` are counted beside the seven words."""

    received: int = 0
    acked: int = 0
    """The source confirmed that it forgot them."""
    nacked: int = 0
    """Failed; the source will deliver them again."""
    rejected: int = 0
    """Dead-lettered on request."""
    released: int = 0
    """Given back because of a stop; their handler did not run, or was cancelled by us."""
    dropped: int = 0
    """Not ours any more before it could be settled: its handler did not start, or (ordered sources) was cancelled."""
    abandoned: int = 0
    """Still running when the stop could wait no longer; left to their lease."""
    ack_lost: int = 0
    """Handled, but the source did not confirm the ack: they may be delivered again."""
    known: int = 0
    """Of the acked: had been finished before and were not run again (ledger)."""
    leases_lost: int = 0
    """Were not ours any more before they were settled, whatever their word: somebody else may handle them too."""
    odd_returns: int = 0
    """Handlers that returned neither None, a bool nor an outcome."""

    def add(self, word: Disposition) -> None:
        setattr(self, word, getattr(self, word) + 1)

    @property
    def settled(self) -> int:
        return sum(getattr(self, word) for word in DISPOSITIONS)

    @property
    def open(self) -> int:
        """Received and not accounted for yet."""
        return self.received - self.settled

    def __str__(self) -> str:
        parts = [f"{count} {word}" for word in DISPOSITIONS if (count := getattr(self, word))]
        text = f"{self.received} received" + (" = " + " + ".join(parts) if parts else "")
        return text + (f" (of which {self.known} known)" if self.known else "")
