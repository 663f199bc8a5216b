"""The actions of SQS, on parameters that are decoded already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from bench.server.queues import Message, Queue, Refused, Waiter

ACCOUNT = "000000000000"
Parameters = dict[str, Any]
Answer = dict[str, Any]


class Later:
    """An answer that comes later. Who wants it sets ``then``."""

    __slots__ = ("forget", "then")

    def __init__(self) -> None:
        self.then: Callable[[Answer], None] = lambda answer: None
        self.forget: Callable[[], None] = lambda: None


class Service:
    """``url`` is the server's own; its port is known once it listens."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.url = ""
        self.queues: dict[str, Queue] = {}
        self.actions: dict[str, Callable[[Parameters], Answer | Later]] = {
            "CreateQueue": lambda p: {"QueueUrl": self._url(self.ensure(p["QueueName"], p.get("Attributes")))},
            "GetQueueUrl": lambda p: {"QueueUrl": self._url(self._named(p["QueueName"]))},
            "ListQueues": self._list,
            "GetQueueAttributes": self._attributes,
            "SendMessage": lambda p: self._send(self._queue(p), p),
            "SendMessageBatch": lambda p: self._batch(p, self._send),
            "ReceiveMessage": self._receive,
            "DeleteMessage": lambda p: self._delete(self._queue(p), p),
            "DeleteMessageBatch": lambda p: self._batch(p, self._delete),
            "ChangeMessageVisibility": lambda p: self._change(self._queue(p), p),
            "ChangeMessageVisibilityBatch": lambda p: self._batch(p, self._change),
        }

    def ensure(self, name: str, attributes: dict[str, str] | None = None) -> Queue:
        if name not in self.queues:
            self.queues[name] = Queue(name, attributes or {}, self.loop)
        return self.queues[name]

    def act(self, action: str, parameters: Parameters) -> Answer | Later:
        """Raises Refused."""
        if action not in self.actions:
            raise Refused("UnknownOperationException", f"Unknown action: {action}")
        return self.actions[action](parameters)

    def _named(self, name: str) -> Queue:
        if name not in self.queues:
            raise Refused("QueueDoesNotExist", "The specified queue does not exist.")
        return self.queues[name]

    def _queue(self, parameters: Parameters) -> Queue:
        return self._named(parameters["QueueUrl"].rpartition("/")[2])

    def _url(self, queue: Queue) -> str:
        return f"{self.url}/{ACCOUNT}/{queue.name}"

    def _list(self, parameters: Parameters) -> Answer:
        prefix = parameters.get("QueueNamePrefix") or ""
        return {"QueueUrls": [self._url(queue) for name, queue in self.queues.items() if name.startswith(prefix)]}

    def _attributes(self, parameters: Parameters) -> Answer:
        queue = self._queue(parameters)
        visible = queue.counts["sent"] - queue.counts["deleted"] - len(queue.in_flight)
        known = {
            **queue.attributes,
            "QueueArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{queue.name}",
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(len(queue.in_flight)),
            "ApproximateNumberOfMessagesDelayed": "0",
        }
        names = parameters.get("AttributeNames") or []
        return {"Attributes": {name: value for name, value in known.items() if "All" in names or name in names}}

    def _receive(self, parameters: Parameters) -> Answer | Later:
        queue = self._queue(parameters)
        limit = int(parameters.get("MaxNumberOfMessages") or 1)
        wait = float(_given(parameters, "WaitTimeSeconds", queue.attributes["ReceiveMessageWaitTimeSeconds"]))
        lease = float(_given(parameters, "VisibilityTimeout", queue.attributes["VisibilityTimeout"]))
        if not 1 <= limit <= 10:
            raise Refused("InvalidParameterValue", f"Value {limit} for parameter MaxNumberOfMessages is invalid.")
        names = frozenset(parameters.get("MessageSystemAttributeNames") or parameters.get("AttributeNames") or ())
        queue.counts["receives"] += 1
        if "first_receive_at" not in queue.moments:
            queue.note("first_receive_at")

        def answer(messages: list[Message]) -> Answer:
            queue.counts["empty_receives"] += not messages
            return {"Messages": [message.answer(names) for message in messages]} if messages else {}

        messages = queue.take(limit, lease)
        if messages or not wait:
            return answer(messages)
        later = Later()
        waiter = Waiter(limit, lease, lambda found: later.then(answer(found)))
        later.forget = lambda: queue.forget(waiter)
        queue.wait(waiter, wait)
        return later

    def _send(self, queue: Queue, parameters: Parameters) -> Answer:
        message = queue.put(parameters["MessageBody"])
        return {"MessageId": f"{message.ordinal:08x}-0000-4000-8000-000000000000", "MD5OfMessageBody": message.md5}

    def _delete(self, queue: Queue, parameters: Parameters) -> Answer:
        queue.delete(parameters["ReceiptHandle"])
        return {}

    def _change(self, queue: Queue, parameters: Parameters) -> Answer:
        queue.change_visibility(parameters["ReceiptHandle"], float(parameters["VisibilityTimeout"]))
        return {}

    def _batch(self, parameters: Parameters, act: Callable[[Queue, Parameters], Answer]) -> Answer:
        queue, entries = self._queue(parameters), parameters.get("Entries") or []
        if not 1 <= len(entries) <= 10:
            raise Refused("TooManyEntriesInBatchRequest", f"{len(entries)} entries; between 1 and 10 are allowed.")
        done, failed = [], []
        for entry in entries:
            try:
                done.append({"Id": entry["Id"], **act(queue, entry)})
            except Refused as error:
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": str(error)})
        return {"Successful": done, "Failed": failed} if failed else {"Successful": done}


def _given(parameters: Parameters, name: str, default: str) -> Any:
    value = parameters.get(name)
    return default if value is None else value
