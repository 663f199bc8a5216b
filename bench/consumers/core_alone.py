"""The core alone: a manager and one route, whose provider has its messages ready and hears every settlement at once.

``python -P core_alone.py --messages 1000`` ends with 0 only if every message was handled once and acked. With
``--counted``, under valgrind, the instructions of these messages are counted, and not those of the ``WARM_UP`` before.

What runs is the Loafer that comes first on PYTHONPATH. Only its door is used, so that any Loafer can be put there.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

SHIFTED = [bytes(size) for size in range(1, 480, 16) for _ in range(13 * int(os.environ.get("BENCH_LAYOUT", "0")))]
"""Kept, so that whatever comes now lies elsewhere in memory. Which names share a place in the interpreter's cache of
attributes depends on that, and by bad luck alone a message may cost 0.7 % more."""

import loafer_core  # noqa: E402
from loafer_core import BaseProvider, Context, Manager, Message, Route, Settled, Traits  # noqa: E402

WARM_UP = 400
"""Messages that are not counted: code is run for the first time, threads are started."""
BATCH = 10
BODY = "x" * 200
PACE = 0.001
"""Seconds by the loop's clock that a message takes."""
THREADS_TAKE = 0.25
"""Real seconds without a word from a thread after which none is at work."""


class Clock(selectors.DefaultSelector):
    """The loop's time. It goes on by ``PACE`` with each message, and leaps where the loop would sleep until a timer.

    With real time no two counts would be alike: under valgrind code takes fifty times as long, and timers do not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.has_threads_at_work = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select()
        ready = super().select(min(timeout, THREADS_TAKE) if self.has_threads_at_work else 0.0)
        if not ready:
            self.now += timeout
        return ready


class Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__(clock)

    def time(self) -> float:
        return self._clock.now


class Ready(BaseProvider):
    """Hands out batches of ten. ``switch`` is called with "on" before the first message that counts, and with "off"."""

    def __init__(self, case: argparse.Namespace, clock: Clock, switch: Callable[[str], None]) -> None:
        self._case, self._clock, self._switch = case, clock, switch
        self._total = WARM_UP + case.messages
        self.traits = Traits(
            lease=case.lease,
            ordered=case.groups > 0,
            stable_ids=True,
            max_delay=900.0,
            batch=BATCH,
            linger=0.01,
        )
        self.given = self.acked = self.settled = self.extended = 0
        self.finished, self._stopped = asyncio.Event(), asyncio.Event()

    async def open(self, context: Context) -> None:
        """There is nothing to connect to."""

    async def receive(self, limit: int) -> Sequence[Message]:
        if self.given == WARM_UP:
            self._switch("on")
        elif self.given == self._total:
            self._switch("off")
            await self._stopped.wait()
            return ()
        upto = WARM_UP if self.given < WARM_UP else self._total
        count = min(limit, BATCH, upto - self.given)
        self._clock.now += count * PACE
        self._clock.has_threads_at_work = self._case.plain
        self.given += count
        return [self._message(number) for number in range(self.given - count, self.given)]

    def _message(self, number: int) -> Message:
        """Made anew for each receive, as by every provider. No group is in two batches."""
        groups = self._case.groups
        return Message(
            id=f"message-{number}",
            body=BODY,
            receipt=number,
            attributes={"tenant": "one"},
            metadata={"queue": "jobs"},
            receive_count=1,
            group=f"group-{number // BATCH}-{number % groups}" if groups else None,
            sent_at=1_700_000_000.0,
            lease_until=self._clock.now + self._case.lease,
        )

    async def ack(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        self.acked += len(messages)
        return self._settle(messages)

    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]:
        return self._settle(delays)

    def _settle(self, messages: Collection[Message]) -> Mapping[Message, Settled]:
        self.settled += len(messages)
        self._clock.has_threads_at_work = self._case.plain and self.settled < self.given
        if self.settled == self._total:
            self.finished.set()
        return dict.fromkeys(messages, Settled.DONE)

    async def extend(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        self.extended += len(messages)
        return dict.fromkeys(messages, Settled.DONE)

    async def stop(self) -> None:
        self._stopped.set()


async def consume(case: argparse.Namespace, clock: Clock) -> dict[str, object]:
    """Let all messages be handled, and tell by which core, and what became of them."""
    provider = Ready(case, clock, _control if case.counted else lambda state: None)
    handled: list[object] = []

    async def handle(payload: str, metadata: Mapping[str, object]) -> None:
        handled.append(metadata["message_id"])
        if case.hold:
            await asyncio.sleep(case.hold)

    def handle_in_thread(payload: str, metadata: Mapping[str, object]) -> None:
        handled.append(metadata["message_id"])

    handler = handle_in_thread if case.plain else handle
    async with Manager([Route("jobs", provider=provider, handler=handler, concurrency=case.concurrency)]) as manager:
        # As `loafer run` does once everything is open. The collector stays on: a circle that a message leaves behind
        # is a cost of that message.
        gc.freeze()
        gc.set_threshold(2_000, *gc.get_threshold()[1:])
        ends = [asyncio.ensure_future(end) for end in (provider.finished.wait(), manager.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    return {
        "core": str(Path(loafer_core.__file__).parents[1]),
        "handled": len(handled),
        "twice": len(handled) - len(set(handled)),
        "acked": provider.acked,
        "extended": provider.extended,
    }


def _let_no_thread_look() -> None:
    """A thread that looks at the loop every real second is counted more often, the busier the machine is."""
    wait = threading.Event.wait

    def wait_until_set(event: threading.Event, timeout: float | None = None) -> bool:
        return wait(event)

    threading.Event.wait = wait_until_set  # type: ignore[assignment,method-assign]


def _control(state: str) -> None:
    """Let callgrind count this process, or count it no more."""
    words = ["callgrind_control", "-i", state, str(os.getpid())]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000)
    parser.add_argument("--plain", action="store_true", help="the handler is no `async def`, so it runs in threads")
    parser.add_argument(
        "--groups", type=int, default=0, help="of each batch, on an ordered source; 0: there is no order"
    )
    parser.add_argument("--hold", type=float, default=0.0, help="seconds that an `async def` handler waits")
    parser.add_argument("--lease", type=float, default=30.0, help="seconds")
    parser.add_argument("--concurrency", type=int, default=2 * BATCH)
    parser.add_argument("--counted", action="store_true")
    case = parser.parse_args()
    clock = Clock()
    _let_no_thread_look()
    with asyncio.Runner(loop_factory=lambda: Loop(clock)) as runner:
        result = runner.run(consume(case, clock))
    print(json.dumps(result))
    everything = WARM_UP + case.messages
    if (result["handled"], result["twice"], result["acked"]) != (everything, 0, everything):
        sys.exit(f"not every one of {everything} messages was handled once and acked: {result}")


if __name__ == "__main__":
    main()
