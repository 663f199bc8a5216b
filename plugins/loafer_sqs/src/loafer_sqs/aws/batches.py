"""Batch requests: cut to what AWS takes, a few at once, every entry's answer read.

A 200 says nothing by itself: each entry is in ``Successful``, in ``Failed``, or in neither, and then it is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from loafer_core import Message, ProviderError, Settled
from loafer_sqs.aws.client import Clients
from loafer_sqs.aws.errors import BATCH, STALE, Refused, last_part
from loafer_sqs.messages.entries import MOST_BYTES

logger = logging.getLogger("loafer.sqs")

ENTRIES = 10
"""Most entries of one batch; AWS API reference."""
AT_ONCE = 4

K = TypeVar("K", bound=Hashable)

Entries = Mapping[K, Mapping[str, Any]]
"""What to send for each key, without the entry's Id."""
Answers = dict[K, Mapping[str, Any]]
"""AWS's own answer for each key; what has a ``Code`` failed. Unknown = missing."""


class Target(Protocol):
    """A queue or a topic."""

    @property
    def address(self) -> Mapping[str, str]: ...  # what a request calls it


async def settle(clients: Clients, method: str, queue: Target, entries: Entries[Message]) -> dict[Message, Settled]:
    """Delete or change, and say what became of each delivery; missing = unknown."""
    answers = await send(clients, method, queue, entries)
    settled = dict.fromkeys(answers, Settled.DONE)
    failed = {message: code for message, answer in answers.items() if (code := code_of(answer))}
    for message, code in failed.items():
        settled[message] = Settled.LOST if code in STALE else Settled.RETRY
    if odd := set(failed.values()) - STALE:
        logger.warning("%s: some entries of %s failed: %s", queue, method, ", ".join(sorted(odd)))
    return settled


def code_of(answer: Mapping[str, Any]) -> str:
    """``""`` for what AWS has done, else why not."""
    return last_part(answer["Code"]) if "Code" in answer else ""


async def send(
    clients: Clients,
    method: str,
    target: Target,
    entries: Entries[K],
    weigh: Callable[[Mapping[str, Any]], int] | None = None,
) -> Answers[K]:
    """Send all entries, ``weigh`` bytes each. Raises what AWS said if no batch at all got through."""
    if weigh is None and 0 < len(entries) <= ENTRIES:
        return await post(clients, method, target, entries)
    batches = list(cut(entries, lambda key: 0 if weigh is None else weigh(entries[key])))
    return await _in_batches(clients, method, target, entries, batches, AT_ONCE)


def cut(keys: Iterable[K], weigh: Callable[[K], int], most: int = MOST_BYTES) -> Iterator[list[K]]:
    """Batches of at most ten entries and ``most`` bytes, in order; an entry that is too heavy alone goes alone."""
    batch: list[K] = []
    weight = 0
    for key in keys:
        heavy = weigh(key)
        if batch and (len(batch) == ENTRIES or weight + heavy > most):
            yield batch
            batch, weight = [], 0
        batch.append(key)
        weight += heavy
    if batch:
        yield batch


async def _in_batches(
    clients: Clients, method: str, target: Target, entries: Entries[K], batches: Iterable[Sequence[K]], at_once: int
) -> Answers[K]:
    turn = asyncio.Semaphore(at_once)

    async def one(batch: Sequence[K]) -> Answers[K]:
        async with turn:
            return await post(clients, method, target, {key: entries[key] for key in batch})

    results = await asyncio.gather(*map(one, batches), return_exceptions=True)
    answers: Answers[K] = {}
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


async def post(clients: Clients, method: str, target: Target, entries: Entries[K]) -> Answers[K]:
    """Send one batch. What is refused as a whole goes entry by entry: a bad one must not cost the others."""
    ids = {str(number): key for number, key in enumerate(entries)}
    numbered = [{"Id": id, **entries[key]} for id, key in ids.items()]
    name = "PublishBatchRequestEntries" if method == "publish_batch" else "Entries"
    try:
        answer = await clients.ask(method, of=target, request={**target.address, name: numbered})
    except Refused as refusal:
        if refusal.code in BATCH:
            logger.critical("a batch of loafer-sqs was wrong, please report it: %s", refusal)
        if len(ids) == 1:
            return {key: {"Code": refusal.code} for key in entries}
        return await _in_batches(clients, method, target, entries, ([key] for key in entries), 1)
    done = {ids[entry["Id"]]: entry for entry in answer.get("Successful") or () if entry.get("Id") in ids}
    failed = {
        ids[entry["Id"]]: {**entry, "Code": entry.get("Code") or "unknown"}
        for entry in answer.get("Failed") or ()
        if entry.get("Id") in ids
    }
    return done | failed
