"""The handlers ``sqs`` and ``sns``: send the payload, and say True once AWS has it."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import logging
import uuid
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from loafer_core import Context
from loafer_sqs.aws import queues, topics
from loafer_sqs.aws.client import Clients, shared
from loafer_sqs.aws.errors import Denied
from loafer_sqs.aws.outbox import Outbox, Target
from loafer_sqs.messages.entries import attributes, encode, left_out
from loafer_sqs.options import PublishOptions, SNSPublishOptions, SQSPublishOptions

logger = logging.getLogger("loafer.sqs")

O = TypeVar("O", bound=PublishOptions)  # noqa: E741 - the options type


class _Publisher(abc.ABC, Generic[O]):
    """A handler that sends. Its concurrent calls go in common batches, and each gets its own answer."""

    _target: Target
    _subject: str | None = None

    def __init__(self, options: O) -> None:
        self._options = options
        self._outbox = Outbox()
        self._told = False

    async def open(self, context: Context) -> None:
        """Find the target. Raises as the provider's ``open`` does."""
        clients, self._target = await self._find(context)
        self._outbox.open(clients, self._target)
        logger.info("%s: sending to %s in %s", context.route, self._target, clients.place)

    @abc.abstractmethod
    async def _find(self, context: Context) -> tuple[Clients, Target]: ...

    async def handle(self, payload: object, metadata: Mapping[str, Any]) -> bool:
        """Send.

        Raises:
            TypeError, ValueError: the payload is nothing that a body can be made of.
            ProviderError: AWS did not take the message, or nobody knows.
        """
        options = self._options
        body = encode(payload, options.encoder)
        source_id = str(metadata.get("message_id") or uuid.uuid4().hex)
        group = options.group
        if group is None and self._target.fifo:
            group = str(metadata.get("group") or source_id)
        await self._outbox.send(
            body,
            self._carried(metadata) if options.carry_attributes else {},
            group=group,
            dedup=source_id if options.dedup == "id" else hashlib.sha256(body.encode()).hexdigest(),
            subject=self._subject,
        )
        return True

    def _carried(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        values: Mapping[str, str | bytes] = metadata.get("attributes") or {}
        if (odd := left_out(values)) and not self._told:
            self._told = True
            logger.warning("%s: AWS does not take these attributes: %s", self._target, ", ".join(map(repr, odd)))
        types: Mapping[str, str] = metadata.get("attribute_types") or {}
        return attributes(values, {name: self._type(kind) for name, kind in types.items()})

    def _type(self, kind: str) -> str:
        return kind

    async def close(self) -> None:
        """Wait for what is under way. The clients are shared, and closed by the core after their last user."""
        await self._outbox.close()


class SQSPublisher(_Publisher[SQSPublishOptions]):
    """Sends to a queue."""

    def __repr__(self) -> str:
        return f"<SQSPublisher {self._options.queue!r}>"

    async def _find(self, context: Context) -> tuple[Clients, Target]:
        clients = await shared(context, self._options.connection(), "sqs")
        queue = await queues.find(clients, self._options.queue, self._options.queue_owner)
        if "://" in self._options.queue:  # which proves nothing by itself
            with contextlib.suppress(Denied):
                await queues.attributes(clients, queue)
        return clients, queue


class SNSPublisher(_Publisher[SNSPublishOptions]):
    """Publishes to a topic."""

    def __init__(self, options: SNSPublishOptions) -> None:
        super().__init__(options)
        self._subject = options.subject

    def __repr__(self) -> str:
        return f"<SNSPublisher {self._options.topic!r}>"

    async def _find(self, context: Context) -> tuple[Clients, Target]:
        clients = await shared(context, self._options.connection(), "sns")
        return clients, await topics.find(clients, self._options.topic)

    def _type(self, kind: str) -> str:
        return kind if kind == "String.Array" else kind.partition(".")[0]  # SNS knows no types of users' own
