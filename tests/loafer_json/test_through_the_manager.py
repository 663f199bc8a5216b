"""Every component once through the real configuration, the real wiring and a real queue."""

import asyncio
import json

from loafer_core import Failure, Manager
from loafer_json import S3Event, S3Record

TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"


async def run(bodies, handler, **route):
    """Deliver the bodies; give the route's account once every one of them is settled."""
    failures = []

    def reject(failure: Failure) -> bool:
        failures.append(failure)
        return True

    provider = {"name": "memory", "messages": [body if isinstance(body, str) else json.dumps(body) for body in bodies]}
    config = {"routes": {"orders": {"provider": provider, "handler": handler, "error_handler": reject, **route}}}
    async with Manager.from_config(config) as manager:
        account = manager.accounts["orders"]
        async with asyncio.timeout(20):
            while account.acked < len(bodies):
                await asyncio.sleep(0.01)
    return failures


async def test_sns_hands_over_what_was_published_and_the_envelopes_facts(enveloped, s3_test_event):
    seen = []

    async def handle(payload: dict, metadata):
        seen.append((payload, metadata.get("sns", {}).get("topic_arn"), metadata["message_id"]))

    bodies = [enveloped({"id": 1}), {"id": 2}, enveloped(s3_test_event), enveloped("5")]
    failures = await run(bodies, handle, translator="sns", concurrency=1)

    assert [(payload, topic) for payload, topic, _ in seen] == [({"id": 1}, TOPIC), ({"id": 2}, None)]
    assert "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324" not in {id_ for *_, id_ in seen}
    assert [(failure.stage, str(failure.error)) for failure in failures] == [
        ("translate", "does not fit dict: it (dict_type)")
    ]


async def test_s3_hands_over_records(enveloped, s3_test_event):
    seen = []

    def handle(event: S3Event, metadata):
        seen.append((event.records, "s3" in metadata))

    record = {
        "eventName": "ObjectCreated:Put",
        "eventTime": "2026-11-20T00:00:00.125Z",
        "awsRegion": "us-west-2",
        "s3": {"bucket": {"name": "shop-uploads"}, "object": {"key": "a+b", "size": 5}},
    }
    bodies = [{"Records": [record]}, s3_test_event, enveloped({"Records": [record, record]})]
    failures = await run(bodies, handle, translator="s3", concurrency=1)

    assert failures == []
    assert [(len(records), enveloped) for records, enveloped in seen] == [(1, False), (2, True)]
    assert isinstance(seen[0][0][0], S3Record)
    assert seen[0][0][0].key == "a b"


async def test_eventbridge_hands_over_the_detail():
    seen = []

    async def handle(detail: dict[str, int], metadata):
        seen.append((detail, metadata["eventbridge"]["source"]))

    event = {"version": "0", "id": "6a7e8feb", "detail-type": "Order", "source": "shop", "detail": {"id": 1}}
    failures = await run([event], handle, translator={"name": "eventbridge", "other": "refuse"})

    assert failures == []
    assert seen == [({"id": 1}, "shop")]


async def test_sns_signature_lets_the_signed_pass_and_leaves_the_forged_to_the_error_handlers(
    enveloped, signer, tmp_path, no_network
):
    (tmp_path / "sns.pem").write_bytes(signer.certificate())
    seen = []

    async def handle(payload, metadata):
        seen.append((payload, metadata["sns_verified"]))

    middleware = {"name": "sns-signature", "topics": [TOPIC], "certificates": [str(tmp_path / "sns.pem")]}
    bodies = [signer.signed(enveloped("1"), "2"), enveloped("2"), "3"]
    failures = await run(bodies, handle, translator="sns", middleware=middleware, concurrency=1)

    assert seen == [(1, True)]
    assert [(failure.stage, str(failure.error).rpartition(": ")[2]) for failure in failures] == [
        ("middleware", "its signature does not fit"),
        ("middleware", "in no SNS envelope, so that nobody has signed it; require = false lets such pass"),
    ]
