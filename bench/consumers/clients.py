"""SQS clients behind one small interface: receive, delete, release."""

from __future__ import annotations

import abc
import hashlib
import hmac
import json
import time
from typing import Any, Self

from marks import ACCESS_KEY, ENDPOINT, REGION, SECRET_KEY


class Client(abc.ABC):
    """A way to call SQS."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:  # noqa: B027 - most have nothing to close
        """Close what was opened."""

    @abc.abstractmethod
    async def call(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]: ...

    async def receive(self, url: str, wait: int) -> list[dict[str, Any]]:
        parameters = {"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": wait}
        return (await self.call("ReceiveMessage", parameters)).get("Messages", [])

    async def delete(self, url: str, receipts: list[str]) -> None:
        entries = [{"Id": str(at), "ReceiptHandle": receipt} for at, receipt in enumerate(receipts)]
        answer = await self.call("DeleteMessageBatch", {"QueueUrl": url, "Entries": entries})
        if answer.get("Failed"):
            raise RuntimeError(answer)

    async def release(self, url: str, receipts: list[str]) -> None:
        entries = [
            {"Id": str(at), "ReceiptHandle": receipt, "VisibilityTimeout": 0} for at, receipt in enumerate(receipts)
        ]
        await self.call("ChangeMessageVisibilityBatch", {"QueueUrl": url, "Entries": entries})


class AiobotocoreClient(Client):
    """One shared client of aiobotocore, as it is but for the size of its pool."""

    async def __aenter__(self) -> Self:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        self._context = get_session().create_client(
            "sqs",
            region_name=REGION,
            endpoint_url=ENDPOINT,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=AioConfig(max_pool_connections=200),
        )
        client = await self._context.__aenter__()
        self._calls = {
            "ReceiveMessage": client.receive_message,
            "DeleteMessageBatch": client.delete_message_batch,
            "ChangeMessageVisibilityBatch": client.change_message_visibility_batch,
        }
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._context.__aexit__(*error)

    async def call(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return await self._calls[action](**parameters)


class AiohttpClient(Client):
    """aiohttp and a signature of our own: what is left without botocore, and without what botocore does for one."""

    async def __aenter__(self) -> Self:
        import aiohttp

        try:
            import orjson

            self._dumps, self._loads = orjson.dumps, orjson.loads
        except ImportError:
            self._dumps, self._loads = lambda value: json.dumps(value).encode(), json.loads
        self._host = ENDPOINT.removeprefix("http://")
        self._signer = Signer()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=200), skip_auto_headers=("Accept-Encoding", "User-Agent", "Accept")
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def call(self, action: str, parameters: dict[str, Any]) -> dict[str, Any]:
        body = self._dumps(parameters)
        headers = self._signer.headers(self._host, f"AmazonSQS.{action}", body)
        async with self._session.post(f"{ENDPOINT}/", data=body, headers=headers) as response:
            data = await response.read()
            if response.status != 200:
                raise RuntimeError(data)
            return self._loads(data)


class Signer:
    """AWS Signature Version 4 for one service and region; the key of the day is kept."""

    def __init__(self) -> None:
        self._day, self._key = "", b""

    def headers(self, host: str, target: str, body: bytes) -> dict[str, str]:
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        if now[:8] != self._day:
            self._day, self._key = now[:8], f"AWS4{SECRET_KEY}".encode()
            for part in (self._day, REGION, "sqs", "aws4_request"):
                self._key = hmac.digest(self._key, part.encode(), "sha256")
        scope = f"{self._day}/{REGION}/sqs/aws4_request"
        signed = "content-type;host;x-amz-date;x-amz-target"
        canonical = (
            f"POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:{host}\nx-amz-date:{now}\nx-amz-target:{target}\n\n"
            f"{signed}\n{hashlib.sha256(body).hexdigest()}"
        )
        to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        return {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": target,
            "X-Amz-Date": now,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={signed}, "
            f"Signature={signature}",
        }


CLIENTS = {"aiobotocore": AiobotocoreClient, "aiohttp": AiohttpClient}
