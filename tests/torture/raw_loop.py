"""What Loafer is compared with: the loop that most services begin with. Receive, handle side by side, delete.

    python raw_loop.py ENDPOINT QUEUE

What fails, or is cut off by a signal, comes again when its visibility timeout ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

from aiobotocore.session import get_session

_log = os.open(os.environ["TORTURE_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(event: str, message: Any, outcome: str = "") -> None:
    facts = {"at": time.monotonic(), "who": os.environ["TORTURE_WHO"], "event": event, "outcome": outcome}
    count = int(message["Attributes"]["ApproximateReceiveCount"])
    facts |= {"message_id": message["MessageId"], "receive_count": count, "group": None, "route": "raw", "lost": False}
    os.write(_log, (json.dumps(facts) + "\n").encode())


async def handle(sqs: Any, url: str, message: Any) -> None:
    note("start", message)
    await asyncio.sleep(json.loads(message["Body"])["sleep"])
    note("end", message, "ok")
    await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


async def main(endpoint: str, queue: str) -> None:
    async with get_session().create_client("sqs", endpoint_url=endpoint, region_name="us-east-1") as sqs:
        url = (await sqs.get_queue_url(QueueName=queue))["QueueUrl"]
        print("running: raw", flush=True)
        while True:
            answer = await sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, AttributeNames=["ApproximateReceiveCount"]
            )
            messages = answer.get("Messages", [])
            results = await asyncio.gather(*(handle(sqs, url, message) for message in messages), return_exceptions=True)
            for result in results:
                if result is not None:
                    print(f"failed: {result!r}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
