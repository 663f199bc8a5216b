"""The database, open for as long as the service runs."""

import logging
import os
import sqlite3
import threading
from contextlib import asynccontextmanager

logger = logging.getLogger("ledger")

TABLES = """
CREATE TABLE IF NOT EXISTS entries (id TEXT PRIMARY KEY, account TEXT NOT NULL, amount INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS pages (statement TEXT, page INTEGER, PRIMARY KEY (statement, page));
"""


class Book:
    """Safe to be used by several threads: plain handlers run in threads."""

    def __init__(self, file):
        self._lock = threading.Lock()
        self._db = sqlite3.connect(file, check_same_thread=False)
        self._db.executescript(TABLES)

    def balance(self, account):
        with self._lock:
            return self._db.execute("SELECT TOTAL(amount) FROM entries WHERE account = ?", (account,)).fetchone()[0]

    def enter(self, entry):
        """The entry's id is the key: one that is delivered twice is entered once."""
        with self._lock, self._db:
            row = (entry.id, entry.account, entry.amount)
            return self._db.execute("INSERT OR IGNORE INTO entries VALUES (?, ?, ?)", row).rowcount == 1

    def pages(self, statement):
        with self._lock:
            return self._db.execute("SELECT COUNT(*) FROM pages WHERE statement = ?", (statement,)).fetchone()[0]

    def add_page(self, statement, page):
        with self._lock, self._db:
            self._db.execute("INSERT OR IGNORE INTO pages VALUES (?, ?)", (statement, page))

    def close(self):
        with self._lock:
            for account, sum_ in self._db.execute("SELECT account, SUM(amount) FROM entries GROUP BY account"):
                logger.info("balance of %s: %s", account, sum_)
            self._db.close()


@asynccontextmanager
async def lifespan():
    book = Book(os.environ.get("LEDGER_DB", ":memory:"))
    yield book
    book.close()
