"""taskiq with taskiq-aio-sqs: ``taskiq worker taskiq_app:broker``."""

from __future__ import annotations

import json
import logging
import sys

from marks import ACCESS_KEY, ENDPOINT, PAD, REGION, ROUTES, SECRET_KEY
from taskiq.message import TaskiqMessage
from taskiq_aio_sqs import SQSBroker

(ROUTE,) = ROUTES.values()
broker = SQSBroker(
    ROUTE.queue,
    endpoint_url=ENDPOINT,
    region_name=REGION,
    aws_access_key_id=ACCESS_KEY,
    aws_secret_access_key=SECRET_KEY,
    wait_time_seconds=20,
    max_number_of_messages=10,
)


@broker.task(task_name="bench")
async def bench(seq: int, pad: str) -> None:
    await ROUTE.handle({"seq": seq})


def body(seq: int) -> str:
    """As its own producer writes it."""
    words = {"task_id": f"{seq:032x}", "task_name": "bench", "labels": {}, "args": []}
    return broker.formatter.dumps(TaskiqMessage(**words, kwargs={"seq": seq, "pad": PAD})).message.decode()


if __name__ == "__main__":
    logging.disable()
    for number in range(int(sys.argv[1])):
        print(json.dumps(body(number)))
