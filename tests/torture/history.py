"""A history: what was sent, what the server was asked (its log), what the handlers did (theirs), and what was done to
the processes. Times are those of the machine's monotonic clock, which the running loop's are, too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple


class Handling(NamedTuple):
    """One run of a handler; ``end`` is None where nobody knows."""

    who: str
    id: str
    count: int
    group: str
    begin: float
    end: float | None
    outcome: str


class Interruption(NamedTuple):
    """What was done to a process."""

    kind: Literal["kill", "stop"]
    who: str
    begin: float
    end: float


class Step(NamedTuple):
    """A request about one delivery. ``verb`` is delete, extend, nack or release."""

    verb: str
    arrived: float
    answered: float
    applied: bool
    confirmed: bool
    faulty: bool


@dataclass(slots=True)
class Delivery:
    """One receive of one message."""

    id: str
    count: int
    queue: str
    who: str
    taken: float
    arrived: bool
    faulty: bool
    lease: float
    steps: list[Step] = field(default_factory=list)

    def lease_end(self, *, as_told: bool = False) -> float:
        """``as_told``: as far as the process can know, whose extends' answers may be lost."""
        end = self.taken + self.lease
        for step in self.steps:
            if step.confirmed if as_told else step.applied:
                end = {"extend": step.answered + self.lease, "release": step.answered}.get(step.verb, end)
        return end


@dataclass(slots=True)
class History:
    """``log`` are the server's entries; ``sent`` gives each id its group, in order of sending."""

    log: Sequence[Any]
    handlings: Sequence[Handling]
    sent: Mapping[str, str]
    lease: float
    concurrency: int
    interruptions: Sequence[Interruption] = ()
    dead: Collection[str] = ()
    left: Collection[str] = ()
    """Ids that were still there in the end."""
    excused: Collection[str] = ()
    """Ids that may come twice: the story says why."""
    blind: float = 0.0
    """Seconds by which a process that stood still may be wrong about its leases."""

    def stood_still(self, who: str, begin: float, end: float) -> bool:
        """Tell whether this process was stopped for some of that time."""
        stops = (one for one in self.interruptions if one.kind == "stop" and one.who == who)
        return any(one.begin < end and one.end > begin for one in stops)

    def deliveries(self) -> dict[str, Delivery]:
        """By receipt handle."""
        found: dict[str, Delivery] = {}
        for entry in self.log:
            if entry.operation == "ReceiveMessage" and entry.applied is not None:
                for message in entry.answer.get("Messages") or ():
                    if "ReceiptHandle" not in message:
                        continue  # a fault took it away: nobody can settle it
                    count = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 0))
                    lease = float(entry.request.get("VisibilityTimeout", self.lease))
                    found[message["ReceiptHandle"]] = Delivery(
                        message["MessageId"], count, entry.queue, entry.who, entry.applied,
                        entry.delivered, bool(entry.fault), lease,
                    )  # fmt: skip
            for handle, step in _steps(entry, self.lease):
                if handle in found:
                    found[handle].steps.append(step)
        return found


def _steps(entry: Any, lease: float) -> Iterable[tuple[str, Step]]:
    entries = entry.request.get("Entries", [{"Id": None, **entry.request}])
    good = {one["Id"] for one in entry.answer.get("Successful", ())}
    for one in entries if entry.operation.startswith(("DeleteMessage", "ChangeMessageVisibility")) else ():
        verb = "delete"
        if entry.operation.startswith("Change"):
            seconds = one["VisibilityTimeout"]
            verb = "release" if seconds == 0 else "extend" if seconds == lease else "nack"
        done = entry.status == 200 and (one["Id"] in good or one["Id"] is None)
        step = Step(
            verb,
            entry.arrived,
            math.inf if entry.answered is None else entry.answered,
            entry.applied is not None and (done or not entry.delivered),
            entry.delivered and done,
            bool(entry.fault),
        )
        yield one["ReceiptHandle"], step
