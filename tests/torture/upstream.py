"""Somebody else's SQS behind a FakeSQS, which then injects the faults and keeps the log."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
from torture.fake_queues import Json, Refusal


class Upstream:
    """A backend for FakeSQS that asks another server."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url, self._session = url, session
        self.endpoint = url

    def end_polls(self) -> None:
        """They end by themselves."""

    async def call(self, operation: str, request: Json) -> Json:
        """Give the answer; raises Refusal."""
        credential = "Credential=test/20260101/us-east-1/sqs/aws4_request"
        headers = {
            "X-Amz-Target": f"AmazonSQS.{operation}",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0",
        }
        async with self._session.post(self._url, data=json.dumps(request), headers=headers) as answer:
            body: dict[str, Any] = json.loads(await answer.text() or "{}")
        if answer.status == 200:
            return body
        code = str(body.get("__type", "Unknown")).rpartition("#")[2].rpartition(".")[2]
        raise Refusal(code, str(body.get("message") or body.get("Message") or ""), answer.status)
