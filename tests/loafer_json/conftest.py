"""Ways to ask the components as the core does, messages as AWS writes them, keys of our own, and a guard on sockets."""

import base64
import datetime as dt
import json
import socket
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from loafer_core import Message
from loafer_json import (
    EnvelopeOptions,
    EventBridgeOptions,
    EventBridgeTranslator,
    JSONOptions,
    JSONTranslator,
    S3Translator,
    SNSOptions,
    SNSTranslator,
)

TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"
KINDS = {
    "json": (JSONTranslator, JSONOptions),
    "sns": (SNSTranslator, SNSOptions),
    "s3": (S3Translator, EnvelopeOptions),
    "eventbridge": (EventBridgeTranslator, EventBridgeOptions),
}


@pytest.fixture
def opened():
    """Give a translator that is open for a handler with this annotation (None: it has none)."""

    async def open_for(payload_type=None, kind="json", **options):
        translator, options_type = KINDS[kind]
        made = translator(options_type(**options))
        await made.open(SimpleNamespace(route="orders", payload_type=payload_type))
        return made

    return open_for


@pytest.fixture
def translated(opened):
    """Give the Translation of a body: what is no text or bytes is written as JSON."""

    async def translate(kind, body, payload_type=None, **options):
        translator = await opened(payload_type, kind, **options)
        return translator.translate(Message("m-1", body if isinstance(body, str | bytes) else json.dumps(body)))

    return translate


@pytest.fixture
def decoded(translated):
    """Give the payload that a body becomes with the translator ``json``."""

    async def decode(body, payload_type=None, **options):
        return (await translated("json", body, payload_type, **options)).payload

    return decode


@pytest.fixture(scope="session")
def enveloped():
    """Give the envelope that SNS puts around a text (or a value, as JSON). A field given as None is left out."""

    def envelope(message, **fields):
        notification = {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Message": message if isinstance(message, str) else json.dumps(message),
            "Timestamp": "2026-11-20T22:14:15.678Z",
            "SignatureVersion": "1",
            "Signature": "c2lnbmVkIGJ5IG5vYm9keQ==",
            "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
            "UnsubscribeURL": f"https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={TOPIC}:c9135db0",
        }
        return {name: value for name, value in (notification | fields).items() if value is not None}

    return envelope


@pytest.fixture(scope="session")
def confirmation(enveloped):
    """Give what SNS sends when a queue is subscribed by somebody else than its owner."""

    def confirm(**fields):
        url = f"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37fb"
        text = f"You have chosen to subscribe to the topic {TOPIC}.\nTo confirm, visit the SubscribeURL."
        own = {"Type": "SubscriptionConfirmation", "Token": "2336412f37fb", "SubscribeURL": url, "UnsubscribeURL": None}
        return enveloped(text, **(own | fields))

    return confirm


@pytest.fixture(scope="session")
def s3_test_event():
    """What S3 sends whenever a bucket's notifications are configured."""
    return {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2026-11-20T15:57:02.089Z",
        "Bucket": "shop-uploads",
        "RequestId": "5582815E1AEA5ADF",
        "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
    }


@pytest.fixture
def no_network(monkeypatch):
    """Refuse and count every attempt to look up or to connect to anything; there must be none."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise AssertionError("something went for the network")

    for place, name in (socket.socket, "connect"), (socket.socket, "connect_ex"), (socket, "getaddrinfo"):
        monkeypatch.setattr(place, name, refuse)
    yield
    assert attempts == []


class Signer:
    """One RSA key, certificates for it, and signatures over what SNS signs, written down independently of the code."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def certificate(self, start=-1, end=1, key=None):
        """Give a PEM certificate that is valid from so many days before to so many days after today."""
        now = dt.datetime.now(dt.UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
        builder = builder.not_valid_before(now + dt.timedelta(days=start)).not_valid_after(now + dt.timedelta(days=end))
        key = key or self.key
        return builder.public_key(key.public_key()).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def signed(self, envelope, version="1"):
        if envelope["Type"] == "Notification":
            subject = f"Subject\n{envelope['Subject']}\n" if "Subject" in envelope else ""
            text = (
                f"Message\n{envelope['Message']}\nMessageId\n{envelope['MessageId']}\n{subject}"
                f"Timestamp\n{envelope['Timestamp']}\nTopicArn\n{envelope['TopicArn']}\nType\nNotification\n"
            )
        else:
            text = (
                f"Message\n{envelope['Message']}\nMessageId\n{envelope['MessageId']}\n"
                f"SubscribeURL\n{envelope['SubscribeURL']}\nTimestamp\n{envelope['Timestamp']}\n"
                f"Token\n{envelope['Token']}\nTopicArn\n{envelope['TopicArn']}\nType\n{envelope['Type']}\n"
            )
        algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), algorithm)
        return envelope | {"SignatureVersion": version, "Signature": base64.b64encode(signature).decode()}


@pytest.fixture(scope="session")
def signer():
    return Signer()
