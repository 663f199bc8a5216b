"""olist-loafer, tuned: receive 10, long polls, one shared client, as many workers as there may be handlers."""

from __future__ import annotations

import asyncio
import logging

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from loafer.ext.aws.routes import SQSRoute
from loafer.managers import LoaferManager
from marks import ACCESS_KEY, CONCURRENCY, ENDPOINT, REGION, ROUTES, SECRET_KEY

LOGIN = {
    "endpoint_url": ENDPOINT,
    "region_name": REGION,
    "aws_access_key_id": ACCESS_KEY,
    "aws_secret_access_key": SECRET_KEY,
    "use_ssl": False,
}


def handler_of(route):
    async def handle(content, metadata):
        await route.handle(content)
        return True

    return handle


logging.basicConfig(level=logging.WARNING)
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
context = get_session().create_client("sqs", config=AioConfig(max_pool_connections=200), **LOGIN)
client = loop.run_until_complete(context.__aenter__())
options = {**LOGIN, "client": client, "options": {"MaxNumberOfMessages": 10, "WaitTimeSeconds": 20}}
routes = [SQSRoute(route.queue, options, handler=handler_of(route), name=route.queue) for route in ROUTES.values()]
LoaferManager(routes, workers=CONCURRENCY, queue_size=CONCURRENCY).run()
