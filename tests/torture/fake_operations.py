"""The operations of SQS on queues in memory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Iterator

from torture.fake_queues import ENTRIES, LONGEST_HOLD, Json, Queue, Refusal, Stored, md5, now


class Queues:
    """All queues of one server. ``call`` is what its wire calls."""

    def __init__(self) -> None:
        self.queues: dict[str, Queue] = {}
        self.endpoint = "http://127.0.0.1"

    async def call(self, operation: str, request: Json) -> Json:
        """Give the answer; raises Refusal."""
        if operation == "ReceiveMessage":
            return await self._receive(self.queue(request), request)
        if operation == "CreateQueue":
            self.queues.setdefault(request["QueueName"], Queue(request["QueueName"], request.get("Attributes") or {}))
        if operation in ("CreateQueue", "GetQueueUrl"):
            return {"QueueUrl": f"{self.endpoint}/000000000000/{self._named(request['QueueName']).name}"}
        queue = self.queue(request)
        if operation == "GetQueueAttributes":
            return {"Attributes": self._attributes(queue)}
        if operation == "SetQueueAttributes":
            queue.attributes.update(request["Attributes"])
            return {}
        if operation == "DeleteQueue":
            del self.queues[queue.name]
            queue.wake()
            return {}
        if operation.endswith("Batch"):
            return self._batch(queue, operation.removesuffix("Batch"), request)
        return self._one(queue, operation, request)

    def queue(self, request: Json) -> Queue:
        return self._named(str(request.get("QueueUrl", "")).rpartition("/")[2])

    def _named(self, name: str) -> Queue:
        if name not in self.queues:
            raise Refusal("QueueDoesNotExist", "The specified queue does not exist.")
        return self.queues[name]

    def _attributes(self, queue: Queue) -> Json:
        hidden = queue.hidden()
        delayed = sum(not one.count for one in hidden)
        return queue.attributes | {
            "QueueArn": f"arn:aws:sqs:us-east-1:000000000000:{queue.name}",
            "ApproximateNumberOfMessages": str(len(queue.messages) - len(hidden)),
            "ApproximateNumberOfMessagesNotVisible": str(len(hidden) - delayed),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
        }

    def _one(self, queue: Queue, operation: str, request: Json) -> Json:
        if operation == "SendMessage":
            return self._send(queue, request)
        if operation == "DeleteMessage":
            queue.delete(request["ReceiptHandle"])
        elif operation == "ChangeMessageVisibility":
            queue.change(request["ReceiptHandle"], whole(request, "VisibilityTimeout", 0, LONGEST_HOLD))
        else:
            raise Refusal("InvalidAction", f"The action {operation} is not valid for this endpoint.")
        return {}

    def _batch(self, queue: Queue, operation: str, request: Json) -> Json:
        entries = request.get("Entries") or []
        if not entries:
            raise Refusal("EmptyBatchRequest")
        if len(entries) > ENTRIES:
            raise Refusal("TooManyEntriesInBatchRequest")
        if len({entry["Id"] for entry in entries}) < len(entries):
            raise Refusal("BatchEntryIdsNotDistinct")
        answer: Json = {"Successful": [], "Failed": []}
        for entry in entries:
            try:
                answer["Successful"].append({"Id": entry["Id"], **self._one(queue, operation, entry)})
            except Refusal as no:
                failure = {"Id": entry["Id"], "SenderFault": True, "Code": no.code, "Message": str(no)}
                answer["Failed"].append(failure)
        return {key: found for key, found in answer.items() if found}

    def _send(self, queue: Queue, request: Json) -> Json:
        body, group = request["MessageBody"], request.get("MessageGroupId")
        dedup = request.get("MessageDeduplicationId")
        if queue.fifo and dedup is None and queue.attributes.get("ContentBasedDeduplication") == "true":
            dedup = hashlib.sha256(body.encode()).hexdigest()
        if queue.fifo and group is None:
            raise Refusal("MissingParameter", "The request must contain the parameter MessageGroupId.")
        if queue.fifo and dedup is None:
            raise Refusal("InvalidParameterValue", "The queue should have ContentBasedDeduplication enabled")
        delay = whole(request, "DelaySeconds", int(queue.attributes.get("DelaySeconds", 0)), 900)
        stored = Stored(str(uuid.uuid4()), body, request.get("MessageAttributes") or {}, group, dedup)
        stored.hidden_until = now() + delay if delay else 0.0
        answer = {"MessageId": queue.put(stored).id, "MD5OfMessageBody": md5(body)}
        return answer | ({"SequenceNumber": f"{stored.sequence:020d}"} if queue.fifo else {})

    async def _receive(self, queue: Queue, request: Json) -> Json:
        limit = whole(request, "MaxNumberOfMessages", 1, ENTRIES, least=1)
        wait = whole(request, "WaitTimeSeconds", int(queue.attributes["ReceiveMessageWaitTimeSeconds"]), 20)
        visibility = whole(request, "VisibilityTimeout", int(queue.attributes["VisibilityTimeout"]), LONGEST_HOLD)
        attempt = request.get("ReceiveRequestAttemptId")
        if attempt and (known := queue.again(attempt, visibility)) is not None:
            return {"Messages": [one.as_answer() for one in known]}
        until, dismissed = now() + wait, queue.dismissed
        while not (taken := queue.take(limit, visibility, lambda one: self._bury(queue, one))):
            news, left = queue.news, min(until, queue.visible_at()) - now()
            if now() >= until or queue.dismissed > dismissed or self.queues.get(queue.name) is not queue:
                return {}
            try:
                async with asyncio.timeout(left + 0.001):
                    await news.wait()
            except TimeoutError:
                pass
        if attempt:
            queue.remember(attempt, taken)
        return {"Messages": [one.as_answer() for one in taken]}

    def _bury(self, queue: Queue, one: Stored) -> bool:
        policy = json.loads(queue.attributes.get("RedrivePolicy") or "{}")
        if not policy or one.count < int(policy["maxReceiveCount"]):
            return False
        del queue.messages[one.id]
        one.handle = ""
        grave = self._named(policy["deadLetterTargetArn"].rpartition(":")[2])
        grave.messages[one.id] = one
        grave.wake()
        return True

    def end_polls(self) -> None:
        """Those that are open end now."""
        for queue in self.queues.values():
            queue.dismiss()

    def everything(self) -> Iterator[tuple[str, Stored]]:
        """Queue and message of all that has not been deleted."""
        for name, queue in self.queues.items():
            for one in queue.messages.values():
                yield name, one


def whole(request: Json, name: str, default: int, most: int, least: int = 0) -> int:
    value = request.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or not least <= value <= most:
        raise Refusal("InvalidParameterValue", f"Value {value} for parameter {name} is invalid.")
    return value
