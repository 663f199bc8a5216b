"""The translator ``sns``: envelopes, raw delivery, what is neither."""

import datetime as dt
import json
import logging
import time

import boto3
import pytest
from moto import mock_aws
from pydantic import BaseModel, ValidationError

from loafer_core import Ack, ConfigError, Settle, TranslationError
from loafer_json import SNSOptions

TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"
OTHER = "arn:aws:sns:us-east-1:123456789012:returns"
CANARY = "canary-4111-1111"


class Order(BaseModel):
    id: int


AS_AWS_WRITES_IT = """{
  "Type" : "Notification",
  "MessageId" : "dc1e94d9-56c5-5e96-808d-cc7f68faa162",
  "SequenceNumber" : "10000000000000003000",
  "TopicArn" : "arn:aws:sns:us-east-1:123456789012:orders.fifo",
  "Subject" : "One more",
  "Message" : "{\\"id\\": 1}",
  "Timestamp" : "2026-11-20T22:14:15.678Z",
  "UnsubscribeURL" : "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:x",
  "MessageAttributes" : {
    "store" : {"Type":"String","Value":"example_corp"},
    "price" : {"Type":"Number","Value":"100.10"},
    "tags" : {"Type":"String.Array","Value":"[\\"soccer\\", \\"rugby\\"]"},
    "photo" : {"Type":"Binary","Value":"AP/+"}
  }
}"""


async def test_t67_an_envelope_is_opened_and_its_facts_are_told(translated, no_network):
    translation = await translated("sns", AS_AWS_WRITES_IT, Order)

    assert translation.payload == Order(id=1)
    assert translation.metadata == {
        "type": "Notification",
        "topic_arn": "arn:aws:sns:us-east-1:123456789012:orders.fifo",
        "message_id": "dc1e94d9-56c5-5e96-808d-cc7f68faa162",
        "subject": "One more",
        "timestamp": dt.datetime(2026, 11, 20, 22, 14, 15, 678000, tzinfo=dt.UTC).timestamp(),
        "sequence_number": "10000000000000003000",
        "attributes": {
            "store": "example_corp",
            "price": "100.10",
            "tags": '["soccer", "rugby"]',
            "photo": b"\x00\xff\xfe",
        },
    }


async def test_what_a_plain_envelope_does_not_have_is_none_or_not_there(translated, enveloped):
    metadata = (await translated("sns", enveloped("1"))).metadata
    assert metadata["subject"] is None
    assert metadata["attributes"] == {}
    assert "sequence_number" not in metadata
    assert "inner" not in metadata


async def test_facts_are_read_only(translated, enveloped):
    with pytest.raises(TypeError):
        (await translated("sns", enveloped("1"))).metadata["attributes"]["a"] = "b"


async def test_what_moto_puts_into_a_queue_is_opened(translated):
    keys = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    with mock_aws():
        sns, sqs = boto3.client("sns", **keys), boto3.client("sqs", **keys)
        topic = sns.create_topic(Name="orders")["TopicArn"]
        for name, raw in ("enveloped", "false"), ("raw", "true"):
            queue = sqs.create_queue(QueueName=name)["QueueUrl"]
            arn = f"arn:aws:sqs:us-east-1:123456789012:{name}"
            attributes = {"RawMessageDelivery": raw}
            sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes)
        photo = {"photo": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}
        id_ = sns.publish(TopicArn=topic, Message='{"id": 1}', MessageAttributes=photo)["MessageId"]
        bodies = []
        for name in "enveloped", "raw":
            queue = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            bodies += [message["Body"] for message in sqs.receive_message(QueueUrl=queue)["Messages"]]

    enveloped, raw = [await translated("sns", body, Order) for body in bodies]

    assert enveloped.payload == raw.payload == Order(id=1)
    assert enveloped.metadata["message_id"] == id_
    assert enveloped.metadata["topic_arn"] == topic
    assert enveloped.metadata["attributes"] == {"photo": b"\x00\xff"}
    assert raw.metadata == {}


@pytest.mark.parametrize(
    ("message", "payload"), [("0", 0), ('""', ""), ("null", None), ("[]", []), ("{}", {}), ("false", False)]
)
async def test_an_empty_value_is_content_like_any_other(translated, enveloped, message, payload):
    for body in enveloped(message), message:
        translation = await translated("sns", body)
        assert translation.payload == payload
        assert type(translation.payload) is type(payload)


