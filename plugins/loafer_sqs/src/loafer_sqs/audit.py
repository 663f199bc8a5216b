"""What is worth a word at start: rules that a queue should keep, so that nothing is lost or done twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loafer_sqs.aws.queues import Queue, Redrive
from loafer_sqs.messages.wire import number

LEAST_RECEIVES, LEAST_LEASE = 3, 3
MOST_SKEW, SIGNED_SKEW = 60.0, 300.0
"""Seconds that this machine's clock may be off; AWS refuses signatures after five to fifteen minutes."""

Remark = tuple[int, str]
"""A logging level and a sentence."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What was found out about one queue."""

    queue: Queue
    known: Mapping[str, str] | None
    """Its attributes; None where they may not be read."""
    target: Redrive | None
    dead: Mapping[str, str]
    """The attributes of its dead-letter queue; empty where they may not be read."""
    lease: int
    give_up_after: int
    """Seconds after which a poll that is not answered is given up."""
    skew: float
    """Seconds that the server's clock is ahead, at least."""


def remarks(situation: Situation) -> Iterator[Remark]:
    """Say what is unwise about it."""
    yield from _about_dead_letters(situation)
    yield from _about_the_lease(situation)
    yield from _about_the_clock(situation)


def _about_dead_letters(situation: Situation) -> Iterator[Remark]:
    queue, target = situation.queue, situation.target
    if target is None:
        if situation.known is not None:
            yield logging.WARNING, f"{queue} has no redrive policy: what always fails comes back until it is too old"
        return
    if target.max_receive_count < LEAST_RECEIVES:
        yield (
            logging.WARNING,
            f"{queue} dead-letters after {target.max_receive_count} receives, and a receive counts that a stop gave "
            f"back or that was lost on its way: {LEAST_RECEIVES} is the least that makes sense",
        )
    if queue.fifo:
        yield (
            logging.INFO,
            f"{queue} dead-letters: what follows a dead letter in its group is handled without it",
        )
        return
    kept, kept_dead = (
        number(attributes.get("MessageRetentionPeriod")) for attributes in (situation.known or {}, situation.dead)
    )
    if kept is not None and kept_dead is not None and kept_dead <= kept:
        yield (
            logging.WARNING,
            f"the dead-letter queue {target.name!r} keeps messages no longer ({kept_dead} s) than {queue} ({kept} s), "
            "and a dead letter's age counts from when it was sent first: give it a longer MessageRetentionPeriod",
        )


def _about_the_lease(situation: Situation) -> Iterator[Remark]:
    lease, queue = situation.lease, situation.queue
    if lease < LEAST_LEASE:
        yield (
            logging.WARNING,
            f"{queue}: a lease of {lease} s leaves no time to extend it: {LEAST_LEASE} s is the least",
        )
    elif lease <= situation.give_up_after:
        yield (
            logging.WARNING,
            f"{queue}: messages whose answer was lost come back after {lease} s, before the poll for them is given up "
            f"({situation.give_up_after} s): give it a longer visibility_timeout",
        )


def _about_the_clock(situation: Situation) -> Iterator[Remark]:
    skew = situation.skew
    if abs(skew) <= MOST_SKEW:
        return
    level = logging.ERROR if abs(skew) > SIGNED_SKEW else logging.WARNING
    yield level, f"this machine's clock is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the server's"
