"""Whatever comes, a translator reads it, refuses it with TranslationError or settles it; and shows nothing of it."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loafer_core import Ack, Message, Settle, Translation, TranslationError
from loafer_json import (
    EnvelopeOptions,
    EventBridgeOptions,
    EventBridgeTranslator,
    S3Event,
    S3Translator,
    SNSOptions,
    SNSTranslator,
)

CANARY = "canary-4111-1111"
TRANSLATORS = [
    SNSTranslator(SNSOptions()),
    SNSTranslator(SNSOptions(format="text")),
    SNSTranslator(SNSOptions(raw="refuse", control="ignore", topics=["arn:aws:sns:us-east-1:123456789012:orders"])),
    S3Translator(EnvelopeOptions()),
    EventBridgeTranslator(EventBridgeOptions()),
    EventBridgeTranslator(EventBridgeOptions(other="refuse")),
]

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5) | st.just(CANARY),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just(CANARY), inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def nearly(draw, fields):
    """An object with these fields, of which one or two may be odd or missing."""
    made = {name: draw(sane) for name, sane in fields.items()}
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=2)):
        made.pop(name, None)
        if draw(st.booleans()):
            made[name] = draw(PLAIN)
    return made


TIMES = st.sampled_from(["2026-11-20T22:14:15.678Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "W"])
ATTRIBUTE = nearly({"Type": st.sampled_from(["String", "Binary", "Number"]), "Value": st.sampled_from(["AP8=", "5"])})
BUCKET = nearly({"name": st.just("shop")})
OBJECT = nearly({"key": st.sampled_from(["a+b", "%C3", "%"]), "size": st.integers(), "sequencer": st.just("0F")})
RECORD = nearly(
    {
        "eventName": st.just("ObjectCreated:Put"),
        "eventTime": TIMES,
        "awsRegion": st.just("us-west-2"),
        "s3": nearly({"bucket": BUCKET, "object": OBJECT}),
    }
)
TEST_EVENT = nearly({"Event": st.just("s3:TestEvent"), "Bucket": st.just("shop")})
EVENT = nearly(
    {
        "id": st.just("1"),
        "source": st.just("shop"),
        "detail-type": st.just("Order"),
        "time": TIMES,
        "resources": st.just([]),
        "detail": PLAIN | st.dictionaries(st.text(max_size=5), st.integers()),
    }
)
CONTENT = nearly({"Records": st.lists(RECORD, max_size=2)}) | TEST_EVENT | EVENT | PLAIN


def wrapped(content):
    """An envelope around such content, or the content itself."""
    fields = {
        "Type": st.sampled_from(["Notification"] * 8 + ["SubscriptionConfirmation", "UnsubscribeConfirmation"]),
        "TopicArn": st.sampled_from(["arn:aws:sns:us-east-1:123456789012:orders"] * 3 + [CANARY]),
        "MessageId": st.just("22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"),
        "Timestamp": TIMES,
        "SequenceNumber": st.just("1"),
        "MessageAttributes": st.dictionaries(st.text(max_size=3), ATTRIBUTE, max_size=1),
        "Message": content.map(json.dumps),
    }
    return content | nearly(fields)


BODIES = (
    wrapped(wrapped(CONTENT)).map(json.dumps)
    | wrapped(CONTENT).map(json.dumps)
    | wrapped(st.text(max_size=5)).map(json.dumps).map(lambda text: text[:-1])
    | st.binary()
    | st.text(st.characters())
)


def answer(translator, body):
    try:
        return translator.translate(Message("m-1", body))
    except (TranslationError, Settle) as error:
        return error


@given(st.sampled_from(TRANSLATORS), BODIES, st.sampled_from([None, S3Event, dict[str, int]]))
async def test_t69_any_body_is_read_refused_or_settled(translator, body, annotation):
    await translator.open(SimpleNamespace(route="orders", payload_type=annotation))
    result = answer(translator, body)
    if isinstance(result, Settle):
        assert result.outcome == Ack()
    elif isinstance(result, TranslationError):
        assert CANARY not in str(result)
        assert result.__context__ is result.__cause__ is None
    else:
        assert isinstance(result, Translation)


@pytest.mark.parametrize("translator", TRANSLATORS)
@pytest.mark.parametrize("opening", ["[", '{"Message":', '{"Records":[', '"'])
def test_a_bomb_is_refused(translator, opening):
    for body in opening * 50_000, json.dumps({"Type": "Notification", "TopicArn": "x", "Message": opening * 50_000}):
        if translator is TRANSLATORS[1]:
            assert opening in translator.translate(Message("m-1", body)).payload
        else:
            with pytest.raises(TranslationError):
                translator.translate(Message("m-1", body))
