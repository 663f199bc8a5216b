"""The translator ``s3``: notifications with one record or several, straight or through SNS."""

import copy
import datetime as dt
import json
import logging
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_jsonable_python

from loafer_core import Ack, Settle, TranslationError
from loafer_json import S3Event, S3Record, newer

CANARY = "canary-4111-1111"
PUT = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "awsRegion": "us-west-2",
    "eventTime": "2026-11-20T00:00:00.125Z",
    "eventName": "ObjectCreated:Put",
    "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
    "requestParameters": {"sourceIPAddress": "127.0.0.1"},
    "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5"},
    "s3": {
        "s3SchemaVersion": "1.0",
        "configurationId": "testConfigRule",
        "bucket": {
            "name": "shop-uploads",
            "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
            "arn": "arn:aws:s3:::shop-uploads",
        },
        "object": {
            "key": "photos/Happy+Face%2B%C3%A4.jpg",
            "size": 1024,
            "eTag": "d41d8cd98f00b204e9800998ecf8427e",
            "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
            "sequencer": "0055AED6DCD90281E5",
        },
    },
}
DELETE = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "awsRegion": "us-west-2",
    "eventTime": "2026-11-20T00:00:01.000Z",
    "eventName": "ObjectRemoved:Delete",
    "s3": {
        "s3SchemaVersion": "1.0",
        "bucket": {"name": "shop-uploads", "arn": "arn:aws:s3:::shop-uploads"},
        "object": {"key": "a", "versionId": None, "sequencer": "0055AED6DCD90281E6"},
    },
}


def changed(*path, to=...):
    """Give a notification with something in its record changed, or left out."""
    record = copy.deepcopy(PUT)
    place = record
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = to
    if to is ...:
        del place[path[-1]]
    return {"Records": [record]}


async def test_a_notification_becomes_an_s3_event_with_every_record(translated, no_network):
    for annotation in None, S3Event:
        translation = await translated("s3", {"Records": [PUT, DELETE]}, annotation)
        assert translation.metadata == {}
        assert translation.payload == S3Event(
            (
                S3Record(
                    bucket="shop-uploads",
                    key="photos/Happy Face+ä.jpg",
                    size=1024,
                    etag="d41d8cd98f00b204e9800998ecf8427e",
                    version_id="096fKKXTRTtl3on89fVO.nfljtsv6qko",
                    sequencer="0055AED6DCD90281E5",
                    event_name="ObjectCreated:Put",
                    event_time=dt.datetime(2026, 11, 20, 0, 0, 0, 125000, tzinfo=dt.UTC),
                    region="us-west-2",
                ),
                S3Record(
                    bucket="shop-uploads",
                    key="a",
                    sequencer="0055AED6DCD90281E6",
                    event_name="ObjectRemoved:Delete",
                    event_time=dt.datetime(2026, 11, 20, 0, 0, 1, tzinfo=dt.UTC),
                    region="us-west-2",
                ),
            )
        )
        assert [record.raw for record in translation.payload.records] == [PUT, DELETE]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_key_is_what_the_object_is_called(key):
    notification = changed("s3", "object", "key", to=quote_plus(key))
    event = TypeAdapter(S3Event).validate_json(json.dumps(notification))
    assert event.records[0].key == key


async def test_an_event_can_be_hashed_compared_and_written_as_json(translated):
    event = (await translated("s3", {"Records": [PUT]})).payload
    assert len({event, (await translated("s3", {"Records": [PUT]})).payload}) == 1
    assert to_jsonable_python(event)["records"][0]["key"] == "photos/Happy Face+ä.jpg"


@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_a_notification_through_sns_is_taken_out_of_its_envelopes(translated, enveloped, depth, no_network):
    body = {"Records": [PUT]}
    for _ in range(depth):
        body = enveloped(body)
    translation = await translated("s3", body)
    assert translation.payload.records[0].bucket == "shop-uploads"
    assert translation.metadata["sns"]["topic_arn"] == "arn:aws:sns:us-east-1:123456789012:orders"
    assert ("inner" in translation.metadata["sns"]) is (depth > 1)


async def test_five_envelopes_are_too_many(translated, enveloped, no_network):
    body = {"Records": [PUT]}
    for _ in range(5):
        body = enveloped(body)
    with pytest.raises(TranslationError, match="more than 3 SNS envelopes"):
        await translated("s3", body)


async def test_topics_are_for_what_comes_through_sns_only(translated, enveloped):
    topics = ["arn:aws:sns:us-east-1:123456789012:orders"]
    assert (await translated("s3", enveloped({"Records": []}), topics=topics)).payload == S3Event(())
    with pytest.raises(TranslationError, match="its topic cannot be told"):
        await translated("s3", {"Records": []}, topics=topics)


