"""Order within a group: one delivery of each is at work, the others stand behind it in the order they came."""

from __future__ import annotations

from collections import deque

from loafer_core.delivery.in_flight import Delivery


class Groups:
    """The queues of the groups of one route. A message without a group, or of a source without order, is in none."""

    def __init__(self, is_ordered: bool) -> None:
        self._is_ordered = is_ordered
        self._queues: dict[str, deque[Delivery]] = {}
        """For each group that is in work: the delivery at work, and those behind it."""

    def join(self, delivery: Delivery) -> bool:
        """Tell whether it may start now; else it stands behind the others of its group."""
        group = delivery.message.group if self._is_ordered else None
        if group is None:
            return True
        if (queue := self._queues.get(group)) is not None:
            queue.append(delivery)
            return False
        self._queues[group] = deque([delivery])
        return True

    def leave(self, delivery: Delivery) -> tuple[Delivery | None, list[Delivery]]:
        """A delivery was closed. If it was at work for its group: give who may start now, and who goes back.

        Only after one that the source confirmed as acked or rejected may the next start. After any other the source
        hands out that one again first, so the rest goes back.
        """
        group = delivery.message.group
        queue = None if group is None else self._queues.get(group)
        if group is None or not queue or queue[0] is not delivery:
            return None, []
        queue.popleft()
        if delivery.confirmed and queue:
            return queue[0], []
        del self._queues[group]
        return None, list(queue)

    def take_from(self, delivery: Delivery) -> list[Delivery]:
        """Take a waiting delivery, and all that stand behind it, out of their queue; the last one comes first."""
        queue = self._queues[delivery.message.group or ""]
        taken = []
        while delivery in queue:
            taken.append(queue.pop())
        return taken
