"""What a user may write, and that secrets stay secret."""

from __future__ import annotations

import pathlib

import pytest
from pydantic import TypeAdapter, ValidationError

from loafer_sqs import AWSOptions, SNSPublishOptions, SQSOptions, SQSPublishOptions

README = pathlib.Path(__file__).parents[2] / "plugins" / "loafer_sqs" / "README.md"


def test_a_queue_is_all_that_is_needed():
    options = SQSOptions(queue="orders")

    assert (options.wait_time_seconds, options.visibility_timeout, options.max_messages) == (20, None, 10)


@pytest.mark.parametrize(
    "queue", ["orders", "orders.fifo", "a" * 80, "https://sqs.eu-west-1.amazonaws.com/123456789012/orders.fifo"]
)
@pytest.mark.parametrize("kind", [SQSOptions, SQSPublishOptions])
def test_a_queue_is_given_by_name_or_by_url(kind, queue):
    assert kind(queue=queue).queue == queue


@pytest.mark.parametrize("queue", ["", "a" * 81, "a b", "arn:aws:sqs:eu-west-1:1:orders", "orders.fif", "ftp://x/y"])
def test_anything_else_is_refused_with_what_a_queue_is(queue):
    with pytest.raises(ValidationError, match="neither a queue's name"):
        SQSOptions(queue=queue)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("wait_time_seconds", 21),
        ("wait_time_seconds", -1),
        ("visibility_timeout", 0),
        ("visibility_timeout", 43_201),
        ("max_messages", 11),
        ("receives", 0),
        ("queue_owner", "12345"),
        ("endpoint_url", "sqs.eu-west-1.amazonaws.com"),
        ("endpoint_url", "http://user:password@localhost"),
        ("que", "orders"),
    ],
)
def test_an_option_out_of_its_limits_is_refused(option, value):
    with pytest.raises(ValidationError, match=option):
        SQSOptions.model_validate({"queue": "orders", option: value})


@pytest.mark.parametrize(
    "given",
    [
        {"aws_access_key_id": "AKIA"},
        {"aws_secret_access_key": "canary"},
        {"aws_session_token": "canary"},
    ],
)
def test_half_a_key_is_refused_without_showing_it(given):
    with pytest.raises(ValidationError, match="aws_access_key_id and aws_secret_access_key") as refusal:
        SQSOptions.model_validate({"queue": "orders", **given})

    assert "canary" not in str(refusal.value)


def test_an_empty_text_counts_as_unset():
    options = SQSOptions(
        queue="orders", region_name="", endpoint_url="", aws_access_key_id="", aws_secret_access_key=""
    )

    assert options == SQSOptions(queue="orders")


def test_secrets_are_in_no_repr_of_options_or_of_the_key_that_clients_are_shared_by():
    keys = {"aws_access_key_id": "canary-1", "aws_secret_access_key": "canary-2", "aws_session_token": "canary-3"}
    options = SQSOptions(queue="orders", **keys)

    assert "canary" not in repr(options) + str(options) + repr(options.connection())


def test_equal_connections_are_one_key_and_other_secrets_make_another():
    def connection(secret: str, queue: str) -> AWSOptions:
        return SQSOptions(queue=queue, aws_access_key_id="k", aws_secret_access_key=secret).connection()

    assert len({connection("a", "one"), connection("a", "two")}) == 1
    assert len({connection("a", "one"), connection("b", "one")}) == 2


@pytest.mark.parametrize(
    "topic",
    [
        "orders",
        "orders.fifo",
        "a" * 256,
        "arn:aws:sns:eu-west-1:123456789012:orders",
        "arn:aws-cn:sns:cn-north-1:123456789012:orders.fifo",
        "arn:aws-us-gov:sns:us-gov-west-1:123456789012:orders",
    ],
)
def test_a_topic_is_given_by_name_or_by_arn(topic):
    assert SNSPublishOptions(topic=topic).topic == topic
    assert SQSOptions(queue="orders", sandbox_topics=[topic]).sandbox_topics == [topic]


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "a b",
        "a" * 257,
        "orders.fif",
        "arn:aws:sqs:eu-west-1:123456789012:orders",
        "arn:aws:sns:eu-west-1:1:orders",
        "arn:aws:sns:eu-west-1:123456789012:orders:8a21d249-4329-4871-acc6-7be709c6ea7f",
        "https://sns.eu-west-1.amazonaws.com",
    ],
)
def test_anything_else_is_refused_with_what_a_topic_is(topic):
    for options in ({"topic": topic}, {"queue": "orders", "sandbox_topics": [topic]}):
        with pytest.raises(ValidationError, match="neither a topic's name"):
            (SNSPublishOptions if "topic" in options else SQSOptions).model_validate(options)


@pytest.mark.parametrize(
    ("topic", "given", "region"),
    [
        ("orders", {}, None),
        ("orders", {"region_name": "eu-west-1"}, "eu-west-1"),
        ("arn:aws:sns:us-west-2:123456789012:orders", {}, "us-west-2"),
        ("arn:aws:sns:us-west-2:123456789012:orders", {"region_name": "eu-west-1"}, "us-west-2"),
    ],
)
def test_an_arn_brings_its_own_region(topic, given, region):
    assert SNSPublishOptions(topic=topic, **given).connection() == AWSOptions(region_name=region)


@pytest.mark.parametrize("subject", ["x" * 100, "a\nb", "bell\x07"])
def test_a_subject_that_sns_would_refuse_is_refused_at_once(subject):
    with pytest.raises(ValidationError, match="less than 100 characters"):
        SNSPublishOptions(topic="orders", subject=subject)


def test_a_fifo_queue_is_subscribed_to_fifo_topics_only():
    SQSOptions(queue="orders.fifo", sandbox_topics=["orders.fifo"])
    SQSOptions(queue="orders", sandbox_topics=["orders.fifo", "orders"])

    with pytest.raises(ValidationError, match="to a FIFO queue from FIFO topics only"):
        SQSOptions(queue="orders.fifo", sandbox_topics=["orders.fifo", "orders"])


@pytest.mark.parametrize("kind", [SQSOptions, SQSPublishOptions, SNSPublishOptions])
def test_every_option_is_described_in_the_schema_and_in_the_readme(kind):
    schema, readme = TypeAdapter(kind).json_schema(), README.read_text(encoding="utf-8")

    for name, option in schema["properties"].items():
        assert option.get("description"), name
        assert f"`{name}`" in readme, name
