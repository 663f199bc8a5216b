"""Why a message was handled again: what was done, between its two runs, to the one who had it."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping

from torture.checker import DONE
from torture.history import Delivery, Handling, History

UNKNOWN = "no reason"
CAUSES = ("SIGKILL", "SIGSTOP", "delivered twice", "request failed", UNKNOWN)


def causes(history: History) -> Counter[str]:
    """Count them; what nothing explains is ``UNKNOWN``."""
    runs: dict[str, list[Handling]] = defaultdict(list)
    for handling in sorted(history.handlings, key=lambda one: one.begin):
        if handling.outcome in DONE:
            runs[handling.id].append(handling)
    deliveries = history.deliveries()
    pairs = [pair for handlings in runs.values() for pair in itertools.pairwise(handlings)]
    return Counter(_cause(history, deliveries, first, second) for first, second in pairs)


def _cause(history: History, deliveries: Mapping[str, Delivery], first: Handling, second: Handling) -> str:
    for one in history.interruptions:
        # A process that stood still finds out late: what happens in the lease after it may be its doing.
        until = one.end + (history.lease if one.kind == "stop" else 0.0)
        if one.who in (first.who, second.who) and one.begin <= second.begin and until >= first.begin:
            return "SIGKILL" if one.kind == "kill" else "SIGSTOP"
    between = [one for one in deliveries.values() if one.id == first.id and first.count <= one.count <= second.count]
    if any(one.faulty for one in between):
        return "delivered twice"
    return "request failed" if any(step.faulty for one in between for step in one.steps) else UNKNOWN
