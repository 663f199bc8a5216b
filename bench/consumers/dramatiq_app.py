"""dramatiq with dramatiq-sqs, async actors: ``dramatiq dramatiq_app -p 1 -t 100``."""

from __future__ import annotations

import json
import sys
from base64 import b64encode

import dramatiq
from dramatiq.middleware import AsyncIO, default_middleware
from dramatiq_sqs import SQSBroker
from marks import ACCESS_KEY, ENDPOINT, PAD, REGION, ROUTES, SECRET_KEY

dramatiq.set_broker(
    SQSBroker(
        middleware=[*(kind() for kind in default_middleware if kind.__name__ != "Prometheus"), AsyncIO()],
        endpoint_url=ENDPOINT,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
)


def declare(route):
    @dramatiq.actor(queue_name=route.queue, actor_name=f"bench-{route.queue}")
    async def bench(seq, pad):
        await route.handle({"seq": seq})

    return bench


ACTORS = {route.queue: declare(route) for route in ROUTES.values()}

if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        print(json.dumps(b64encode(ACTORS[sys.argv[2]].message(number, PAD).encode()).decode()))
