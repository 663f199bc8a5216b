"""The account of a route: what became of every message that was received.

received = acked + nacked + rejected + released + dropped + abandoned + ack_lost, once nothing is in work any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Disposition = Literal["acked", "nacked", "rejected", "released", "dropped", "abandoned", "ack_lost"]
"""What became of one delivery. The fields of ``Account`` say what each word means."""
DISPOSITIONS: tuple[Disposition, ...] = get_args(Disposition)


@dataclass(slots=True)
class Account:
    """Counts of the deliveries of one route.

    Each delivery ends as one of the seven dispositions. ``known``, ``leases_lost`` and ``odd_returns`` are counted
    beside them: a delivery may be among these, too.
    """

    received: int = 0
    """All that the provider handed out."""
    acked: int = 0
    """The source confirmed that it forgot them."""
    nacked: int = 0
    """Failed; the source will deliver them again."""
    rejected: int = 0
    """Dead-lettered on request."""
    released: int = 0
    """Given back because of a stop. Their handler did not run, or Loafer cancelled it."""
    dropped: int = 0
    """Not ours any more before they were settled. Their handler did not start, or was cancelled (ordered sources)."""
    abandoned: int = 0
    """Still running when the stop could wait no longer; left to their lease."""
    ack_lost: int = 0
    """Handled, but the source did not confirm the ack, so that it may deliver them again."""
    known: int = 0
    """Of the acked: the ledger knew that they had been finished before, and their handler did not run again."""
    leases_lost: int = 0
    """Not ours any more before they were settled, whatever became of them: somebody else may handle them, too."""
    odd_returns: int = 0
    """Handlers that returned neither None, a bool nor an outcome."""

    def add(self, disposition: Disposition) -> None:
        """Count one more delivery that ended so."""
        setattr(self, disposition, getattr(self, disposition) + 1)

    @property
    def settled(self) -> int:
        """How many are accounted for."""
        return sum(getattr(self, disposition) for disposition in DISPOSITIONS)

    @property
    def open(self) -> int:
        """How many were received and are not accounted for yet."""
        return self.received - self.settled

    def __str__(self) -> str:
        counts = {disposition: getattr(self, disposition) for disposition in DISPOSITIONS}
        sums = [f"{count} {disposition}" for disposition, count in counts.items() if count]
        text = f"{self.received} received"
        if sums:
            text += " = " + " + ".join(sums)
        if self.known:
            text += f" (of which {self.known} known)"
        return text
