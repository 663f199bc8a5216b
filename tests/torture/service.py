"""The service under torture. A message's body, a JSON object, says what its handler shall do; a log says what it did.

``sleep`` (await) and ``block`` seconds, or ``until`` a file of that name lies beside the log; with ``once`` at the
first receive only. ``fails``: raise until the receive of this number is over; ``drop``: raise DeleteMessage;
``swallow``: ignore being cancelled for so many seconds; ``jump``: let the wall clock jump by seconds; ``borrow``: use a
thread of the loop's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from loafer_core import DeleteMessage, Failure, current

_log = os.open(os.environ["TORTURE_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_folder = os.path.dirname(os.environ["TORTURE_LOG"])
_wall_clock = time.time
GLANCE = 0.01


def _note(event: str, metadata: Mapping[str, Any], outcome: str = "") -> None:
    facts = {name: metadata[name] for name in ("message_id", "receive_count", "group", "route")}
    lost = current().lease_lost.is_set()
    line = {"at": time.monotonic(), "who": os.environ["TORTURE_WHO"], "event": event, "outcome": outcome, "lost": lost}
    os.write(_log, (json.dumps(line | facts) + "\n").encode())  # one write: lines of several processes do not mix


def _orders(payload: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    try:
        orders = json.loads(payload)
    except ValueError:
        return {}
    if not isinstance(orders, dict):
        return {}
    if orders.get("once") and metadata["receive_count"] > 1:
        orders |= {"sleep": 0, "block": 0, "until": ""}
    return orders


def _is_time(orders: Mapping[str, Any]) -> bool:
    return os.path.exists(os.path.join(_folder, orders.get("until") or "."))


def _end(orders: Mapping[str, Any], count: int) -> bool:
    if count <= orders.get("fails", 0):
        raise ValueError("told to fail")
    if orders.get("drop"):
        raise DeleteMessage
    return True


def _word(error: BaseException) -> str:
    if isinstance(error, DeleteMessage):
        return "drop"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "raised"


async def handle(payload: str, metadata: Mapping[str, Any]) -> bool:
    orders = _orders(payload, metadata)
    _note("start", metadata)
    if "jump" in orders:
        ahead = orders["jump"]
        time.time = lambda: _wall_clock() + ahead
    try:
        await _obey(orders)
        result = _end(orders, metadata["receive_count"])
    except BaseException as error:
        _note("end", metadata, _word(error))
        raise
    _note("end", metadata, "ok")
    return result


async def _obey(orders: Mapping[str, Any]) -> None:
    time.sleep(orders.get("block", 0))
    if orders.get("borrow"):
        await asyncio.to_thread(time.monotonic)
    try:
        while not _is_time(orders):
            await asyncio.sleep(GLANCE)
        await asyncio.sleep(orders.get("sleep", 0))
    except asyncio.CancelledError:
        if "swallow" not in orders:
            raise
        await asyncio.sleep(orders["swallow"])


def handle_in_thread(payload: str, metadata: Mapping[str, Any]) -> bool:
    orders = _orders(payload, metadata)
    _note("start", metadata)
    try:
        while not _is_time(orders):
            time.sleep(GLANCE)
        time.sleep(orders.get("block", 0))
        result = _end(orders, metadata["receive_count"])
    except BaseException as error:
        _note("end", metadata, _word(error))
        raise
    _note("end", metadata, "ok")
    return result


async def look(payload: str, metadata: Mapping[str, Any]) -> bool:
    """Fail once, with all of the message in the error's text; then note a digest of it."""
    _note("start", metadata)
    content = json.dumps([payload, dict(metadata["attributes"])], sort_keys=True)
    if metadata["receive_count"] == 1:
        _note("end", metadata, "raised")
        raise ValueError(payload, content)
    _note("content", metadata, hashlib.sha256(content.encode()).hexdigest())
    _note("end", metadata, "ok")
    return True


def note_failure(failure: Failure) -> None:
    """An error handler without an opinion: it only says that it was asked."""
    message = failure.message
    facts = {"message_id": message.id, "receive_count": message.receive_count, "group": message.group}
    _note("failure", facts | {"route": failure.route}, failure.stage)
