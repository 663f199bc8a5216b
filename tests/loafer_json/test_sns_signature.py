"""The middleware ``sns-signature``: what SNS signed for a topic of ours passes, and nothing else."""

import base64
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import boto3
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from moto import mock_aws

from loafer_core import Ack, ConfigError, Message, Nack, TranslationError
from loafer_json import SNSSignature, SNSSignatureOptions

TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"
CANARY = "canary-4111-1111"
VERSIONS = pytest.mark.parametrize("version", ["1", "2"])


class Next:
    """What comes after the middleware: remembers the messages that it was given."""

    def __init__(self, outcome=None):
        self.messages, self.outcome = [], outcome or Ack()

    async def __call__(self, message):
        self.messages.append(message)
        return self.outcome


@asynccontextmanager
async def opened(**options):
    middleware = SNSSignature(SNSSignatureOptions(**{"topics": [TOPIC], **options}))
    middleware.open(SimpleNamespace(route="orders"))
    yield middleware
    await middleware.close()


@pytest.fixture
def pem(tmp_path, signer):
    """A file with the certificate of our own signer."""
    path = tmp_path / "sns.pem"
    path.write_bytes(signer.certificate())
    return path


@pytest.fixture
def handled(pem):
    """Give what a body becomes: the metadata that goes on. Raises what the middleware raises."""

    async def handle(body, **options):
        call_next = Next()
        async with opened(**{"certificates": [pem], **options}) as middleware:
            body = body if isinstance(body, str | bytes) else json.dumps(body)
            await middleware.handle(Message("m-1", body, metadata={"queue": "orders"}), call_next)
        (message,) = call_next.messages
        assert message.body == body
        return message.metadata

    return handle


@pytest.fixture
def refused(handled):
    """Give the text of the TranslationError that a body meets; it shows nothing but ids."""

    async def refuse(body, **options):
        with pytest.raises(TranslationError) as caught:
            await handled(body, **options)
        assert CANARY not in str(caught.value)
        assert "http" not in str(caught.value)
        return str(caught.value)

    return refuse


@VERSIONS
@pytest.mark.parametrize("fields", [{}, {"Subject": "My subject: ä"}, {"SequenceNumber": "10000000000000003000"}])
async def test_what_was_signed_goes_on_as_verified(handled, enveloped, signer, version, fields, no_network):
    metadata = await handled(signer.signed(enveloped("an\norder ä €", **fields), version))
    assert metadata == {"queue": "orders", "sns_verified": True}


@VERSIONS
@pytest.mark.parametrize("type_", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
async def test_a_confirmation_is_signed_over_its_own_fields(handled, confirmation, signer, version, type_, no_network):
    assert (await handled(signer.signed(confirmation(Type=type_), version)))["sns_verified"] is True


async def test_the_message_and_the_outcome_are_handed_through(pem, enveloped, signer):
    call_next = Next(Nack(5))
    message = Message(
        "m-1", json.dumps(signer.signed(enveloped("1"))).encode(), receipt="r", receive_count=2, group="g"
    )
    async with opened(certificates=[pem]) as middleware:
        assert await middleware.handle(message, call_next) == Nack(5)
    (passed,) = call_next.messages
    assert (passed.id, passed.receipt, passed.receive_count, passed.group) == ("m-1", "r", 2, "g")
    assert "sns_verified" not in message.metadata


@VERSIONS
@pytest.mark.parametrize(
    "field", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type", "Signature", "SignatureVersion"]
)
async def test_any_field_that_was_tampered_with_is_refused(refused, enveloped, signer, version, field, no_network):
    envelope = signer.signed(enveloped("1", Subject="s"), version)
    other = {
        "TopicArn": f"{TOPIC}-2",
        "Type": "UnsubscribeConfirmation",
        "SignatureVersion": "2" if version == "1" else "1",
        "Signature": base64.b64encode(b"\x01" * 256).decode(),
        "Timestamp": "2026-11-20T22:14:15.679Z",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf325",
    }
    tampered = envelope | {"Token": "t", "SubscribeURL": "https://x"} | {field: other.get(field, f"{CANARY}.")}
    text = await refused(tampered, topics=[TOPIC, f"{TOPIC}-2"])
    assert text.startswith("SNS ")
    assert text.endswith("its signature does not fit")


@VERSIONS
@pytest.mark.parametrize("field", ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "Type"])
async def test_any_field_of_a_confirmation_that_was_tampered_with_is_refused(
    refused, confirmation, signer, version, field, no_network
):
    envelope = signer.signed(confirmation(), version)
    other = {"Type": "UnsubscribeConfirmation"}
    assert "does not fit" in await refused(envelope | {field: other.get(field, f"{CANARY}.")})


@VERSIONS
async def test_a_subject_that_was_added_or_taken_away_is_refused(refused, handled, enveloped, signer, version):
    with_subject, without = signer.signed(enveloped("1", Subject="s"), version), signer.signed(enveloped("1"), version)
    assert "does not fit" in await refused({k: v for k, v in with_subject.items() if k != "Subject"})
    assert "does not fit" in await refused(without | {"Subject": CANARY})
    assert (await handled(without | {"Subject": None}))["sns_verified"] is True


@pytest.mark.parametrize("field", ["MessageId", "Timestamp", "Signature", "SignatureVersion"])
@pytest.mark.parametrize("value", [None, 5, [CANARY], "missing"])
async def test_a_field_that_is_missing_or_no_text_is_refused(refused, enveloped, signer, field, value):
    envelope = signer.signed(enveloped("1")) | {field: value}
    if value == "missing":
        del envelope[field]
    assert (await refused(envelope)).startswith("SNS Notification")


