"""A template gives the SDK's own headers and signature, or says what it cannot repeat."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from loafer_sqs.fast.request import Unusual, body_of, template_of

PARAMETERS = {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/orders", "MaxNumberOfMessages": 10}
KEYS = ReadOnlyCredentials("AKID", "secret", None)
HEADERS = {
    "X-Amz-Target": "AmazonSQS.ReceiveMessage",
    "Content-Type": "application/x-amz-json-1.0",
    "x-amzn-query-mode": "true",
    "User-Agent": "aiobotocore/3",
}


def finished(
    parameters=PARAMETERS, keys=KEYS, url="https://sqs.eu-west-1.amazonaws.com/", region="eu-west-1", **headers
):
    """A request as the SDK would send it."""
    request = AWSRequest("POST", url, HEADERS | headers, data=json.dumps(parameters).encode())
    SigV4Auth(keys, "sqs", region).add_auth(request)
    request.headers["amz-sdk-invocation-id"], request.headers["amz-sdk-request"] = "id", "attempt=1"
    return request.prepare()


def signed_by_the_sdk(parameters, keys, url, region, stamp):
    request = AWSRequest("POST", url, HEADERS, data=json.dumps(parameters).encode())
    request.context["timestamp"] = stamp
    auth = SigV4Auth(keys, "sqs", region)
    auth._modify_request_before_signing(request)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return auth._inject_signature_to_request(request, signature).headers["Authorization"]


_plain = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/"), min_size=1)
_keys = st.builds(ReadOnlyCredentials, _plain, st.text(min_size=1), st.none() | _plain)
_stamps = st.datetimes().map(lambda when: when.strftime("%Y%m%dT%H%M%SZ").rjust(16, "0"))
_urls = st.sampled_from(
    [
        "https://sqs.eu-west-1.amazonaws.com/",
        "https://sqs.eu-west-1.amazonaws.com:443",
        "http://127.0.0.1:4566/",
        "http://[::1]:4566/base/path/",
        "http://LOCALHOST:80/",
    ]
)


@settings(deadline=None)
@given(
    keys=_keys,
    later=_keys,
    stamp=_stamps,
    url=_urls,
    region=st.sampled_from(["eu-west-1", "us-gov-east-1"]),
    handles=st.lists(st.text(), max_size=10),
)
def test_every_signature_is_the_sdks(keys, later, stamp, url, region, handles):
    template = template_of(finished(keys=keys, url=url, region=region), PARAMETERS, keys)
    parameters = {"QueueUrl": "q", "Entries": [{"Id": "0", "ReceiptHandle": handle} for handle in handles]}

    for who in (keys, later):  # renewed, with a token or without
        headers = template.signed(body_of(parameters), stamp, who)
        assert headers["Authorization"] == signed_by_the_sdk(parameters, who, url, region, stamp)
        assert headers["X-Amz-Date"] == stamp
        assert headers.get("X-Amz-Security-Token") == (who.token or None)
        assert headers.items() >= HEADERS.items()


def test_the_key_of_yesterday_is_not_used_today():
    template = template_of(finished(), PARAMETERS, KEYS)
    stamps = ["20261123T235959Z", "20261124T000000Z", "20261123T235959Z"]

    for stamp in stamps:
        expected = signed_by_the_sdk({}, KEYS, "https://sqs.eu-west-1.amazonaws.com/", "eu-west-1", stamp)
        assert template.signed(b"{}", stamp, KEYS)["Authorization"] == expected


def _but(**changes):
    request = finished()
    return SimpleNamespace(**{**vars(request), **changes})


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        (finished(**{"X-Amzn-Trace-Id": "Root=1"}), "headers x-amzn-trace-id"),
        (_but(method="GET"), "a method"),
        (finished(url="https://sqs.eu-west-1.amazonaws.com/?a=b"), "a query"),
        (_but(context={"read_timeout": 3}), "a timeout"),
        (finished(PARAMETERS | {"WaitTimeSeconds": 20}), "other parameters"),
        (_but(body=None), "other parameters"),
        (_but(headers={**HEADERS, "Authorization": "Bearer token"}), "another way of signing"),
        (_but(headers=HEADERS), "another way of signing"),
        (_but(url="https://elsewhere.amazonaws.com/"), "a signature"),
        (_but(headers={**finished().headers, "Content-Type": "text/plain"}), "a signature"),
    ],
)
def test_what_cannot_be_repeated_is_said(request_, what):
    with pytest.raises(Unusual, match=what):
        template_of(request_, PARAMETERS, KEYS)


@pytest.mark.parametrize(
    "now", [ReadOnlyCredentials("NEW", "secret", None), ReadOnlyCredentials("AKID", "secret", "t")]
)
def test_a_request_that_was_signed_before_a_renewal_is_no_example(now):
    assert template_of(finished(), PARAMETERS, now) is None
