"""The translators and the middleware keep their contracts."""

from __future__ import annotations

import json

import pytest

from loafer_core import Message
from loafer_core.testing import MiddlewareContract, TranslatorContract

TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"
FALSY = {"0": 0, '""': "", "[]": [], "{}": {}, "false": False, "null": None}
BAD = ("{'secret-4711': 1}", '{"secret-4711": ', b"\xff\xfesecret-4711", '["secret-4711"] extra')


def envelope(message: str, **more: object) -> str:
    facts = {"Type": "Notification", "MessageId": "6ef0b6c4", "TopicArn": TOPIC, "Message": message}
    return json.dumps(facts | {"Timestamp": "2026-01-01T00:00:00.000Z"} | more)


S3 = json.dumps(
    {
        "Records": [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "awsRegion": "eu-west-1",
                "eventTime": "2026-01-01T00:00:00.000Z",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "b"}, "object": {"key": "a+b.txt", "size": 3, "sequencer": "00"}},
            }
        ]
    }
)
EVENT = json.dumps(
    {
        "version": "0",
        "id": "6ef0b6c4",
        "detail-type": "Order Placed",
        "source": "shop",
        "account": "123456789012",
        "time": "2026-01-01T00:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {"order": 1},
    }
)


class TestJSON(TranslatorContract):
    component = "json"
    good = ('{"id": 1, "items": [1.5, null]}', b"[true]", '"text"')
    bad = BAD
    falsy = FALSY


class TestSNS(TranslatorContract):
    component = "sns"
    good = (envelope('{"id": 1}'), '{"raw": true}')
    bad = (*BAD, envelope('{"secret-4711": '))
    falsy = {envelope(body): payload for body, payload in FALSY.items()}


class TestS3(TranslatorContract):
    component = "s3"
    good = (S3, envelope(S3))
    bad = (*BAD, '{"Records": "secret-4711"}', '{"Records": [{"secret-4711": 1}]}', envelope('{"secret-4711": 1}'))


class TestEventBridge(TranslatorContract):
    component = "eventbridge"
    good = (EVENT, envelope(EVENT), '{"raw": true}')
    bad = BAD
    falsy = {json.dumps(json.loads(EVENT) | {"detail": payload}): payload for payload in FALSY.values()}


class TestSNSSignature(MiddlewareContract):
    component = "sns-signature"
    options = {"topics": [TOPIC], "require": False}
    passes = ("in no envelope", '{"raw": true}', Message("m-1", b"bytes", receive_count=1))
    refused = (envelope("not signed"), envelope("forged", Signature="AAAA", SignatureVersion="1"))

    @pytest.fixture(autouse=True)
    def _needs_cryptography(self) -> None:
        pytest.importorskip("cryptography")
