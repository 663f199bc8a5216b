"""boto's clients for the test's own side of a queue."""

from __future__ import annotations

from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession


def sqs_client(endpoint: str, who: str = "test", read_timeout: float = 30.0) -> Any:
    """An async context manager: a client that tries everything once. ``who`` is its access key."""
    config = AioConfig(retries={"total_max_attempts": 1}, read_timeout=read_timeout, proxies={})
    keys = {"aws_access_key_id": who, "aws_secret_access_key": "secret"}
    return AioSession().create_client("sqs", endpoint_url=endpoint, region_name="us-east-1", config=config, **keys)
