"""Batch requests: cut to what SQS takes, a few at once, every entry's answer read.

A 200 says nothing by itself: each entry is in ``Successful``, in ``Failed``, or in neither, and then it is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from loafer_core import Message, ProviderError, Settled
from loafer_sqs.client import Clients
from loafer_sqs.errors import BATCH, STALE, Refused, last_part
from loafer_sqs.wire import MOST_BYTES

logger = logging.getLogger("loafer.sqs")

ENTRIES = 10
"""Most entries of one batch; AWS API reference."""
AT_ONCE = 4

Entries = Mapping[Message, Mapping[str, Any]]
"""What to send for each message, without the entry's Id."""
Answers = dict[Message, str]
"""``""`` for what SQS has done, else the error code. Unknown = missing."""


async def settle(clients: Clients, method: str, queue: str, url: str, entries: Entries) -> dict[Message, Settled]:
    """Delete or change, and say what became of each delivery; missing = unknown."""
    answers = await send(clients, method, queue, url, entries)
    settled = {message: _settled(code) for message, code in answers.items()}
    odd = {code for code in answers.values() if code and code not in STALE}
    if odd:
        logger.warning("queue %r: some entries of %s failed: %s", queue, method, ", ".join(sorted(odd)))
    return settled


def _settled(code: str) -> Settled:
    if not code:
        return Settled.DONE
    return Settled.LOST if code in STALE else Settled.RETRY


async def send(
    clients: Clients,
    method: str,
    queue: str,
    url: str,
    entries: Entries,
    weigh: Callable[[Mapping[str, Any]], int] = lambda entry: 0,
) -> Answers:
    """Send all entries, ``weigh`` bytes each. Raises what SQS said if no batch at all got through."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(batch: Sequence[Message]) -> Answers:
        async with turn:
            return await _batch(clients, method, queue, url, {message: entries[message] for message in batch})

    results = await asyncio.gather(*map(one, cut(entries, weigh)), return_exceptions=True)
    answers: Answers = {}
    failures: list[BaseException] = []
    for result in results:
        if isinstance(result, BaseException):
            failures.append(result)
        else:
            answers |= result
    if failures and (not answers or not all(isinstance(failure, ProviderError) for failure in failures)):
        raise failures[0]
    for failure in failures:
        logger.warning("%s", failure)
    return answers


def cut(entries: Entries, weigh: Callable[[Mapping[str, Any]], int]) -> Iterator[list[Message]]:
    """Batches of at most ten entries and a mebibyte, in order; an entry that is too heavy alone goes alone."""
    batch: list[Message] = []
    weight = 0
    for message, entry in entries.items():
        heavy = weigh(entry)
        if batch and (len(batch) == ENTRIES or weight + heavy > MOST_BYTES):
            yield batch
            batch, weight = [], 0
        batch.append(message)
        weight += heavy
    if batch:
        yield batch


async def _batch(clients: Clients, method: str, queue: str, url: str, entries: Entries) -> Answers:
    ids = {str(number): message for number, message in enumerate(entries)}
    numbered = [{"Id": id, **entries[message]} for id, message in ids.items()]
    try:
        answer = await clients.ask(method, queue=queue, request={"QueueUrl": url, "Entries": numbered})
    except Refused as refusal:
        if refusal.code in BATCH:
            logger.critical("a batch of loafer-sqs was wrong, please report it: %s", refusal)
        if len(ids) == 1:
            return dict.fromkeys(entries, refusal.code)
        answers: Answers = {}
        for message, entry in entries.items():  # one at a time: one bad entry must not cost the others
            answers |= await _batch(clients, method, queue, url, {message: entry})
        return answers
    done = {ids[entry["Id"]]: "" for entry in answer.get("Successful") or () if entry.get("Id") in ids}
    failed = {
        ids[entry["Id"]]: last_part(entry.get("Code")) or "unknown"
        for entry in answer.get("Failed") or ()
        if entry.get("Id") in ids
    }
    return done | failed
