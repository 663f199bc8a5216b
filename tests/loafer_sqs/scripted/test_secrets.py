"""Nobody's keys, bodies, attributes or receipts in a log, a repr or an error, whatever the log level."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import sys
import traceback

import pytest

from loafer_core import LoaferError
from loafer_sqs import SNSPublisher, SNSPublishOptions, SQSOptions, SQSProvider, SQSPublisher, SQSPublishOptions

KEYS = {
    "aws_access_key_id": "canary-key-id",
    "aws_secret_access_key": "canary-secret",
    "aws_session_token": "canary-token",
}
BODY = "canary-body"
ENTRY = {
    "MessageId": "id-1",
    "ReceiptHandle": "canary-receipt",
    "Body": BODY,
    "MD5OfBody": hashlib.md5(BODY.encode(), usedforsecurity=False).hexdigest(),
    "MessageAttributes": {"tenant": {"DataType": "String", "StringValue": "canary-attribute"}},
}


@pytest.fixture
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    for name in ("botocore", "aiobotocore", "aiohttp"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    caplog.set_level(logging.DEBUG)
    return caplog


async def _use(provider: SQSProvider, publisher: SQSPublisher, announcer: SNSPublisher) -> list[str]:
    """Do everything once, and give what was raised, with tracebacks."""
    [message] = await provider.receive(1)
    texts = [repr(message), repr(message.receipt), repr(provider), repr(provider.traits), repr(publisher)]
    texts.append(repr(announcer))
    for call in (
        lambda: provider.ack([message]),
        lambda: provider.nack({message: 5.0}),
        lambda: provider.extend([message]),
        lambda: provider.reject([message], "bad"),
        lambda: provider.publish(BODY, {"tenant": "canary-attribute"}),
        lambda: publisher.handle(BODY, {"message_id": "i", "attributes": {"tenant": "canary-attribute"}}),
        lambda: announcer.handle(BODY, {"message_id": "i", "attributes": {"tenant": "canary-attribute"}}),
    ):
        try:
            await call()
        except LoaferError as error:
            texts += traceback.format_exception(error)
    return texts


@pytest.mark.parametrize("well", [True, False])
async def test_no_secret_is_shown_at_debug_whether_it_goes_well_or_not(scripted, context, everything_is_logged, well):
    policy = '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": 3}'
    scripted.on("GetQueueAttributes", {"Attributes": {"RedrivePolicy": policy, "VisibilityTimeout": "30"}})
    scripted.on("ReceiveMessage", {"Messages": [ENTRY, {**ENTRY, "MD5OfBody": "0" * 32}]})
    for name in ("DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessageBatch"):
        failed = [{"Id": "0", "SenderFault": True, "Code": "InternalError", "Message": "canary-receipt"}]
        taken = {"Id": "0", "MessageId": "m", "MD5OfMessageBody": ENTRY["MD5OfBody"]}
        scripted.on(name, {"Successful": [taken]} if well else {"Failed": failed})
    refusal = scripted.error("SignatureDoesNotMatch", 403, "canary-token canary-body canary-receipt")
    scripted.on("PublishBatch", scripted.taken if well else refusal)
    options = {"region_name": "us-east-1", "endpoint_url": scripted.endpoint, **KEYS}
    provider = SQSProvider(SQSOptions(queue="orders", **options))
    publisher = SQSPublisher(SQSPublishOptions(queue="orders", **options))
    announcer = SNSPublisher(SNSPublishOptions(topic="arn:aws:sns:us-east-1:123456789012:orders", **options))
    for one in (provider, publisher, announcer):
        await one.open(context)

    texts = await _use(provider, publisher, announcer)

    texts += [repr(key) for key in context.opened] + [repr(value) for value in context.opened.values()]
    shown = everything_is_logged.text + "\n".join(texts)
    assert "loafer.sqs" in shown
    assert [line for line in shown.splitlines() if "canary" in line] == []


async def test_boto_may_speak_when_it_is_asked_to(scripted, context, connect_to, everything_is_logged, monkeypatch):
    monkeypatch.setenv("LOAFER_DEBUG_AWS", "1")

    await SQSProvider(SQSOptions(queue="orders", **connect_to(scripted.endpoint))).open(context)

    assert {record.name.partition(".")[0] for record in everything_is_logged.records} >= {"botocore", "loafer"}


@pytest.mark.parametrize("asked_for", [True, False])
async def test_the_command_line_lets_boto_speak_only_when_it_is_asked_to(scripted, asked_for, tmp_path):
    scripted.on("GetQueueUrl", scripted.error("AccessDenied", 403))
    keys = {"region_name": "us-east-1", "endpoint_url": scripted.endpoint, **KEYS}
    options = "".join(f", {name} = {json.dumps(value)}" for name, value in keys.items())
    provider = f'{{ name = "sqs", queue = "orders"{options} }}'
    (tmp_path / "loafer.toml").write_text(f'[routes.orders]\nprovider = {provider}\nhandler = "builtins:print"\n')
    environment = os.environ | ({"LOAFER_DEBUG_AWS": "1"} if asked_for else {})
    command = [sys.executable, "-c", "from loafer_core.cli import main; main()", "run", "--log-level", "debug"]

    process = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, shown = await process.communicate()

    assert process.returncode == 78
    assert (b"canary-token" in shown) is asked_for
