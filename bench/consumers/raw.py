"""Loops written by hand: receive 10, handle, delete 10. What a framework can be held against.

``loops``     so many of them, each one step after the other
``pipeline``  receivers feed tasks, at most CONCURRENCY at once; what is done is deleted in batches as it adds up.
              SIGTERM drains it: what runs ends, what has not started is given back.

None of them has leases, retries, partial failures or anything else that makes a consumer safe.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections import deque
from typing import Any

from clients import CLIENTS, Client
from marks import CONCURRENCY, ROUTES, Route

try:
    from orjson import loads
except ImportError:
    from json import loads

Sent = dict[str, Any]
WAIT = 20


async def loops(client: Client, route: Route, receivers: int, stop: asyncio.Event) -> None:
    async def loop() -> None:
        while not stop.is_set():
            if not (messages := await client.receive(route.url, WAIT)):
                continue
            if route.seconds:
                await asyncio.gather(*[route.handle(loads(message["Body"])) for message in messages])
            else:
                for message in messages:
                    await route.handle(loads(message["Body"]))
            await client.delete(route.url, [message["ReceiptHandle"] for message in messages])

    running = [asyncio.create_task(loop()) for _ in range(receivers)]
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([*running, stopped], return_when=asyncio.FIRST_COMPLETED)
    _, late = await asyncio.wait(running, timeout=0.5)
    for task in late:  # in a long poll on an empty queue
        task.cancel()


class Pipeline:
    """Receivers, handlers and deletes, none of which waits for the others more than it must."""

    def __init__(self, client: Client, route: Route, receivers: int) -> None:
        self.client, self.route, self.receivers = client, route, receivers
        self.most_ready = max(10, CONCURRENCY // 2, 10 * receivers)
        self.ready: deque[Sent] = deque()
        self.expected = 0  # what open receives may bring
        self.running = 0
        self.finished: list[str] = []
        self.linger: asyncio.TimerHandle | None = None
        self.deletes: set[asyncio.Task[None]] = set()
        self.room, self.idle = asyncio.Event(), asyncio.Event()
        self.stopping = False

    async def main(self, stop: asyncio.Event) -> None:
        receivers = [asyncio.create_task(self._receive()) for _ in range(self.receivers)]
        await stop.wait()
        self.stopping = True
        self.room.set()
        # What open receives bring would stay hidden; but nobody sits out a whole long poll on an empty queue.
        _, late = await asyncio.wait(receivers, timeout=1)
        for task in late:
            task.cancel()
        unstarted = [message["ReceiptHandle"] for message in self.ready]
        await asyncio.gather(*[self.client.release(self.route.url, part) for part in _tens(unstarted)])
        while self.running:
            self.idle.clear()
            await self.idle.wait()
        self._flush()
        await asyncio.gather(*self.deletes)

    async def _receive(self) -> None:
        while not self.stopping:
            if len(self.ready) + self.expected + 10 > self.most_ready:
                self.room.clear()
                await self.room.wait()
                continue
            self.expected += 10
            try:
                self.ready += await self.client.receive(self.route.url, WAIT)
            finally:
                self.expected -= 10
            self._start()

    def _start(self) -> None:
        while self.ready and self.running < CONCURRENCY and not self.stopping:
            self.running += 1
            asyncio.get_running_loop().create_task(self._run(self.ready.popleft()))
        self.room.set()

    async def _run(self, message: Sent) -> None:
        try:
            await self.route.handle(loads(message["Body"]))
            self._done(message["ReceiptHandle"])
        finally:
            self.running -= 1
            self._start()
            self.idle.set()

    def _done(self, receipt: str) -> None:
        self.finished.append(receipt)
        if len(self.finished) >= 10:
            self._flush()
        elif self.linger is None:
            self.linger = asyncio.get_running_loop().call_later(0.05, self._flush)

    def _flush(self) -> None:
        if self.linger is not None:
            self.linger.cancel()
            self.linger = None
        for part in _tens(self.finished):
            task = asyncio.get_running_loop().create_task(self.client.delete(self.route.url, part))
            self.deletes.add(task)
            task.add_done_callback(self.deletes.discard)
        self.finished = []


def _tens(receipts: list[str]) -> list[list[str]]:
    return [receipts[at : at + 10] for at in range(0, len(receipts), 10)]


async def main(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with CLIENTS[arguments.client]() as client:
        if arguments.shape == "loops":
            work = [loops(client, route, arguments.receivers, stop) for route in ROUTES.values()]
        else:
            work = [Pipeline(client, route, arguments.receivers).main(stop) for route in ROUTES.values()]
        await asyncio.gather(*work)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=("loops", "pipeline"))
    parser.add_argument("--client", choices=sorted(CLIENTS), default="aiobotocore")
    parser.add_argument("--receivers", type=int, default=4)
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    if options.uvloop:
        import uvloop

        uvloop.run(main(options))
    else:
        asyncio.run(main(options))
