"""Whether a source is empty, and nothing of ours can come back to it: what ``--until-empty`` waits for."""

from __future__ import annotations

import asyncio
import math
from typing import assert_never

from loafer_core.observability.account import Disposition

QUIET = 2.0
"""Seconds after the last settlement, and after a delay or a lease that we left to run, before an empty receive means
that the source is empty: its clock and its rounding are not ours."""

MOST_UNFINISHED = 100_000
"""Unfinished ids that are kept; more are not worth their memory."""


class Emptiness:
    """What one route knows of the end of its work."""

    def __init__(self) -> None:
        self.emptied = asyncio.Event()
        """Set while the source is known to be empty, or when the route has failed and must not be waited for."""
        self.unfinished: set[str] = set()
        """Ids whose last disposition was neither acked nor rejected."""
        self._is_empty = False
        self._quiet_at = -math.inf
        """From when on an empty receive means that the source is empty. The loop's time."""

    @property
    def is_empty(self) -> bool:
        """The source was found empty, and nothing has come or was sent since."""
        return self._is_empty

    def received_nothing(self, began: float, in_flight: int) -> None:
        """A receive that began then brought nothing, and so many messages are in our hands."""
        if not in_flight and began >= self._quiet_at:
            self._is_empty = True
            self.emptied.set()

    def something_comes(self) -> None:
        """Something was received, or sent to the source."""
        self._is_empty = False
        self.emptied.clear()

    def may_come_until(self, moment: float) -> None:
        """Something of ours may come back until then; infinity: never by itself."""
        if moment < math.inf:
            self._quiet_at = max(self._quiet_at, moment + QUIET)

    def closed(self, message_id: str, disposition: Disposition) -> None:
        """A delivery was accounted for."""
        match disposition:
            case "acked" | "rejected":
                self.unfinished.discard(message_id)
            case "nacked" | "released" | "dropped" | "abandoned" | "ack_lost":
                if len(self.unfinished) < MOST_UNFINISHED:
                    self.unfinished.add(message_id)
            case _:
                assert_never(disposition)

    def give_up(self) -> None:
        """The route cannot run: nobody shall wait for it."""
        self.emptied.set()
