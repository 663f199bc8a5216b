"""The file: a table of messages, and one transaction for each thing that can happen to them."""

# ruff: noqa: S608 - the statements below are put together of constants

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite

from loafer_core import Context, SourceConfigError, Unavailable

BUSY = 5.0
"""Seconds that SQLite waits for another process to end its transaction."""
TABLE = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never given twice: a stable id
    queue TEXT NOT NULL,
    body NOT NULL,                          -- text or blob, as it was sent
    attributes TEXT NOT NULL,
    sent_at REAL NOT NULL,
    visible_at REAL NOT NULL,               -- the end of a lease or of a delay
    receives INTEGER NOT NULL DEFAULT 0,
    receipt TEXT,                           -- the delivery that has it; NULL = nobody has it
    reason TEXT                             -- why it is in a dead-letter queue
)"""
INDEX = "CREATE INDEX IF NOT EXISTS next_message ON messages (queue, visible_at)"
INSERT = "INSERT INTO messages (queue, body, attributes, sent_at, visible_at) VALUES (?, ?, ?, ?, ?) RETURNING id"
SPENT = """
UPDATE messages SET queue = :dead, receipt = NULL, reason = 'received ' || receives || ' times', receives = 0
WHERE queue = :queue AND visible_at <= :now AND receives >= :most"""
TAKE = """
UPDATE messages SET receipt = :receipt, receives = receives + 1, visible_at = :now + :lease
WHERE id IN (SELECT id FROM messages WHERE queue = :queue AND visible_at <= :now ORDER BY id LIMIT :limit)
RETURNING id, body, attributes, sent_at, receives"""
OURS = "id = :id AND receipt = :receipt"
DELETE = f"DELETE FROM messages WHERE {OURS}"
# A lease that has ended gives no right to hide the message again, even if nobody has taken it since.
EXTEND = f"UPDATE messages SET visible_at = :now + :seconds WHERE {OURS} AND visible_at > :now"
NACK = f"UPDATE messages SET visible_at = :now + :seconds, receipt = NULL WHERE {OURS} AND visible_at > :now"
RELEASE = f"""
UPDATE messages SET visible_at = :now, receipt = NULL, receives = receives - 1 WHERE {OURS} AND visible_at > :now"""
REJECT = f"""
UPDATE messages SET queue = :dead, receipt = NULL, receives = 0, visible_at = :now, reason = :reason WHERE {OURS}"""
MEASURE = """
SELECT count(*) FILTER (WHERE visible_at <= :now), count(*) FILTER (WHERE visible_at > :now AND receipt IS NOT NULL),
       count(*) FILTER (WHERE visible_at > :now AND receipt IS NULL), coalesce(:now - min(sent_at), 0.0)
FROM messages WHERE queue = :queue"""


class Row(NamedTuple):
    """A message as it was taken."""

    id: int
    body: str | bytes
    attributes: Mapping[str, str | bytes]
    sent_at: float
    receives: int


class Store:
    """One open file. Transactions queue up behind one another; SQLite's own lock does the same between processes.

    Every time in the file is the wall clock's, because the processes of a machine, and the file after a reboot, have
    no other clock in common. A clock that is set back makes leases and delays longer by as much, and loses nothing.

    Raises, from every method: Unavailable, the file cannot be read or written now (a full disk, a lock held for long).
    """

    def __init__(self, file: Path, database: aiosqlite.Connection) -> None:
        self._file = file
        self._database = database
        self._turn = asyncio.Lock()
        self.watchers: set[Callable[[], None]] = set()
        """Called when something was put in or given back by this process."""

    async def put(self, queue: str, body: str | bytes, attributes: Mapping[str, str | bytes] | None) -> int:
        """Store a message and give its id. Raises ValueError for text that is no Unicode (a lone surrogate)."""
        if isinstance(body, str):
            body.encode()
        now = time.time()
        async with self._transaction() as execute:
            [[id_]] = await execute(INSERT, (queue, body, _frozen(attributes or {}), now, now))
        self._changed()
        return int(id_)

    async def take(
        self, queue: str, limit: int, lease: float, dead: str | None, most: int | None
    ) -> tuple[str, Sequence[Row]]:
        """Take up to ``limit`` visible messages, oldest first, for ``lease`` seconds; give their receipt, too."""
        receipt = uuid.uuid4().hex
        values = {"queue": queue, "limit": limit, "lease": lease, "receipt": receipt, "now": time.time()}
        async with self._transaction() as execute:
            if dead is not None and most is not None:
                await execute(SPENT, values | {"dead": dead, "most": most})
            rows = await execute(TAKE, values)
        # SQLite promises no order of what RETURNING gives.
        return receipt, sorted(Row(id_, body, _thawed(attributes), *rest) for id_, body, attributes, *rest in rows)

    async def settle(self, statement: str, deliveries: Iterable[Mapping[str, object]]) -> list[bool]:
        """Run ``statement`` for each, all in one transaction: whose it still was, and to whom it now happened."""
        now = time.time()
        async with self._transaction() as execute:
            changed = [
                bool(await execute(f"{statement} RETURNING id", {"now": now, **delivery})) for delivery in deliveries
            ]
        self._changed()
        return changed

    async def measure(self, queue: str) -> Mapping[str, float]:
        """Counts ``depth``, ``in_flight`` and ``delayed``; ``oldest_age`` in seconds."""
        async with self._transaction() as execute:
            [counts] = await execute(MEASURE, {"queue": queue, "now": time.time()})
        return dict(zip(("depth", "in_flight", "delayed", "oldest_age"), map(float, counts), strict=True))

    def _changed(self) -> None:
        for changed in tuple(self.watchers):
            changed()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
        """All of it or nothing, on the disk when this is left."""
        async with self._turn:
            try:
                try:
                    await self._database.execute("BEGIN IMMEDIATE")
                    yield self._database.execute_fetchall
                except BaseException:  # a cancelled receive, too, lets go of what it has taken
                    await self._database.rollback()
                    raise
                await self._database.commit()
            except (sqlite3.Error, ValueError) as error:
                raise Unavailable(f"{self._file}: {error}") from error


def shared(context: Context, file: Path) -> Awaitable[Store]:
    """Give the store of ``file``: one for all routes of a process. Raises as ``opened``."""
    path = file.absolute()
    return context.shared(("spool", path), lambda: opened(path))


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[Store]:
    """Open ``file``, and make it where it is missing, for nobody but us: other people's data will be in it.

    Raises:
        SourceConfigError: it cannot be made, or is no SQLite file.
    """
    try:
        await asyncio.to_thread(file.touch, 0o600)
        async with aiosqlite.connect(file, isolation_level=None, timeout=BUSY) as database:
            # Write-ahead logging lets readers read while one writes; FULL has every commit on the disk, come what may.
            for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", TABLE, INDEX):
                await database.execute(statement)
            yield Store(file, database)
    except sqlite3.OperationalError as error:
        raise Unavailable(f"{file}: {error}") from error
    except (OSError, sqlite3.DatabaseError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SourceConfigError(f"{file} cannot be used as a spool: {reason}") from error


def _frozen(attributes: Mapping[str, str | bytes]) -> str:
    """As JSON, which has no bytes."""
    return json.dumps(
        {
            name: value if isinstance(value, str) else {"base64": base64.b64encode(value).decode()}
            for name, value in attributes.items()
        }
    )


def _thawed(attributes: str) -> Mapping[str, str | bytes]:
    return {
        name: value if isinstance(value, str) else base64.b64decode(value["base64"])
        for name, value in json.loads(attributes).items()
    }