async def test_another_annotation_gets_the_whole_notification(translated, enveloped):
    class Notification(BaseModel):
        Records: list[dict]

    for body in {"Records": [PUT]}, enveloped({"Records": [PUT]}):
        assert (await translated("s3", body, dict)).payload == {"Records": [PUT]}
        assert (await translated("s3", body, Notification)).payload == Notification(Records=[PUT])
        assert (await translated("s3", body, model="builtins:dict")).payload == {"Records": [PUT]}


async def test_an_s3_event_may_stand_within_another_type(translated, decoded):
    assert (await translated("s3", {"Records": []}, S3Event | None)).payload == S3Event(())
    assert await decoded(json.dumps({"Records": []}), S3Event) == S3Event(())


@pytest.mark.parametrize("annotation", [None, dict])
async def test_t67_the_test_event_is_acked_with_one_line(
    translated, enveloped, s3_test_event, annotation, caplog, no_network
):
    bodies = s3_test_event, enveloped(s3_test_event), enveloped(enveloped(enveloped(s3_test_event)))
    for body in bodies:
        caplog.clear()
        with caplog.at_level(logging.INFO), pytest.raises(Settle) as caught:
            await translated("s3", body, annotation)
        assert caught.value.outcome == Ack()
        (record,) = caplog.records
        assert record.getMessage() == "orders: message m-1 is S3's test event for bucket shop-uploads; acked"
        assert (record.levelno, record.route, record.message_id) == (logging.INFO, "orders", "m-1")


@pytest.mark.parametrize(
    "odd", [{"Records": [PUT]}, {"Bucket": "shop\nuploads"}, {"Bucket": None}, {"Event": "s3:Other"}]
)
async def test_what_only_resembles_the_test_event_is_not_acked(translated, s3_test_event, odd):
    if "Records" in odd:
        assert (await translated("s3", s3_test_event | odd)).payload.records[0].bucket == "shop-uploads"
    else:
        with pytest.raises(TranslationError, match="no S3 notification"):
            await translated("s3", s3_test_event | odd)


@pytest.mark.parametrize(
    "body", ["", CANARY, "null", "[]", "5", f'"{CANARY}"', "{}", '{"Records": {}}', '{"records": []}']
)
@pytest.mark.parametrize("annotation", [None, dict, str])
async def test_what_is_no_notification_is_an_error(translated, enveloped, body, annotation):
    for wrapped in body, enveloped(body):
        with pytest.raises(TranslationError, match=r"^no S3 notification: it has no list of Records$"):
            await translated("s3", wrapped, annotation)


@pytest.mark.parametrize(
    ("notification", "place"),
    [
        (changed("s3"), "Records.0.s3.bucket.name (missing), Records.0.s3.object.key (missing)"),
        (changed("s3", "bucket", to=CANARY), "Records.0.s3.bucket.name (missing)"),
        (changed("s3", "object", "key", to=5), "Records.0.s3.object.key (string_type)"),
        (changed("s3", "object", "key", to=f"{CANARY}%C3"), "Records.0.s3.object.key (value_error)"),
        (changed("s3", "object", "size", to=CANARY), "Records.0.s3.object.size (int_parsing)"),
        (changed("eventTime", to="2026-11-20T00:00:00"), "Records.0.eventTime (timezone_aware)"),
        (changed("eventName"), "Records.0.eventName (missing)"),
        (changed("awsRegion", to={CANARY: 1}), "Records.0.awsRegion (string_type)"),
        ({"Records": [PUT, CANARY]}, "Records.1 (dataclass_type)"),
    ],
)
async def test_a_record_that_is_not_s3s_is_told_by_place_and_kind_only(translated, notification, place):
    with pytest.raises(TranslationError) as caught:
        await translated("s3", notification)
    assert str(caught.value) == f"does not fit S3Event: {place}"
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("0055AED6DCD90281E6", "0055AED6DCD90281E5"),
        ("0055AED6DCD90281E5F", "0055AED6DCD90281E5"),
        ("55AED6DCD90281E6", "0055AED6DCD90281E5"),
        ("A", "9"),
        ("0b", "A"),
        ("10", "F"),
    ],
)
def test_newer_compares_sequencers_as_hexadecimal_numbers_of_any_length(a, b):
    assert newer(a, b)
    assert not newer(b, a)


def test_newer_is_false_for_the_same_event_however_it_is_padded():
    assert not newer("0055AED6", "55AED6")
    assert not newer("55aed6", "0055AED6")


def test_newer_refuses_what_is_no_sequencer():
    with pytest.raises(ValueError, match="invalid literal"):
        newer("latest", "0055AED6")
