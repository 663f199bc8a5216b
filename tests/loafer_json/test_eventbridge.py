"""The translator ``eventbridge``: events, what input transformers make of them, and SNS around both."""

import datetime as dt
import json
from decimal import Decimal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from loafer_core import ConfigError, TranslationError

CANARY = "canary-4111-1111"
EVENT = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "account": "111122223333",
    "time": "2026-11-22T18:43:48Z",
    "region": "us-west-1",
    "resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
    "detail": {"instance-id": "i-1234567890abcdef0", "state": "terminated"},
}
FACTS = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail_type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "account": "111122223333",
    "time": dt.datetime(2026, 11, 22, 18, 43, 48, tzinfo=dt.UTC).timestamp(),
    "region": "us-west-1",
    "resources": ("arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0",),
}


class State(BaseModel):
    instance_id: str = Field(validation_alias="instance-id")
    state: str


class Later(BaseModel):
    what: "NeverDefined"  # noqa: F821


@pytest.mark.parametrize("annotation", [None, dict, State])
async def test_t67_an_events_detail_is_the_payload_and_the_rest_is_metadata(translated, annotation, no_network):
    translation = await translated("eventbridge", EVENT, annotation)
    expected = State.model_validate(EVENT["detail"]) if annotation is State else EVENT["detail"]
    assert translation.payload == expected
    assert translation.metadata == FACTS


async def test_an_event_through_sns_is_taken_out_of_its_envelope(translated, enveloped, no_network):
    translation = await translated("eventbridge", enveloped(enveloped(EVENT)), State)
    assert translation.payload.state == "terminated"
    sns = translation.metadata["sns"]
    assert sns["message_id"] == sns["inner"]["message_id"] == "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"
    assert {**translation.metadata, "sns": None} == {**FACTS, "sns": None}


async def test_s3s_events_through_eventbridge_are_events_like_any_other(translated):
    detail = {"version": "0", "bucket": {"name": "shop-uploads"}, "object": {"key": "a b", "size": 5}}
    body = EVENT | {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    assert (await translated("eventbridge", body)).payload == detail


@pytest.mark.parametrize("detail", [0, "", None, [], {}, False])
async def test_an_empty_detail_is_content_like_any_other(translated, detail):
    assert (await translated("eventbridge", EVENT | {"detail": detail})).payload == detail


async def test_a_detail_is_decoded_as_json_and_not_as_python_values(translated):
    class Strict(BaseModel):
        model_config = ConfigDict(strict=True)
        at: dt.datetime
        total: Decimal
        pair: tuple[int, int]

    detail = {"at": "2026-01-02T03:04:05Z", "total": "1.20", "pair": [1, 2]}
    payload = (await translated("eventbridge", EVENT | {"detail": detail}, Strict)).payload
    assert payload == Strict(at=dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), total=Decimal("1.20"), pair=(1, 2))


async def test_a_forbidden_number_is_refused_wherever_it_stands(translated):
    body = json.dumps(EVENT).replace('"terminated"', "1e999")
    with pytest.raises(TranslationError, match="range of a double"):
        await translated("eventbridge", body)


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        ('"instance i-123 is terminated"', "instance i-123 is terminated"),
        ('{"instance": "i-123", "state": "terminated"}', {"instance": "i-123", "state": "terminated"}),
        ('["i-123"]', ["i-123"]),
        ('{"id": "1", "source": "shop", "detail-type": "x"}', {"id": "1", "source": "shop", "detail-type": "x"}),
        ("0", 0),
        ("null", None),
        ('{"id": "x", "source": "aws.ec2", "detail": {}}', {"id": "x", "source": "aws.ec2", "detail": {}}),
    ],
)
async def test_what_an_input_transformer_made_is_the_payload_as_a_whole(translated, enveloped, body, payload):
    plain, through_sns = await translated("eventbridge", body), await translated("eventbridge", enveloped(body))
    assert plain.payload == through_sns.payload == payload
    assert plain.metadata == {}
    assert set(through_sns.metadata) == {"sns"}
    with pytest.raises(TranslationError, match=r"^no EventBridge event; other = 'accept'"):
        await translated("eventbridge", body, other="refuse")


async def test_what_an_input_transformer_made_fits_the_annotation_too(translated):
    assert (await translated("eventbridge", '"2026-01-02"', dt.date)).payload == dt.date(2026, 1, 2)
    with pytest.raises(TranslationError, match=r"^not JSON: "):
        await translated("eventbridge", f"instance {CANARY} is terminated", str)


async def test_a_misfit_is_told_by_its_place_in_the_event(translated):
    with pytest.raises(TranslationError) as caught:
        await translated("eventbridge", EVENT | {"detail": {"instance-id": 5, "x": CANARY}}, State)
    assert str(caught.value) == "does not fit State: detail.instance-id (string_type), detail.state (missing)"


async def test_facts_that_cannot_be_read_are_none(translated):
    odd = {"account": 5, "time": "soon", "region": [], "resources": "x", "version": None}
    facts = (await translated("eventbridge", EVENT | odd)).metadata
    assert [facts[key] for key in odd] == [None, None, None, (), None]


@pytest.mark.parametrize("annotation", [Later, 5])
async def test_a_type_that_pydantic_refuses_is_a_configuration_error(opened, annotation):
    with pytest.raises(ConfigError) as caught:
        await opened(annotation, "eventbridge")
    assert caught.value.findings[0].where == "routes.orders.handler"
