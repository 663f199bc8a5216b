"""The ledger: finished messages that may come back because their ack was lost. They are acked again, not run again."""

from __future__ import annotations

from collections import OrderedDict

from loafer_core.api.message import Message

MOST = 10_000
"""Ids that are remembered; the oldest is forgotten first."""

AGE = 900.0
"""Seconds that an id is remembered. A source that keeps delivering a message although it is acked each time would
otherwise never get it handled again."""


class Ledger:
    """Ids of messages whose handler succeeded, bounded in number and age. Only for sources with stable ids."""

    def __init__(self) -> None:
        self._done: OrderedDict[str, float] = OrderedDict()

    def remember(self, message: Message, now: float) -> None:
        self._done[message.id] = now
        self._done.move_to_end(message.id)
        if len(self._done) > MOST:
            self._done.popitem(last=False)

    def knows(self, message: Message, now: float) -> bool:
        done = self._done.get(message.id)
        if done is None:
            return False
        if now - done > AGE:
            del self._done[message.id]
            return False
        return True
