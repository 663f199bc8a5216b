"""Sending under load: what several callers send at the same time goes as one batch, and each gets its own answer.

A lone message goes at once. What comes while a call is under way waits until a batch is full, until no call is under
way, or for ten milliseconds, whichever is first. Nothing is kept: whoever waits here is a caller.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from loafer_core import ProviderError, Unavailable
from loafer_sqs.aws import batches
from loafer_sqs.aws.client import Clients
from loafer_sqs.aws.errors import failed_entry
from loafer_sqs.messages.entries import size, token
from loafer_sqs.messages.wire import md5

LINGER = 0.01
"""Most seconds that a message waits for company while fewer than the most calls are under way."""


class Target(batches.Target, Protocol):
    """A queue or a topic, as far as sending is concerned."""

    @property
    def fifo(self) -> bool: ...
    @property
    def send_method(self) -> str: ...  # of the client, for a batch
    @property
    def body_key(self) -> str: ...  # of an entry
    @property
    def message_bytes(self) -> int: ...  # most of one message,
    @property
    def batch_bytes(self) -> int: ...  # and of one batch


@dataclass(slots=True, eq=False)
class _Letter:
    entry: Mapping[str, Any]
    weight: int
    came: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    answer: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Outbox:
    """Sends to one target. A FIFO one gets one call at a time, so that nothing is overtaken."""

    _clients: Clients
    _target: Target

    def __init__(self) -> None:
        self._waiting: dict[_Letter, None] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0

    def open(self, clients: Clients, target: Target) -> None:
        """Say where to; again after ``close``."""
        self._clients, self._target = clients, target

    async def send(
        self, body: str, attributes: Mapping[str, Any], *, group: str | None, dedup: str, subject: str | None = None
    ) -> str:
        """Send one message and give its id once AWS has confirmed it, body checked.

        Cancelled before its batch is sent, the message stays behind; later, nobody knows.

        Raises:
            ProviderError: AWS does not take such a message, did not take this one, or nobody knows.
        """
        if not body:
            raise ProviderError(f"{self._target}: AWS takes no empty message")
        weight, most = size(body + (subject or ""), attributes), self._target.message_bytes
        if weight > most:
            raise ProviderError(f"{self._target}: the message has {weight:,} bytes, {most:,} are what it takes")
        letter = _Letter(self._entry(body, attributes, group, dedup, subject), weight)
        self._waiting[letter] = None
        self._wake_at(letter.came)  # not before everybody who is about to send has done so
        try:
            return await letter.answer
        finally:
            self._waiting.pop(letter, None)
            del letter  # its answer may be an error, whose traceback leads back here

    async def close(self) -> None:
        """Wait for what is under way. Idempotent."""
        while self._waiting or self._calls:
            self._send_what_is_due()
            await asyncio.wait(self._calls)

    def _entry(
        self, body: str, attributes: Mapping[str, Any], group: str | None, dedup: str, subject: str | None
    ) -> dict[str, Any]:
        entry: dict[str, Any] = {self._target.body_key: body, "MessageAttributes": attributes}
        if subject is not None:
            entry["Subject"] = subject
        if group is not None:
            entry["MessageGroupId"] = token(group)
        if self._target.fifo:
            entry["MessageDeduplicationId"] = token(dedup)
        return entry

    def _wake_at(self, when: float) -> None:
        if self._alarm is not None:
            if self._wakes_at <= when:  # kept here: not every loop's handles tell
                return
            self._alarm.cancel()
        self._wakes_at = when
        self._alarm = asyncio.get_running_loop().call_at(when, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        self._send_what_is_due()

    def _send_what_is_due(self) -> None:
        loop = asyncio.get_running_loop()
        at_once = 1 if self._target.fifo else batches.AT_ONCE
        while self._waiting and len(self._calls) < at_once:
            batch = next(batches.cut(self._waiting, lambda letter: letter.weight, self._target.batch_bytes))
            is_full = len(batch) == batches.ENTRIES or len(batch) < len(self._waiting)
            due = batch[0].came + LINGER
            if self._calls and not is_full and due > loop.time():
                self._wake_at(due)
                return
            for letter in batch:
                del self._waiting[letter]
            call = loop.create_task(self._send(batch), name=f"loafer/{self._target}")
            self._calls.add(call)
            call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._send_what_is_due()

    async def _send(self, batch: Sequence[_Letter]) -> None:
        method, target = self._target.send_method, self._target
        place = self._clients.place_of(method, target)
        otherwise: ProviderError = Unavailable(f"{place}: the answer does not confirm the message")
        answers: Mapping[_Letter, Mapping[str, Any]] = {}
        try:
            answers = await batches.post(self._clients, method, target, {letter: letter.entry for letter in batch})
        except ProviderError as error:
            otherwise = copy.copy(error)  # without its traceback, which leads back here and to the batch
        finally:
            for letter in batch:
                answer = answers.get(letter, {})
                if letter.answer.done():
                    continue  # its caller was cancelled
                if code := batches.code_of(answer):
                    letter.answer.set_exception(failed_entry(code, place, method))
                elif answer.get("MessageId") and _is_intact(letter.entry[target.body_key], answer):
                    letter.answer.set_result(str(answer["MessageId"]))
                else:
                    letter.answer.set_exception(copy.copy(otherwise))  # one each: they are reported one by one


def _is_intact(body: str, answer: Mapping[str, Any]) -> bool:
    return "MD5OfMessageBody" not in answer or answer["MD5OfMessageBody"] == md5(body)