@pytest.mark.parametrize("message", ["", " ", "0", "null", "plain", '{"id": 1', "ä\n\x00"])
async def test_format_text_hands_out_the_text_as_it_is(translated, enveloped, message):
    for body in enveloped(message), message, message.encode():
        assert (await translated("sns", body, format="text")).payload == message


async def test_format_text_refuses_what_is_no_text(translated):
    with pytest.raises(TranslationError, match=r"^the body is not UTF-8$") as caught:
        await translated("sns", CANARY.encode() + b"\xff", format="text")
    assert caught.value.__context__ is None


async def test_model_gives_the_inner_type_and_needs_json(translated, enveloped, opened):
    translation = await translated("sns", enveloped('"2026-01-02"'), model="datetime:date")
    assert translation.payload == dt.date(2026, 1, 2)
    with pytest.raises(ConfigError, match="no_such_module"):
        await opened(None, "sns", model="no_such_module:Order")
    with pytest.raises(ValidationError, match="model needs format = 'json'"):
        SNSOptions(format="text", model="datetime:date")


async def test_an_inner_misfit_is_told_as_json_tells_it(translated, enveloped):
    with pytest.raises(TranslationError, match=r"^does not fit Order: id \(int_parsing\)$"):
        await translated("sns", enveloped({"id": CANARY}), Order)
    with pytest.raises(TranslationError, match=r"^not JSON: "):
        await translated("sns", enveloped(CANARY), Order)


@pytest.mark.parametrize(
    "body",
    [
        {"id": 1},
        {"Type": "Notification", "Message": "1"},
        {"Type": "Notification", "TopicArn": TOPIC},
        {"Type": "Notification", "TopicArn": TOPIC, "Message": {"id": 1}},
        {"Type": "Notification", "TopicArn": [TOPIC], "Message": "1"},
        {"Type": "notification", "TopicArn": TOPIC, "Message": "1"},
        {"Type": ["Notification"], "TopicArn": TOPIC, "Message": "1"},
        ["Notification"],
        "Notification",
    ],
)
async def test_what_has_not_the_shape_of_an_envelope_is_raw(translated, body):
    translation = await translated("sns", json.dumps(body))
    assert (translation.payload, translation.metadata) == (body, {})
    with pytest.raises(TranslationError, match=r"^in no SNS envelope; raw = 'accept'"):
        await translated("sns", json.dumps(body), raw="refuse")


async def test_max_bytes_is_of_the_whole_body_raw_or_not(translated, enveloped):
    for body in json.dumps(enveloped("x" * 100)), "x" * 100:
        with pytest.raises(TranslationError, match="bytes are more than max_bytes = 99"):
            await translated("sns", body, max_bytes=99, format="text")


async def test_only_the_topics_that_are_named_are_read(translated, enveloped):
    assert (await translated("sns", enveloped("1"), topics=[OTHER, TOPIC])).payload == 1
    with pytest.raises(TranslationError, match=rf"of {TOPIC}: the topic is not one of this route's topics$"):
        await translated("sns", enveloped("1"), topics=[OTHER])


async def test_topics_refuse_raw_delivery_for_it_does_not_tell_the_topic(translated):
    with pytest.raises(TranslationError, match="its topic cannot be told"):
        await translated("sns", "1", topics=[TOPIC], raw="accept")


@pytest.mark.parametrize("topic", ["orders", "arn:aws:sqs:us-east-1:123456789012:orders", f"{TOPIC}:c9135db0", ""])
def test_a_topic_that_is_no_arn_of_a_topic_is_a_configuration_error(topic):
    with pytest.raises(ValidationError, match="no topic's ARN, such as arn:aws:sns:"):
        SNSOptions(topics=[topic])


