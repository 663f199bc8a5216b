"""The contract kit on the spool."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from loafer_core import Traits
from loafer_core.testing import ProviderContract
from loafer_spool.store import opened


class Harness:
    """A file of its own, looked into with SQLite alone."""

    def __init__(self, folder: Path):
        self.file = folder / "post.db"

    def options(self):
        return {"file": str(self.file), "lease": 2.0, "dead_letter": "dead"}

    def missing(self):
        return {"file": str(self.file.parent / "no" / "folder" / "post.db")}

    async def publish(self, body, attributes=None, group=None):
        async with opened(self.file) as store:
            return str(await store.put("default", body, attributes))

    def settled(self, id):
        return not self._ask("SELECT id FROM messages WHERE queue = 'default' AND id = ?", int(id))

    def expire(self, id):
        self._ask("UPDATE messages SET visible_at = 0 WHERE id = ?", int(id))

    def rejected(self):
        return [body for (body,) in self._ask("SELECT body FROM messages WHERE queue = 'dead'")]

    def close(self):
        pass

    def _ask(self, statement, *values):
        with closing(sqlite3.connect(self.file, timeout=5.0)) as database, database:
            return database.execute(statement, values).fetchall()


class TestSpool(ProviderContract):
    component = "spool"
    traits = Traits(lease=2.0, stable_ids=True, max_delay=365 * 86_400.0, batch=100, linger=0.02, rejects=True)

    @pytest.fixture
    def harness(self, tmp_path):
        return Harness(tmp_path)
