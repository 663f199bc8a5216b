"""The short way and the SDK's own, side by side on one server: the same requests, answers, errors and retries."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import AioSession
from botocore.exceptions import MetadataRetrievalError

from loafer_core import CredentialError, Settled
from loafer_sqs import SQSOptions, SQSProvider
from loafer_sqs.aws import connecting
from loafer_sqs.aws.client import Clients
from loafer_sqs.fast import calls as fast
from loafer_sqs.options import AWSOptions

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
RECEIVE = ("receive_message", {"QueueUrl": URL, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0})
ENTRIES = [{"Id": "0", "ReceiptHandle": "h"}, {"Id": "1", "ReceiptHandle": "é\U0001f600\x00"}]
DELETE = ("delete_message_batch", {"QueueUrl": URL, "Entries": ENTRIES})
CALLS = pytest.mark.parametrize("call", [RECEIVE, DELETE], ids=["receive", "delete"])
OPERATIONS = {"receive_message": "ReceiveMessage", "delete_message_batch": "DeleteMessageBatch"}
EVERY_TIME_ANOTHER = {"amz-sdk-invocation-id"}
TOKEN = {"aws_session_token": "token/+="}


@contextlib.asynccontextmanager
async def both(scripted, connect_to, **options):
    """The two ways, each a function of method and parameters, without what Loafer makes of errors."""
    connection = AWSOptions(**{**connect_to(scripted.endpoint), **options})
    async with Clients(connection) as sdk, Clients(connection, fast=True) as short:

        def way(clients):
            return lambda method, parameters: clients._pair.call_of(method)(**parameters)

        yield way(sdk), way(short)


async def outcome(way, call):
    """What came of it: the answer, or all that can be seen of the error."""
    try:
        answer = await way(*call)
        return answer, type(answer), {name: type(value) for name, value in answer["ResponseMetadata"].items()}
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return kinds, str(error), getattr(error, "response", None), getattr(error, "operation_name", None)


@pytest.fixture
def at_a_standstill(monkeypatch):
    """No time passes for signatures."""
    now = datetime.datetime(2026, 11, 23, 23, 59, 59, tzinfo=datetime.UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *args: now)
    monkeypatch.setattr("loafer_sqs.fast.calls.time", SimpleNamespace(time=now.timestamp))


@CALLS
@pytest.mark.parametrize("options", [{}, TOKEN], ids=["key", "token"])
async def test_the_requests_are_the_same_byte_for_byte(scripted, connect_to, at_a_standstill, call, options):
    scripted.on(OPERATIONS[call[0]], {})
    async with both(scripted, connect_to, **options) as ways:
        for way in ways:
            await way(*call)
            await way(*call)
            await way(*call)

    assert len(scripted.requests) == 6  # the example was not sent
    assert len(scripted.connections) == 2  # each way keeps its own
    for _, headers, _ in scripted.requests:
        for name in EVERY_TIME_ANOTHER:
            assert headers.pop(name)
    assert scripted.requests[1:] == scripted.requests[:1] * 5


MESSAGE = {"MessageId": "i", "ReceiptHandle": "h", "Body": "é\x00\ud800", "MD5OfBody": "m"}
ATTRIBUTES = {
    "text": {"DataType": "String", "StringValue": ""},
    "bytes": {"DataType": "Binary", "BinaryValue": "AAE="},
    "new": {"DataType": "Number", "StringValue": "1", "Unheard": "of"},
}
PLAIN = {"content_type": "text/html", "x_amzn_requestid": ""}
HTML = b"<html><body>Please log in</body></html>"
RECEIVED = {
    "empty": {},
    "null": {"Messages": None},
    "one": {"Messages": [MESSAGE | {"Attributes": {"SentTimestamp": "1"}}]},
    "attributes": {"Messages": [MESSAGE | {"MessageAttributes": ATTRIBUTES}, MESSAGE]},
    "bad base64": {"Messages": [MESSAGE | {"MessageAttributes": {"a": {"BinaryValue": "?", "DataType": "Binary"}}}]},
    "unheard of": {"Messages": [MESSAGE | {"New": 1}], "New": 2},
    "null members": {"Messages": [{"MessageId": None, "Body": None, "Attributes": None}]},
    "no list": {"Messages": 7},
    "no object": {"Messages": ["x"]},
}
DELETED = {
    "done": {"Successful": [{"Id": "0"}], "Failed": []},
    "failed": {"Failed": [{"Id": "0", "SenderFault": True, "Code": "ReceiptHandleIsInvalid", "Message": "m"}]},
    "half": {"Successful": [{"Id": "0", "New": 1}], "Failed": [{"Id": "1", "Code": None}]},
    "null": {"Successful": None},
}


def garbage(http):
    return {
        "portal": http(200, HTML, **PLAIN),
        "nothing": http(200, b"", **PLAIN),
        "not json": http(200, b"{'a': "),
        "invalid utf-8": http(200, b'{"Messages": "\xff\xfe"}'),
        "utf-16": http(200, "{}".encode("utf-16")),
        "a list": http(200, b"[1, 2]"),
        "created": http(201, b"{}"),
        "no content": http(204, b""),
        "not modified": http(304, b""),
        "truncated": http(200, b'{"Messages": [' + b" " * 1000)[:-500],
        "reset": b"",
        "not http": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "headers": http(200, b"{}", date="Thu, 01 Jan 1970 00:00:00 GMT", x_odd="\xe9".encode().decode("latin-1")),
    }


ACQUAINTED = pytest.mark.parametrize("acquainted", [False, True], ids=["at first", "later"])
"""Whether there has been a good answer: the first request is made by aiohttp, those that follow are like it."""


async def differences(scripted, connect_to, call, replies, acquainted):
    """The names of the replies that the two ways do not take alike, and how; requests that they make count too."""
    found = {}
    async with both(scripted, connect_to) as ways:
        if acquainted:
            scripted.on(OPERATIONS[call[0]], {})
            for way in ways:
                await way(*call)
        for name, reply in replies.items():
            scripted.on(OPERATIONS[call[0]], reply)
            seen = []
            for way in ways:
                scripted.requests.clear()
                came = await outcome(way, call)
                attempts = [headers["amz-sdk-request"] for _, headers, _ in scripted.requests]
                seen.append((came, attempts))
            if seen[0] != seen[1] or not seen[0][1]:
                found[name] = seen
    return found


@pytest.mark.parametrize(("call", "replies"), [(RECEIVE, RECEIVED), (DELETE, DELETED)], ids=["receive", "delete"])
@ACQUAINTED
async def test_the_answers_are_the_same(scripted, connect_to, call, replies, acquainted):
    assert await differences(scripted, connect_to, call, replies, acquainted) == {}


@CALLS
@ACQUAINTED
async def test_garbage_is_the_same_garbage(scripted, connect_to, call, acquainted):
    assert await differences(scripted, connect_to, call, garbage(scripted.http), acquainted) == {}


def error(http, code, status, query=None, body=None, **headers):
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "no"}).encode() if body is None else body
    return http(status, body, **({"x_amzn_query_error": query} if query else {}), **headers)


ERRORS = {
    "with a query code": ("QueueDoesNotExist", 400, "AWS.SimpleQueueService.NonExistentQueue;Sender"),
    "without": ("QueueDoesNotExist", 400),
    "odd query code": ("QueueDoesNotExist", 400, "nonsense"),
    "throttled": ("RequestThrottled", 403, "RequestThrottled;Sender"),
    "throttled 400": ("ThrottlingException", 400),
    "over limit": ("OverLimit", 403, "OverLimit;Sender"),
    "denied": ("AccessDeniedException", 403),
    "kms": ("KmsThrottled", 400, "KMS.ThrottlingException;Sender"),
    "kms denied": ("KmsAccessDenied", 400, "KMS.AccessDeniedException;Sender"),
    "expired": ("ExpiredToken", 403),
    "signature": ("InvalidSignatureException", 403),
    "too many": ("TooManyEntriesInBatchRequest", 400, "AWS.SimpleQueueService.TooManyEntriesInBatchRequest;Sender"),
    "internal": ("InternalFailure", 500),
    "unavailable": ("ServiceUnavailable", 503),
    "429": ("", 429, None, b""),
    "404 html": ("", 404, None, HTML),
    "403 html": ("", 403, None, HTML),
    "500 html": ("", 500, None, HTML),
    "502 html": ("", 502, None, b"<!DOCTYPE html>" + HTML),
    "500 empty": ("", 500, None, b""),
    "400 utf-8": ("", 400, None, b"\xff"),
    "400 list": ("", 400, None, b"[]"),
}


@CALLS
@ACQUAINTED
async def test_the_errors_and_the_tries_are_the_same(scripted, connect_to, call, acquainted):
    errors = {name: error(scripted.http, *facts) for name, facts in ERRORS.items()}

    assert await differences(scripted, connect_to, call, errors, acquainted) == {}


async def test_a_server_that_does_not_answer_is_given_up_alike(scripted, connect_to, monkeypatch):
    async def never(request):
        await asyncio.Event().wait()

    monkeypatch.setitem(connecting._POLLS, "read_timeout", 0.2)
    async with both(scripted, connect_to) as ways:
        scripted.on("ReceiveMessage", {})
        for way in ways:
            await way(*RECEIVE)
        scripted.on("ReceiveMessage", never)
        told, again = [await outcome(way, RECEIVE) for way in ways]

    assert told == again
    assert "ReadTimeoutError" in told[0]


async def test_cookies_are_sent_back_alike(scripted, connect_to):
    """SQS has none, but what stands before a stand-in may."""
    cookie = scripted.http(200, b"{}", set_cookie="route=1; Path=/")
    named = scripted.endpoint.replace("127.0.0.1", "localhost")  # addresses have no cookies
    async with both(scripted, connect_to, endpoint_url=named) as ways:
        for way in ways:
            for reply in ({}, {}, cookie, {}, {}):
                scripted.on("ReceiveMessage", reply)
                await way(*RECEIVE)

    cookies = [headers.get("cookie") for _, headers, _ in scripted.requests]
    assert cookies == [None, None, None, "route=1", "route=1"] * 2


async def test_a_redirect_is_followed(scripted, connect_to):
    async def moved(request):
        line = scripted.requests[-1][0]
        return {} if "/elsewhere" in line else scripted.http(307, b"", location=f"{scripted.endpoint}/elsewhere")

    async with both(scripted, connect_to) as ways:
        for way in ways:
            scripted.on("ReceiveMessage", {})
            await way(*RECEIVE)
        scripted.on("ReceiveMessage", moved)
        told, again = [await outcome(way, RECEIVE) for way in ways]

    assert told == again
    assert told[0]["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert scripted.requests[-1][0].startswith("POST /elsewhere ")


async def test_an_aiohttp_that_is_made_otherwise_sends_every_request_itself(scripted, connect_to, monkeypatch):
    monkeypatch.setattr("loafer_sqs.fast.http.knows_aiohttp", lambda: False)
    monkeypatch.setattr("loafer_sqs.fast.http._exchange", None)
    scripted.on("ReceiveMessage", {})
    async with both(scripted, connect_to) as (_, short):
        answers = [await short(*RECEIVE) for _ in range(3)]

    assert [answer["ResponseMetadata"]["HTTPStatusCode"] for answer in answers] == [200] * 3
    assert len(scripted.calls) == 3


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "https://127.0.0.1:{port}", "http://sqs.test.invalid"])
async def test_an_endpoint_that_cannot_be_reached_is_the_same_error(scripted, connect_to, endpoint):
    """Nobody listens; TLS with who does not speak it; no such host."""
    mute = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    endpoint = endpoint.format(port=mute.sockets[0].getsockname()[1])
    async with mute, both(scripted, connect_to, endpoint_url=endpoint) as ways:
        told, again = [await outcome(way, RECEIVE) for way in ways]

    assert told == again
    assert "BotoCoreError" in told[0]


@CALLS
async def test_a_proxy_is_asked_for_the_same(scripted, connect_to, at_a_standstill, monkeypatch, call):
    monkeypatch.setenv("HTTP_PROXY", scripted.endpoint)
    monkeypatch.setenv("NO_PROXY", "")
    scripted.on(OPERATIONS[call[0]], {})
    async with both(scripted, connect_to, endpoint_url="http://sqs.test.invalid") as ways:
        for way in ways:
            await way(*call)

    requests = [(line, headers | dict.fromkeys(EVERY_TIME_ANOTHER, "")) for line, headers, _ in scripted.requests]
    assert len(requests) == 2
    assert requests[0] == requests[1]
    assert requests[0][0].startswith("POST http://sqs.test.invalid/")


async def test_a_lost_answer_is_asked_for_again_and_the_retries_are_told(scripted, connect_to):
    async with both(scripted, connect_to) as ways:
        answers = []
        for way in ways:
            replies = iter([b"", error(scripted.http, "InternalFailure", 500), {"Successful": [{"Id": "0"}]}])

            async def next_one(request, replies=replies):
                return next(replies)

            scripted.on("DeleteMessageBatch", next_one)
            answers.append(await way(*DELETE))

    assert answers[0] == answers[1]
    assert answers[1]["ResponseMetadata"]["RetryAttempts"] == 2


async def test_the_quota_of_retries_runs_out_and_is_refilled_as_the_sdks(scripted, connect_to):
    async with both(scripted, connect_to) as ways:
        tries = []
        for way in ways:
            scripted.calls.clear()
            scripted.on("DeleteMessageBatch", error(scripted.http, "InternalFailure", 500))
            for _ in range(51):
                await outcome(way, DELETE)
            scripted.on("DeleteMessageBatch", {})
            for _ in range(12):
                await way(*DELETE)
            scripted.on("DeleteMessageBatch", error(scripted.http, "InternalFailure", 500))
            for _ in range(3):
                await outcome(way, DELETE)
            tries.append(len(scripted.calls))

    assert tries[0] == tries[1] < 51 * 3 + 12 + 3 * 3


@pytest.mark.parametrize("offset", [-3600, 3600])
async def test_a_clock_that_is_off_is_said_as_such(scripted, open_provider, offset):
    date = formatdate(time.time() + offset, usegmt=True)
    scripted.on("ReceiveMessage", error(scripted.http, "RequestTimeTooSkewed", 403, date=date))
    provider = await open_provider(scripted.endpoint, "orders", client="fast")

    with pytest.raises(CredentialError, match="this machine's clock is off by minutes"):
        await provider.receive(10)


class Role:
    """Credentials that are good for an hour, and by whose clock."""

    def __init__(self):
        self.now, self.renewals, self.is_well = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), 0, True

    async def renew(self):
        if not self.is_well:
            raise MetadataRetrievalError(error_msg="nobody there")
        self.renewals += 1
        names = {name: f"{name}-{self.renewals}" for name in ("access_key", "secret_key", "token")}
        return names | {"expiry_time": (self.now + datetime.timedelta(hours=1)).isoformat()}

    def credentials(self):
        expired = {"access_key": "", "secret_key": "", "token": "", "expiry_time": self.now}
        return AioRefreshableCredentials(
            **expired, refresh_using=self.renew, method="test", time_fetcher=lambda: self.now
        )


async def test_credentials_that_are_renewed_between_two_calls_sign_the_second(scripted, context, monkeypatch):
    role = Role()
    credentials = role.credentials()

    async def get_credentials(self):
        return credentials

    monkeypatch.setattr(AioSession, "get_credentials", get_credentials)
    options = {"region_name": "us-east-1", "endpoint_url": scripted.endpoint, "client": "fast"}
    provider = SQSProvider(SQSOptions(queue="orders", **options))
    await provider.open(context)
    scripted.on("ReceiveMessage", {})
    scripted.requests.clear()
    for _ in range(3):
        await provider.receive(1)
        await provider.receive(1)
        role.now += datetime.timedelta(hours=1)
    role.is_well = False
    with pytest.raises(CredentialError):
        await provider.receive(1)

    signed = [
        (headers["authorization"].split("Credential=")[1].split("/")[0], headers["x-amz-security-token"])
        for _, headers, _ in scripted.requests
    ]
    assert signed == [(f"access_key-{number}", f"token-{number}") for number in (1, 1, 2, 2, 3, 3)]


async def test_a_poll_that_is_cancelled_hangs_up_and_is_not_asked_again(scripted, connect_to):
    polling, hung_up = asyncio.Event(), asyncio.Event()

    async def never(request):
        polling.set()
        try:
            await asyncio.Event().wait()
        finally:
            hung_up.set()

    scripted.on("ReceiveMessage", never)
    async with both(scripted, connect_to) as (_, short):
        poll = asyncio.ensure_future(short(*RECEIVE))
        await polling.wait()
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll

        scripted.on("ReceiveMessage", {})
        assert (await short(*RECEIVE))["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert len(scripted.calls) == 2


async def test_what_the_short_way_does_not_know_is_left_to_the_sdk_loudly_but_once(
    scripted, open_provider, held, monkeypatch, caplog
):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-2-3")
    scripted.on("ReceiveMessage", {})
    scripted.on("DeleteMessageBatch", scripted.done)
    provider = await open_provider(scripted.endpoint, "orders", client="fast")
    message = held(1)
    for _ in range(3):
        await provider.receive(1)
        assert await provider.ack([message]) == {message: Settled.DONE}

    assert caplog.text.count("headers x-amzn-trace-id") == 1
    assert [headers["x-amzn-trace-id"] for _, headers, _ in scripted.requests] == ["Root=1-2-3"] * len(
        scripted.requests
    )


async def test_an_sdk_that_is_made_otherwise_is_used_as_it_is(scripted, open_provider, held, monkeypatch, caplog):
    monkeypatch.setattr("loafer_sqs.fast.session.knows_the_sdk", lambda: False)
    monkeypatch.setattr(fast.FastCalls, "call", None)
    scripted.on("ReceiveMessage", {})
    scripted.on("DeleteMessageBatch", scripted.done)
    provider = await open_provider(scripted.endpoint, "orders", client="fast")
    message = held(1)

    assert await provider.receive(1) == []
    assert await provider.ack([message]) == {message: Settled.DONE}
    assert caplog.text.count("does not know this version of aiobotocore") == 1


@pytest.mark.parametrize("queue", ["orders", "orders.fifo"])
async def test_what_the_provider_asks_goes_the_short_way(scripted, open_provider, held, monkeypatch, queue):
    read, short = fast.read, []

    def noted(method, body):
        short.append(method)
        return read(method, body)

    monkeypatch.setattr(fast, "read", noted)
    scripted.on("ReceiveMessage", {})
    scripted.on("DeleteMessageBatch", scripted.done)
    provider = await open_provider(scripted.endpoint, queue, client="fast")

    await provider.receive(10)
    await provider.ack([held(1), held(2)])

    assert short == ["receive_message", "delete_message_batch"]


async def test_only_routes_that_choose_it_go_the_short_way_and_publishers_do_not(scripted, open_provider, context):
    await open_provider(scripted.endpoint, "orders", client="sdk")
    await open_provider(scripted.endpoint, "payments", client="fast")

    ways = [bool(clients._pair.fast) for clients in context.opened.values()]
    assert sorted(ways) == [False, True]