@pytest.mark.parametrize("kind", ["sns", "s3", "eventbridge"])
@pytest.mark.parametrize("type_", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
async def test_t67_a_control_message_is_an_error_and_its_url_is_left_alone(
    translated, confirmation, kind, type_, no_network
):
    with pytest.raises(TranslationError) as caught:
        await translated(kind, confirmation(Type=type_))
    text = str(caught.value)
    assert text.startswith(f"SNS {type_} 22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324 of {TOPIC}: no notification")
    assert "control = 'ignore'" in text
    assert "http" not in text
    assert "2336412f37fb" not in text


@pytest.mark.parametrize("kind", ["sns", "s3", "eventbridge"])
async def test_a_control_message_is_acked_with_one_line_if_told_so(translated, confirmation, kind, caplog, no_network):
    with caplog.at_level(logging.INFO), pytest.raises(Settle) as caught:
        await translated(kind, confirmation(), control="ignore")

    assert caught.value.outcome == Ack()
    (record,) = caplog.records
    assert record.getMessage() == (
        f"orders: message m-1 is an SNS SubscriptionConfirmation 22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324 of {TOPIC}; "
        "ignored and acked"
    )
    assert (record.route, record.message_id) == ("orders", "m-1")


async def test_a_control_message_of_a_foreign_topic_is_an_error_all_the_same(translated, confirmation):
    with pytest.raises(TranslationError, match="not one of this route's topics"):
        await translated("sns", confirmation(), control="ignore", topics=[OTHER])


async def test_s3s_test_event_is_acked_with_one_line(translated, enveloped, s3_test_event, caplog, no_network):
    bodies = enveloped(s3_test_event), enveloped(enveloped(s3_test_event)), s3_test_event
    for body in bodies:
        for format_ in "json", "text":
            with caplog.at_level(logging.INFO), pytest.raises(Settle) as caught:
                await translated("sns", body, Order, format=format_)
            assert caught.value.outcome == Ack()
    texts = {record.getMessage() for record in caplog.records}
    assert texts == {"orders: message m-1 is S3's test event for bucket shop-uploads; acked"}
    assert len(caplog.records) == 6


async def test_t67_envelopes_in_envelopes_are_opened_three_deep_and_no_deeper(translated, enveloped, no_network):
    body = {"id": 1}
    for depth in range(1, 6):
        body = enveloped(body, TopicArn=f"{TOPIC}-{depth}")
        if depth > 3:
            with pytest.raises(TranslationError, match=r"^more than 3 SNS envelopes, one in the other$"):
                await translated("sns", body, Order)
            continue
        translation = await translated("sns", body, Order)
        assert translation.payload == Order(id=1)
        facts, topics = translation.metadata, []
        while facts:
            topics.append(facts["topic_arn"])
            facts = facts.get("inner")
        assert topics == [f"{TOPIC}-{n}" for n in range(depth, 0, -1)]


async def test_the_topic_that_counts_is_the_one_that_the_queue_is_subscribed_to(translated, enveloped):
    forged = enveloped(enveloped("1"), TopicArn=OTHER)
    with pytest.raises(TranslationError, match="not one of this route's topics"):
        await translated("sns", forged, topics=[TOPIC])
    assert (await translated("sns", forged, topics=[OTHER])).payload == 1


@pytest.mark.parametrize("when", ["", "yesterday", "2026-11-20T99:00:00Z", 5, None, {}])
async def test_a_fact_that_cannot_be_read_is_none(translated, enveloped, when):
    body = enveloped("1") | {"Timestamp": when, "Subject": ["x"], "MessageId": 5, "SequenceNumber": 7}
    metadata = (await translated("sns", body)).metadata
    assert [metadata[key] for key in ("timestamp", "subject", "message_id", "sequence_number")] == [None] * 4


async def test_a_time_without_an_offset_is_utc_wherever_loafer_runs(translated, enveloped, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        metadata = (await translated("sns", enveloped("1", Timestamp="1970-01-01T00:00:05"))).metadata
    finally:
        monkeypatch.undo()
        time.tzset()
    assert metadata["timestamp"] == 5.0


@pytest.mark.parametrize(
    "attributes",
    [
        5,
        [],
        {CANARY: "x"},
        {CANARY: {"Type": "String"}},
        {CANARY: {"Value": CANARY}},
        {CANARY: {"Type": "Binary", "Value": "AP8"}},
        {CANARY: {"Type": "Binary", "Value": "A P8=!"}},
        {CANARY: {"Type": "Binary", "Value": f"{CANARY}\n"}},
        {CANARY: {"Type": "Number", "Value": 5}},
    ],
)
async def test_attributes_that_cannot_be_read_are_an_error_for_a_part_of_them_might_be_taken_for_all(
    translated, enveloped, attributes
):
    with pytest.raises(TranslationError, match=r"^SNS envelope: MessageAttributes cannot be read$"):
        await translated("sns", enveloped("1", MessageAttributes=attributes))


async def test_an_error_names_a_foreign_envelope_only_by_what_has_the_shape_of_an_id(translated, enveloped):
    body = enveloped(CANARY, TopicArn=f"arn:aws:sns:{CANARY}\nforged line", MessageId=CANARY)
    with pytest.raises(TranslationError) as caught:
        await translated("sns", body, topics=[TOPIC])
    assert str(caught.value).startswith("SNS Notification of a TopicArn that is none: ")
    assert CANARY not in str(caught.value)
