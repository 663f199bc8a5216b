"""A way to the broker that can be cut, and that knows what went by."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pamqp.frame
from pamqp import commands
from pamqp.header import ContentHeader


class Wire:
    """A way to the broker that can be cut, on a thread of its own so that it serves any loop and any process.

    It reads along who settled what: a message is gone from the queue once an ack, or a reject without requeue, of its
    delivery has gone by.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._delivered: dict[tuple[int, int, int], str] = {}
        self.settled: set[str] = set()
        self.rejected = 0
        self.written: list[str] = []
        """The settlements that went by, as AMQP calls them."""
        self.refuse = 0
        """Connections that are ended before they begin."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[ready], daemon=True)
        self._thread.start()
        ready.wait(5)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._loop.call_soon(ready.set)
        self._loop.run_forever()
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            self.refuse -= 1
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        number = id(far_writer)
        await asyncio.gather(
            self._carry(reader, far_writer, number, skip=8), self._carry(far_reader, writer, number, skip=0)
        )

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, skip: int) -> None:
        deliveries: dict[int, int] = {}
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            writer.write(await reader.readexactly(skip))
            while True:
                head = await reader.readexactly(7)
                rest = await reader.readexactly(int.from_bytes(head[3:7], "big") + 1)
                self._read_along(number, head + rest, deliveries)
                writer.write(head + rest)
                await writer.drain()
        writer.close()

    def _read_along(self, number: int, data: bytes, deliveries: dict[int, int]) -> None:
        _, channel, frame = pamqp.frame.unmarshal(data)
        match frame:
            case commands.Basic.Deliver():
                deliveries[channel] = frame.delivery_tag
            case ContentHeader() if channel in deliveries:
                self._delivered[number, channel, deliveries.pop(channel)] = str(frame.properties.message_id)
            case commands.Basic.Nack() | commands.Basic.Reject(requeue=True):
                self.written.append(f"{frame.name} requeue={frame.requeue}")
            case commands.Basic.Ack() | commands.Basic.Reject(requeue=False):
                self.written.append(frame.name)
                self.rejected += isinstance(frame, commands.Basic.Reject)
                self.settled |= {self._delivered.get((number, channel, frame.delivery_tag or 0), "")}

    def cut(self) -> None:
        """End every connection, without a word."""
        done = threading.Event()

        def abort() -> None:
            while self._writers:
                self._writers.pop().transport.abort()
            done.set()

        self._loop.call_soon_threadsafe(abort)
        done.wait(5)

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
