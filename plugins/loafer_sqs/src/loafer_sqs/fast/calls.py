"""The two hot operations, ReceiveMessage and DeleteMessageBatch, on a shorter way through the SDK.

For each queue the SDK makes one request of each that is not sent: it is the example for all that follow. These are
signed here, sent by the client's own HTTP session (its pool, timeouts, proxy and TLS), and read here if the answer is
plain. Everything else, errors among it, goes through the SDK's parser, retry policy and exceptions.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.parsers import create_parser
from botocore.retries.quota import RetryQuota

from loafer_sqs.fast.answer import read
from loafer_sqs.fast.request import Template, Unusual, body_of, stamp_of, template_of
from loafer_sqs.fast.session import Answer, FastSession

logger = logging.getLogger("loafer.sqs")

HOT: Mapping[str, str] = {"receive_message": "ReceiveMessage", "delete_message_batch": "DeleteMessageBatch"}
"""Methods of the client that are called all the time, and their operations."""

_example: contextvars.ContextVar[tuple[str, Mapping[str, Any]] | None] = contextvars.ContextVar("example", default=None)
"""Method and parameters of a call that is made to be looked at."""


class _Body:
    """The body of an answer that was read already, or that nobody gave."""

    def __init__(self, body: bytes = b"{}") -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body


class FastCalls:
    """Calls of one client. ``unusual`` is told, once, what the SDK does and we do not; then all is left to the SDK."""

    def __init__(self, client: Any, session: FastSession, credentials: Any, unusual: Callable[[str], None]) -> None:
        self._client, self._session, self._credentials, self._tell = client, session, credentials, unusual
        self._templates: dict[tuple[str, str], Template] = {}
        self._most_attempts = client.meta.config.retries["total_max_attempts"]
        self._is_usual = True
        self._owes = 0
        self._models = {
            method: client.meta.service_model.operation_model(operation) for method, operation in HOT.items()
        }
        self._parser = create_parser(client.meta.service_model.resolved_protocol)
        for operation in HOT.values():
            client.meta.events.register(f"before-send.sqs.{operation}", self._look)

    async def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """Give and raise what ``getattr(client, method)(**parameters)`` would."""
        key = method, parameters["QueueUrl"]
        if self._is_usual and key not in self._templates:
            await self._learn(method, parameters)
        if self._is_usual and (template := self._templates.get(key)) is not None:
            return await self._exchange(method, template, parameters)
        answer: dict[str, Any] = await getattr(self._client, method)(**parameters)
        return answer

    async def _learn(self, method: str, parameters: Mapping[str, Any]) -> None:
        token = _example.set((method, parameters))
        try:
            await getattr(self._client, method)(**parameters)
        finally:
            _example.reset(token)

    async def _look(self, request: Any, **_: Any) -> AioAWSResponse | None:
        """Called by the SDK when a request is ready to be sent. An answer from here is the request's answer."""
        if (example := _example.get()) is None:
            return None
        method, parameters = example
        try:
            template = template_of(request, parameters, await self._credentials.get_frozen_credentials())
        except Unusual as unusual:
            if self._is_usual:
                self._is_usual = False
                self._tell(str(unusual))
        else:
            if template is not None:
                self._templates[method, parameters["QueueUrl"]] = template
        return AioAWSResponse(request.url, 200, {}, _Body())

    async def _exchange(self, method: str, template: Template, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """One call with its retries, as ``AioEndpoint`` makes it."""
        model, body = self._models[method], body_of(parameters)
        retries: dict[str, Any] = {"attempt": 1, "invocation-id": str(uuid.uuid4())}
        context: dict[str, Any] = {"retries": retries}
        while True:
            http, parsed, error = await self._attempt(method, template, body, retries)
            if error is None and http.status < 300:
                break
            delay = await self._retry_after(model, http, parsed, error, context)
            if delay is None:
                break
            await asyncio.sleep(delay)
            retries["attempt"] += 1
        if error is not None:
            raise error
        return await self._outcome(model, http, parsed, context)

    async def _outcome(
        self, model: Any, http: Answer, parsed: dict[str, Any], context: dict[str, Any]
    ) -> dict[str, Any]:
        """Give the answer with what the SDK notes on it, or raise the error that it is."""
        attempts = context["retries"]["attempt"]
        metadata = parsed.setdefault("ResponseMetadata", {})
        metadata["RetryAttempts"] = attempts - 1
        if attempts >= self._most_attempts:
            metadata["MaxAttemptsReached"] = True  # so the SDK says of good answers, too
        if self._owes:
            # Its handlers matter after trouble only: they refill the quota of retries, one for each good call, and
            # find the code of an error.
            self._owes -= 1
            response = _response(http)
            await self._client.meta.events.emit(
                f"after-call.sqs.{model.name}", http_response=response, parsed=parsed, model=model, context=context
            )
        if http.status >= 300:
            code = context.get("error_code_override") or parsed.get("Error", {}).get("Code")
            raise self._client.exceptions.from_code(code)(parsed, model.name)
        return parsed

    async def _attempt(
        self, method: str, template: Template, body: bytes, retries: Mapping[str, Any]
    ) -> tuple[Answer, dict[str, Any], Exception | None]:
        """Give the answer, HTTP's and its content, or why there is none. Raises what a retry would not help."""
        credentials = await self._credentials.get_frozen_credentials()
        headers = template.signed(body, stamp_of(int(time.time())), credentials)
        headers["amz-sdk-invocation-id"] = retries["invocation-id"]
        headers["amz-sdk-request"] = "; ".join(
            f"{name}={retries[name]}" for name in ("attempt", "max") if name in retries
        )
        try:
            http = await self._session.post(template.url, headers, body)
        except Exception as error:
            return _NOBODY, {}, error
        return http, await self._read(method, http), None

    async def _read(self, method: str, http: Answer) -> dict[str, Any]:
        parsed = read(method, http.body) if http.status == 200 else None
        if parsed is None:
            return await self._parse(self._models[method], http)
        metadata: dict[str, Any] = {"HTTPStatusCode": http.status, "HTTPHeaders": http.headers}
        if "x-amzn-requestid" in http.headers:
            metadata["RequestId"] = http.headers["x-amzn-requestid"]
        parsed["ResponseMetadata"] = metadata
        return parsed

    async def _parse(self, model: Any, http: Answer) -> dict[str, Any]:
        response = {
            "status_code": http.status,
            "headers": http.headers,
            "body": http.body,
            "context": {"operation_name": model.name},
        }
        parsed: dict[str, Any] = await self._parser.parse(response, model.output_shape)
        if http.status >= 300:
            code = parsed.get("Error", {}).get("Code")
            shape = None if code is None else model.service_model.shape_for_error_code(code)
            if shape is not None:
                parsed.update(await self._parser.parse(response, shape))
        return parsed

    async def _retry_after(
        self,
        model: Any,
        http: Answer,
        parsed: dict[str, Any],
        error: Exception | None,
        context: dict[str, Any],
    ) -> float | None:
        """Ask the client's retry policy; gives seconds."""
        self._owes = RetryQuota.INITIAL_CAPACITY
        said = await self._client.meta.events.emit(
            f"needs-retry.sqs.{model.name}",
            response=None if error is not None else (_response(http), parsed),
            endpoint=None,
            operation=model,
            attempts=context["retries"]["attempt"],
            caught_exception=error,
            request_dict={"context": context},
        )
        return next((delay for _, delay in said if delay is not None and delay is not False), None)


_NOBODY = Answer("", 0, {}, b"")


def _response(http: Answer) -> AioAWSResponse:
    """What the SDK's own handlers expect."""
    return AioAWSResponse(http.url, http.status, http.headers, _Body(http.body))
