"""The provider ``spool``: from the contract to the file. The walk-through of docs/howto/write-a-provider.md."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from loafer_core import Context, Message, Settled, SourceConfigError, Traits, Unavailable
from loafer_spool.options import SpoolOptions
from loafer_spool.store import DELETE, EXTEND, NACK, REJECT, RELEASE, Row, Store, shared

DAY = 86_400.0


class SpoolProvider:
    """Consumes one queue of one file. Several, in as many processes of the machine, compete."""

    def __init__(self, options: SpoolOptions) -> None:
        self._options = options
        self.traits = Traits(
            lease=options.lease,
            stable_ids=True,
            max_delay=365 * DAY,
            batch=100,
            linger=0.02,
            rejects=options.dead_letter is not None,
        )
        self._store: Store | None = None
        self._wake = asyncio.Event()
        self._stopped = False

    async def open(self, context: Context) -> None:
        await self.close()
        self._wake, self._stopped = asyncio.Event(), False
        self._max_wait = context.max_wait
        self._store = await shared(context, self._options.file)
        self._store.watchers.add(self._wake.set)

    async def receive(self, limit: int) -> Sequence[Message]:
        """Look into the file every ``poll`` seconds, and when this process put something in."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._max_wait
        while not self._stopped:
            self._wake.clear()
            asked = loop.time()
            messages = await self._take(limit, asked)
            if messages or asked >= deadline:
                return messages
            try:
                async with asyncio.timeout(min(self._options.poll, deadline - asked)):
                    await self._wake.wait()
            except TimeoutError:
                pass
        return []

    async def ack(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        return await self._settle(DELETE, messages)

    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]:
        return await self._settle(NACK, list(delays), [{"seconds": seconds} for seconds in delays.values()])

    async def release(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        """Not an attempt: the receive is not counted."""
        return await self._settle(RELEASE, messages)

    async def extend(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        return await self._settle(EXTEND, messages, [{"seconds": self._options.lease}] * len(messages))

    async def reject(self, messages: Sequence[Message], reason: str) -> Mapping[Message, Settled]:
        if self._options.dead_letter is None:
            raise SourceConfigError(f"queue {self._options.queue!r} has no dead_letter to reject to")
        target = {"dead": self._options.dead_letter, "reason": reason}
        return await self._settle(REJECT, messages, [target] * len(messages))

    async def publish(
        self, body: str | bytes, attributes: Mapping[str, str | bytes] | None = None, group: str | None = None
    ) -> str:
        """A spool has no groups, and ``group`` is not kept."""
        return str(await self._file.put(self._options.queue, body, attributes))

    async def measure(self) -> Mapping[str, float]:
        return await self._file.measure(self._options.queue)

    async def stop(self) -> None:
        self._stopped = True
        self._wake.set()  # an open receive ends by itself

    async def close(self) -> None:
        """The file is shared, and closed by the core after its last user."""
        if self._store is not None:
            self._store.watchers.discard(self._wake.set)
            self._store = None
        self._wake.set()

    @property
    def _file(self) -> Store:
        if self._store is None:
            raise Unavailable(f"{self._options.file}: the provider is not open")
        return self._store

    async def _take(self, limit: int, asked: float) -> Sequence[Message]:
        options = self._options
        receipt, rows = await self._file.take(
            options.queue, limit, options.lease, options.dead_letter, options.max_receives
        )
        return [self._message(row, receipt, asked) for row in rows]

    def _message(self, row: Row, receipt: str, asked: float) -> Message:
        return Message(
            id=str(row.id),
            body=row.body,
            receipt=receipt,
            attributes=row.attributes,
            metadata={"file": str(self._options.file), "queue": self._options.queue},
            receive_count=row.receives,
            sent_at=row.sent_at,
            # From before the question, so that it is never later than the end that the file knows.
            lease_until=asked + self._options.lease,
        )

    async def _settle(
        self, statement: str, messages: Sequence[Message], values: Sequence[Mapping[str, object]] = ()
    ) -> Mapping[Message, Settled]:
        """By id *and* receipt: a message that was taken again since has another one, and is not touched."""
        deliveries = [
            {"id": int(message.id), "receipt": message.receipt, **(values[place] if values else {})}
            for place, message in enumerate(messages)
        ]
        ours = await self._file.settle(statement, deliveries)
        return {
            message: Settled.DONE if was_ours else Settled.LOST
            for message, was_ours in zip(messages, ours, strict=True)
        }
