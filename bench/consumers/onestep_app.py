"""onestep with onestep-sqs: boto3 in threads."""

from __future__ import annotations

import json

from botocore.config import Config
from marks import ACCESS_KEY, CONCURRENCY, ENDPOINT, REGION, ROUTES, SECRET_KEY
from onestep import OneStepApp
from onestep_sqs import SQSConnector

app = OneStepApp("bench")
options = {
    "endpoint_url": ENDPOINT,
    "aws_access_key_id": ACCESS_KEY,
    "aws_secret_access_key": SECRET_KEY,
    "config": Config(max_pool_connections=100),
}
connector = SQSConnector(region_name=REGION, options=options)


def declare(route):
    @app.task(source=connector.queue(route.url), name=f"bench-{route.queue}", concurrency=CONCURRENCY)
    async def bench(ctx, item):
        await route.handle(item if isinstance(item, dict) else json.loads(item))


for each in ROUTES.values():
    declare(each)
app.run()
