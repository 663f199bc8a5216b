"""Why something may go otherwise than it should: what was done on purpose to a delivery, or to its process."""

from __future__ import annotations

from simulation.history import Delivery, History

from loafer_core import Settled


def excuse(history: History, delivery: Delivery) -> str:
    """Why this delivery may come again, or stay hidden, although its handler succeeded; "" for no reason."""
    life = history.lives[delivery.who]
    if life.killed:
        return "kill"
    if delivery.faulty or delivery.harm not in ("", "aborted"):
        return delivery.harm or "fault"
    hasty = life.stopped is not None and not life.patient
    return "hasty stop" if hasty and not _is_final(delivery) else ""


def _is_final(delivery: Delivery) -> bool:
    return any(request.answer is Settled.DONE for request in delivery.requests if request.verb != "extend")


def held_up(history: History, delivery: Delivery) -> bool:
    """A settlement waits for an extend of its message that is under way, even if that hangs until the stop is over."""
    stopped = history.lives[delivery.who].stopped
    return any(
        request.faulty or request.cut
        for request in delivery.requests
        if request.verb == "extend" and stopped and delivery.end and (request.answered or stopped) > delivery.end
    )
