"""Opening: what is found out, what is said about it, and what a user reads when it goes wrong."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from loafer_core import CredentialError, SourceConfigError, Throttled, Unavailable
from loafer_sqs import SQSOptions, SQSProvider


async def test_a_url_with_another_host_does_not_change_the_endpoint(scripted, open_provider):
    url = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
    scripted.on("ReceiveMessage", {})
    provider = await open_provider(scripted.endpoint, url)

    await provider.receive(1)

    assert [request["QueueUrl"] for request in scripted.asked("ReceiveMessage")] == [url]


async def test_the_owner_of_another_accounts_queue_is_asked_for(scripted, open_provider):
    await open_provider(scripted.endpoint, "orders", queue_owner="123456789012")

    assert scripted.asked("GetQueueUrl") == [{"QueueName": "orders", "QueueOwnerAWSAccountId": "123456789012"}]


async def test_without_credentials_the_ways_to_give_them_are_named(scripted, context):
    provider = SQSProvider(SQSOptions(queue="orders", region_name="us-east-1", endpoint_url=scripted.endpoint))

    with pytest.raises(CredentialError, match=r"aws_access_key_id.*profile_name.*AWS_ACCESS_KEY_ID.*role"):
        await provider.open(context)

    assert scripted.calls == []


async def test_a_stale_aws_profile_does_not_matter_where_everything_is_given(scripted, open_provider, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nope")

    provider = await open_provider(scripted.endpoint, "orders")

    assert provider.traits.lease == 30


async def test_a_loopback_endpoint_is_never_reached_through_a_proxy(scripted, open_provider, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    provider = await open_provider(scripted.endpoint, "orders")

    assert provider.traits.lease == 30


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDenied", SourceConfigError),
        ("InvalidClientTokenId", SourceConfigError),
        ("ExpiredToken", CredentialError),
        ("KMS.DisabledException", SourceConfigError),
    ],
)
async def test_a_refusal_at_open_is_classified(scripted, open_provider, code, kind):
    scripted.on("GetQueueUrl", scripted.error(code, 403))

    with pytest.raises(kind, match=code):
        await open_provider(scripted.endpoint, "orders")


async def test_throttling_at_open_is_tried_three_times_and_then_said(scripted, open_provider):
    scripted.on("GetQueueUrl", scripted.error("RequestThrottled", 403))

    with pytest.raises(Throttled):
        await open_provider(scripted.endpoint, "orders")

    assert len(scripted.asked("GetQueueUrl")) == 3


async def test_a_denied_get_queue_url_says_that_a_url_would_do(scripted, open_provider):
    scripted.on("GetQueueUrl", scripted.error("AccessDenied", 403))

    with pytest.raises(SourceConfigError, match="give the queue's URL"):
        await open_provider(scripted.endpoint, "orders")


@pytest.mark.parametrize("reply", [{"Attributes": {}}, {}, "denied", {"Attributes": {"VisibilityTimeout": "0"}}])
async def test_a_lease_that_is_not_told_is_asked_for_with_every_receive(scripted, open_provider, caplog, reply):
    scripted.on("GetQueueAttributes", scripted.error("AccessDenied", 403) if reply == "denied" else reply)
    scripted.on("ReceiveMessage", {})

    provider = await open_provider(scripted.endpoint, "orders")
    await provider.receive(1)

    assert provider.traits.lease == 30
    assert [request["VisibilityTimeout"] for request in scripted.asked("ReceiveMessage")] == [30]
    assert caplog.text.count("asks for 30 s") == 1


async def test_a_queue_is_fifo_by_its_name_or_its_attribute_and_never_by_a_group(scripted, open_provider):
    plain = await open_provider(scripted.endpoint, "orders")
    by_name = await open_provider(scripted.endpoint, "orders.fifo")
    scripted.on("GetQueueAttributes", {"Attributes": {"FifoQueue": "true"}})
    by_attribute = await open_provider(scripted.endpoint, "orders")

    assert [p.traits.ordered for p in (plain, by_name, by_attribute)] == [False, True, True]


async def test_a_dead_letter_queue_that_cannot_be_resolved_turns_reject_off(scripted, open_provider, caplog):
    policy = '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:orders-dead", "maxReceiveCount": "5"}'
    scripted.on("GetQueueAttributes", {"Attributes": {"RedrivePolicy": policy}})

    async def only_orders(request):
        if request["QueueName"] == "orders":
            return {"QueueUrl": f"{scripted.endpoint}/000000000000/orders"}
        return scripted.error("AWS.SimpleQueueService.NonExistentQueue")

    scripted.on("GetQueueUrl", only_orders)
    provider = await open_provider(scripted.endpoint, "orders")

    assert provider.traits.rejects is False
    assert "'orders-dead' cannot be resolved" in caplog.text
    assert scripted.asked("GetQueueUrl")[-1]["QueueOwnerAWSAccountId"] == "123456789012"


async def test_an_endpoint_from_the_environment_is_warned_of(scripted, context, connect_to, monkeypatch, caplog):
    monkeypatch.setenv("AWS_ENDPOINT_URL", scripted.endpoint)
    keys = {**connect_to(""), "endpoint_url": None}

    await SQSProvider(SQSOptions(queue="orders", **keys)).open(context)

    assert f"{scripted.endpoint} comes from the environment" in caplog.text


async def test_two_routes_of_one_connection_share_one_pair_of_clients(scripted, open_provider, context):
    await open_provider(scripted.endpoint, "orders")
    await open_provider(scripted.endpoint, "payments")

    assert len(context.opened) == 1


async def test_an_endpoint_is_warned_of_once_however_often_opening_is_tried(
    scripted, context, connect_to, monkeypatch, caplog
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", scripted.endpoint)
    keys = {**connect_to(""), "endpoint_url": None}
    for _ in range(3):
        await SQSProvider(SQSOptions(queue="orders", **keys)).open(context)
        context.opened.clear()

    assert caplog.text.count("comes from the environment") == 1


async def test_plain_http_to_another_machine_is_warned_of_and_then_nothing_more_is_said(context, connect_to, caplog):
    for _ in range(2):
        with pytest.raises(Unavailable):
            await SQSProvider(SQSOptions(queue="orders", **connect_to("http://sqs.invalid"))).open(context)
        context.opened.clear()

    assert caplog.text.count("without TLS: http://sqs.invalid") == 1


async def test_a_clock_that_is_off_is_said_at_start(scripted, open_provider, caplog):
    date = formatdate(time.time() + 400, usegmt=True)
    answer = b'{"QueueUrl": "http://127.0.0.1:1/000000000000/orders"}'
    scripted.on("GetQueueUrl", scripted.http(200, answer, date=date))

    await open_provider(scripted.endpoint, "orders")

    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "s behind the server's" in record.getMessage()


async def test_a_dead_letter_queue_whose_attributes_are_not_for_us_is_no_trouble(scripted, open_provider, caplog):
    policy = '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:orders-dead", "maxReceiveCount": "5"}'

    async def only_of_orders(request):
        if request["QueueUrl"].endswith("/orders"):
            return {"Attributes": {"RedrivePolicy": policy, "VisibilityTimeout": "30", "MessageRetentionPeriod": "60"}}
        return scripted.error("AccessDenied", 403)

    async def url(request):
        return {"QueueUrl": f"{scripted.endpoint}/000000000000/{request['QueueName']}"}

    scripted.on("GetQueueAttributes", only_of_orders)
    scripted.on("GetQueueUrl", url)

    provider = await open_provider(scripted.endpoint, "orders")

    assert provider.traits.rejects is True
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


@pytest.mark.parametrize(("app_id", "shown"), [(None, "loafer-sqs/"), ("shop", "app/shop")])
async def test_aws_is_told_who_asks(scripted, open_provider, monkeypatch, app_id, shown):
    if app_id is not None:
        monkeypatch.setenv("AWS_SDK_UA_APP_ID", app_id)

    await open_provider(scripted.endpoint, "orders")

    agents = {headers["user-agent"] for _, headers, _ in scripted.requests}
    assert [agent.startswith("aiobotocore/") and shown in agent for agent in agents] == [True]