@pytest.mark.parametrize("version", ["0", "3", "", "1 ", CANARY])
async def test_an_unknown_signature_version_is_refused(refused, enveloped, signer, version):
    text = await refused(signer.signed(enveloped("1")) | {"SignatureVersion": version})
    assert text.endswith("its SignatureVersion is neither '1' nor '2'")


@pytest.mark.parametrize("signature", ["", "ä", "c2ln=", "c2lnbmVk\n", "c2lnbmVk", CANARY])
async def test_a_signature_that_is_none_is_refused(refused, enveloped, signature):
    assert "ignature" in await refused(enveloped("1", Signature=signature))


async def test_a_line_break_cannot_move_the_end_of_the_message(refused, handled, enveloped, signer, no_network):
    inner = "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"
    signed = signer.signed(enveloped(f"1\nMessageId\n{inner}", MessageId="dc1e94d9-56c5-5e96-808d-cc7f68faa162"))
    moved = signed | {"Message": "1", "MessageId": f"{inner}\nMessageId\n{signed['MessageId']}"}  # the same bytes
    assert (await handled(signed))["sns_verified"] is True
    assert (await refused(moved)).endswith("its MessageId has a line break")


@pytest.mark.parametrize(("start", "end"), [(-30, -1), (1, 30)])
async def test_a_certificate_that_is_not_valid_today_is_refused(refused, enveloped, signer, tmp_path, start, end):
    path = tmp_path / "old.pem"
    path.write_bytes(signer.certificate(start, end))
    text = await refused(signer.signed(enveloped("1")), certificates=[path])
    assert text.endswith("the certificate of its signature is not valid today")


async def test_one_of_several_certificates_is_enough_in_one_file_or_in_several(handled, enveloped, signer, tmp_path):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    old, foreign, ours = signer.certificate(-30, -1), signer.certificate(key=other), signer.certificate()
    (tmp_path / "bundle.pem").write_bytes(old + foreign)
    (tmp_path / "ours.pem").write_bytes(ours)
    files = [tmp_path / "bundle.pem", tmp_path / "ours.pem"]
    assert (await handled(signer.signed(enveloped("1")), certificates=files))["sns_verified"] is True


@pytest.mark.parametrize(
    "other", [rsa.generate_private_key(public_exponent=65537, key_size=2048), ec.generate_private_key(ec.SECP256R1())]
)
async def test_a_foreign_certificate_does_not_help(refused, enveloped, signer, tmp_path, other):
    (tmp_path / "foreign.pem").write_bytes(signer.certificate(key=other))
    assert "does not fit" in await refused(signer.signed(enveloped("1")), certificates=[tmp_path / "foreign.pem"])


@pytest.mark.parametrize(
    "content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----"]
)
def test_a_file_that_has_no_certificate_is_a_configuration_error_that_names_it(tmp_path, content):
    (tmp_path / "empty.pem").write_bytes(content)
    middleware = SNSSignature(SNSSignatureOptions(topics=[TOPIC], certificates=[tmp_path / "empty.pem"]))
    with pytest.raises(ConfigError, match=r"empty\.pem: no PEM certificate") as caught:
        middleware.open(SimpleNamespace(route="orders"))
    assert caught.value.findings[0].where == "routes.orders.middleware"


async def test_what_was_signed_for_another_topic_is_refused_by_its_arn(refused, enveloped, signer, no_network):
    theirs = "arn:aws:sns:us-east-1:666666666666:orders"
    text = await refused(signer.signed(enveloped("1", TopicArn=theirs)))
    assert text.endswith(f"of {theirs}: the topic is not one of those that are trusted")
    assert "TopicArn that is none" in await refused(signer.signed(enveloped("1", TopicArn=CANARY)))


@pytest.mark.parametrize("body", ['{"id": 1}', "plain", b"\xff", "", "[]", '{"Type": "Notification", "Message": "1"}'])
async def test_what_is_in_no_envelope_is_refused_unless_it_may_pass_as_not_verified(handled, refused, body, no_network):
    assert (await refused(body)).startswith("in no SNS envelope")
    assert await handled(body, require=False) == {"queue": "orders", "sns_verified": False}


async def test_require_false_lets_no_bad_signature_pass(refused, enveloped):
    assert "does not fit" in await refused(enveloped("1"), require=False)


async def test_a_body_that_is_too_long_is_refused_whatever_it_is(refused):
    assert await refused("x" * 101, require=False, max_bytes=100) == "101 bytes are more than max_bytes = 100"


async def test_the_outermost_envelope_is_what_is_verified(handled, refused, enveloped, signer):
    forged, signed = enveloped("1"), signer.signed(enveloped("1"))
    assert (await handled(signer.signed(enveloped(forged))))["sns_verified"] is True
    assert "does not fit" in await refused(enveloped(signed))


async def test_what_moto_signs_is_verified_by_motos_certificate(handled, tmp_path):
    keys = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    with mock_aws():
        sns, sqs = boto3.client("sns", **keys), boto3.client("sqs", **keys)
        topic = sns.create_topic(Name="orders")["TopicArn"]
        queue = sqs.create_queue(QueueName="orders")["QueueUrl"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:orders")
        sns.publish(TopicArn=topic, Message="an\norder ä")
        (received,) = sqs.receive_message(QueueUrl=queue)["Messages"]
        body = received["Body"]
        (tmp_path / "moto.pem").write_bytes(requests.get(json.loads(body)["SigningCertURL"], timeout=5).content)
    assert (await handled(body, certificates=[tmp_path / "moto.pem"]))["sns_verified"] is True
