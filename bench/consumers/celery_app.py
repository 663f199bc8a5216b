"""celery with kombu's SQS: ``celery -A celery_app worker -P threads -c 100``."""

from __future__ import annotations

import base64
import json
import sys

from celery import Celery
from marks import ACCESS_KEY, PAD, REGION, ROUTES, SECRET_KEY

(ROUTE,) = ROUTES.values()
login = {"url": ROUTE.url, "access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}
app = Celery("bench", broker="sqs://")
app.conf.update(
    task_default_queue=ROUTE.queue,
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=10,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "region": REGION,
        "predefined_queues": {ROUTE.queue: login},
        "wait_time_seconds": 20,
        "polling_interval": 0,
    },
)


@app.task(name="bench", queue=ROUTE.queue)
def bench(seq, pad):
    ROUTE.handle_in_thread({"seq": seq})


def body(seq: int) -> str:
    """As its own producer writes it: protocol 2, through kombu's virtual transport."""
    task = f"00000000-0000-4000-8000-{seq:012x}"
    payload = [[], {"seq": seq, "pad": PAD}, dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))]
    headers = {
        **dict.fromkeys(("shadow", "eta", "expires", "group", "group_index", "parent_id")),
        **{"lang": "py", "task": "bench", "id": task, "root_id": task, "retries": 0, "timelimit": [None, None]},
        **{"argsrepr": "()", "kwargsrepr": "{}", "origin": "bench", "ignore_result": True},
    }
    message = {
        "body": base64.b64encode(json.dumps(payload).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            **{"correlation_id": task, "reply_to": task, "delivery_tag": task, "delivery_mode": 2, "priority": 0},
            "delivery_info": {"exchange": "", "routing_key": ROUTE.queue},
            "body_encoding": "base64",
        },
    }
    return base64.b64encode(json.dumps(message).encode()).decode()


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        print(json.dumps(body(number)))
