"""What a user may write, and that secrets stay secret."""

from __future__ import annotations

import pathlib

import pytest
from pydantic import TypeAdapter, ValidationError

from loafer_sqs import AWSOptions, SQSOptions, SQSPublishOptions

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


@pytest.mark.parametrize("kind", [SQSOptions, SQSPublishOptions])
def test_every_option_is_described_in_the_schema_and_in_the_readme(kind):
    schema, readme = TypeAdapter(kind).json_schema(), README.read_text(encoding="utf-8")

    for name, option in schema["properties"].items():
        assert option.get("description"), name
        assert f"`{name}`" in readme, name
