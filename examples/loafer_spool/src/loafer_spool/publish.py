"""The handler ``spool``: puts the payload into a queue, for a route that only passes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from loafer_core import Context
from loafer_spool.options import PublishOptions
from loafer_spool.store import Store, shared


class SpoolPublisher:
    """Text and bytes are stored as they are, everything else as JSON; the sender's attributes go along."""

    def __init__(self, options: PublishOptions) -> None:
        self._options = options
        self._store: Store | None = None

    async def open(self, context: Context) -> None:
        self._store = await shared(context, self._options.file)

    async def handle(self, payload: object, metadata: Mapping[str, Any]) -> bool:
        """Raises TypeError where the payload is nothing that JSON knows, and Unavailable as the store does."""
        assert self._store is not None, "open() comes first"
        body = payload if isinstance(payload, (str, bytes)) else json.dumps(payload)
        await self._store.put(self._options.queue, body, metadata.get("attributes"))
        return True

    async def close(self) -> None:
        """The file is shared, and closed by the core after its last user."""
        self._store = None
