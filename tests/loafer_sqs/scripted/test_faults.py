"""Answers that no well-behaved server gives, lost answers, and polls that are in the way."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import hashlib
import json
import logging
import weakref
from email.utils import formatdate

import pytest

from loafer_core import CredentialError, ProviderError, Settled, Unavailable
from loafer_sqs import SQSOptions, SQSProvider
from loafer_sqs import provider as provider_module
from loafer_sqs.aws import client

BOTH_CLIENTS = True


def received(number: int, body: str = "x", **more) -> dict:
    """One entry of a ReceiveMessage answer."""
    digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    return {"MessageId": f"id-{number}", "ReceiptHandle": f"handle-{number}", "Body": body, "MD5OfBody": digest, **more}


HTML = b"<html><body>Please log in to the guest network</body></html>"


@pytest.mark.parametrize(
    "garbage",
    ["portal", "empty", "not json", "invalid utf-8", "truncated", "reset", "500 html", "502 html", "not http", "list"],
)
@pytest.mark.parametrize("operation", ["receive", "ack"])
async def test_garbage_is_unavailable_and_no_crash(scripted, open_provider, held, garbage, operation):
    plain = {"content_type": "text/html", "x_amzn_requestid": ""}
    answers = {
        "portal": scripted.http(200, HTML, **plain),
        "empty": scripted.http(200, b"", **plain),
        "not json": scripted.http(200, b"{'a': ", **plain),
        "invalid utf-8": scripted.http(200, b'{"Messages": "\xff\xfe"}'),
        "truncated": scripted.http(200, b'{"Messages": [' + b" " * 1000)[:-500],
        "reset": b"",
        "500 html": scripted.http(500, HTML, **plain),
        "502 html": scripted.http(502, b"<!DOCTYPE html>" + HTML, **plain),
        "not http": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "list": scripted.http(200, b"[1, 2]"),
    }
    for name in ("ReceiveMessage", "DeleteMessageBatch"):
        scripted.on(name, answers[garbage])
    provider = await open_provider(scripted.endpoint, "orders")

    with pytest.raises(Unavailable) as failure:
        await (provider.receive(10) if operation == "receive" else provider.ack([held(1)]))

    assert "'orders'" in str(failure.value)
    assert "guest network" not in str(failure.value)


class Body(str):
    """One of which it can be told whether it is still there."""


@pytest.mark.parametrize("code", ["AccessDenied", "QueueDoesNotExist"])
async def test_a_settlement_that_fails_keeps_its_message_alive_no_longer(scripted, open_provider, held, code):
    scripted.on("DeleteMessageBatch", scripted.error(code))
    provider = await open_provider(scripted.endpoint, "orders")
    body = Body("x")
    alive = weakref.ref(body)

    gc.disable()
    try:
        with pytest.raises(ProviderError):
            await provider.ack([dataclasses.replace(held(1), body=body)])
        del body
        assert alive() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("answer", [{}, {"Messages": None}, {"Messages": []}, {"Unknown": 1}])
async def test_an_answer_without_messages_is_an_empty_one(scripted, open_provider, answer):
    scripted.on("ReceiveMessage", answer)
    provider = await open_provider(scripted.endpoint, "orders")

    assert list(await provider.receive(10)) == []


@pytest.mark.parametrize("status", [500, 503])
async def test_a_receive_is_asked_once_and_a_settlement_three_times(scripted, open_provider, held, status):
    scripted.on("ReceiveMessage", scripted.error("InternalError", status))
    scripted.on("DeleteMessageBatch", scripted.error("InternalError", status))
    provider = await open_provider(scripted.endpoint, "orders")

    for call in (provider.receive(10), provider.ack([held(1)])):
        with pytest.raises(Unavailable):
            await call

    assert len(scripted.asked("ReceiveMessage")) == 1
    assert len(scripted.asked("DeleteMessageBatch")) == 3


async def test_a_poll_that_trickles_is_given_up(scripted, open_provider, monkeypatch):
    monkeypatch.setattr("loafer_sqs.provider.POLL_GRACE", 0.05)

    async def never(request):
        await asyncio.Event().wait()

    scripted.on("ReceiveMessage", never)
    provider = await open_provider(scripted.endpoint, "orders", wait_time_seconds=0)

    with pytest.raises(Unavailable, match="TimeoutError"):
        await provider.receive(10)


async def test_entries_that_lack_something_are_left_out_and_the_good_ones_handed_out(scripted, open_provider, caplog):
    bad = [received(number) for number in (1, 2, 3)]
    for entry, key in zip(bad, ("MessageId", "ReceiptHandle", "Body"), strict=True):
        del entry[key]
    scripted.on("ReceiveMessage", {"Messages": [*bad, received(4, body="")]})
    provider = await open_provider(scripted.endpoint, "orders")

    messages = await provider.receive(10)

    assert [(message.id, message.body) for message in messages] == [("id-4", "")]
    assert caplog.text.count("was left out") == 3
    assert "id-2" in caplog.text
    assert "handle" not in caplog.text


async def test_a_damaged_body_is_left_to_its_lease_and_said_loudly(scripted, open_provider, caplog):
    damaged = received(1) | {"Body": "y"}
    scripted.on("ReceiveMessage", {"Messages": [damaged, received(2)]})
    provider = await open_provider(scripted.endpoint, "orders")

    assert [message.id for message in await provider.receive(10)] == ["id-2"]
    assert [record.levelno for record in caplog.records if "id-1" in record.getMessage()] == [logging.ERROR]


async def test_on_a_fifo_queue_nothing_overtakes_what_could_not_be_read(scripted, open_provider):
    def of(group: str, number: int) -> dict:
        return received(number, Attributes={"MessageGroupId": group})

    scripted.on("ReceiveMessage", {"Messages": [of("a", 1), of("a", 2) | {"Body": "y"}, of("a", 3), of("b", 4)]})
    provider = await open_provider(scripted.endpoint, "orders.fifo")

    assert [message.id for message in await provider.receive(10)] == ["id-1", "id-4"]


async def test_system_attributes_may_be_missing_or_odd(scripted, open_provider):
    odd = {"ApproximateReceiveCount": "many", "SentTimestamp": ""}
    scripted.on("ReceiveMessage", {"Messages": [received(1), received(2, Attributes=odd)]})
    provider = await open_provider(scripted.endpoint, "orders")

    messages = await provider.receive(10)

    assert [(m.receive_count, m.sent_at, m.group) for m in messages] == [(None, None, None)] * 2


async def test_both_names_of_the_system_attributes_are_asked_for(scripted, open_provider):
    scripted.on("ReceiveMessage", {})
    provider = await open_provider(scripted.endpoint, "orders")
    await provider.receive(3)

    [request] = scripted.asked("ReceiveMessage")
    assert request["AttributeNames"] == request["MessageSystemAttributeNames"] == ["All"]
    assert (request["MaxNumberOfMessages"], request["WaitTimeSeconds"]) == (3, 5)  # the context's max_wait
    assert "ReceiveRequestAttemptId" not in request


async def test_a_lost_answer_of_a_fifo_queue_is_asked_for_again_by_the_same_attempt(scripted, open_provider):
    provider = await open_provider(scripted.endpoint, "orders.fifo")
    for reply in (b"", b"", {}):
        scripted.on("ReceiveMessage", reply)
        try:
            await provider.receive(4)
        except Unavailable:
            pass
    await provider.receive(4)

    attempts = [request["ReceiveRequestAttemptId"] for request in scripted.asked("ReceiveMessage")]
    assert attempts[0] == attempts[1] == attempts[2]
    assert attempts[3] != attempts[0]


async def test_a_lost_answer_that_would_not_fit_any_more_is_not_asked_for(scripted, open_provider):
    provider = await open_provider(scripted.endpoint, "orders.fifo")
    scripted.on("ReceiveMessage", b"")
    for limit in (6, 2):
        with pytest.raises(Unavailable):
            await provider.receive(limit)

    first, second = scripted.asked("ReceiveMessage")
    assert first["ReceiveRequestAttemptId"] != second["ReceiveRequestAttemptId"]
    assert second["MaxNumberOfMessages"] == 2


async def test_an_answer_that_was_read_late_has_as_much_less_lease(scripted, open_provider):
    this_second = formatdate(1_790_000_000, usegmt=True)  # every answer is written in it, as the server's clock says

    def answer(reply: dict) -> bytes:
        return scripted.http(200, json.dumps(reply).encode(), date=this_second)

    async def read_late(request):
        await asyncio.sleep(1.5)  # on its way
        return answer({"Messages": [received(1)]})

    scripted.on("GetQueueUrl", answer({"QueueUrl": f"{scripted.endpoint}/000000000000/orders"}))
    scripted.on("ReceiveMessage", read_late)
    provider = await open_provider(scripted.endpoint, "orders", wait_time_seconds=20)
    sent = asyncio.get_running_loop().time()

    [message] = await provider.receive(1)

    assert message.lease_until == pytest.approx(sent + 30 - 1, abs=0.2)


async def test_without_permission_to_change_visibility_leases_are_left_to_end_loudly_but_once(
    scripted, open_provider, held, caplog
):
    scripted.on("ChangeMessageVisibilityBatch", scripted.error("AccessDenied", 403, "sqs:ChangeMessageVisibility"))
    provider = await open_provider(scripted.endpoint, "orders")
    message = held(1)

    for call in (provider.extend([message]), provider.nack({message: 3.0}), provider.release([message])):
        assert (await call).get(message, Settled.RETRY) is Settled.RETRY

    [error] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "until sqs:ChangeMessageVisibility is allowed" in error
    assert len(scripted.asked("ChangeMessageVisibilityBatch")) == 1


async def test_a_permission_that_was_given_meanwhile_is_used(scripted, open_provider, held, monkeypatch):
    monkeypatch.setattr(provider_module, "ASK_DENIED_EVERY", 0.0)
    scripted.on("ChangeMessageVisibilityBatch", scripted.error("AccessDenied", 403))
    provider = await open_provider(scripted.endpoint, "orders")
    message = held(1)
    await provider.extend([message])

    scripted.on("ChangeMessageVisibilityBatch", scripted.done)
    assert await provider.extend([message]) == {message: Settled.DONE}


async def test_an_ack_does_not_wait_for_a_hundred_and_twenty_open_long_polls(scripted, open_provider, held):
    deleted = asyncio.Event()
    polling = asyncio.Semaphore(0)

    async def until_the_delete(request):
        polling.release()
        await deleted.wait()
        return {}

    async def delete(request):
        deleted.set()
        return await scripted.done(request)

    scripted.on("ReceiveMessage", until_the_delete)
    scripted.on("DeleteMessageBatch", delete)
    provider = await open_provider(scripted.endpoint, "orders", wait_time_seconds=20)
    message = held(1)
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        for _ in range(120):
            group.create_task(provider.receive(1))
        for _ in range(120):
            await polling.acquire()

        assert await provider.ack([message]) == {message: Settled.DONE}


@pytest.mark.parametrize(("least_seconds_between", "key"), [(0.0, "new"), (60.0, "old")])
async def test_credentials_are_read_anew_after_three_refusals_but_not_all_the_time(
    scripted, context, monkeypatch, tmp_path, least_seconds_between, key
):
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setattr(client, "RENEW_EVERY", least_seconds_between)
    file.write_text("[default]\naws_access_key_id = old\naws_secret_access_key = secret\n")
    keys = {"region_name": "us-east-1", "endpoint_url": scripted.endpoint}
    provider = SQSProvider(SQSOptions(queue="orders", **keys))
    await provider.open(context)
    scripted.on("ReceiveMessage", scripted.error("ExpiredToken", 403))
    for _ in range(3):
        with pytest.raises(CredentialError):
            await provider.receive(1)

    file.write_text("[default]\naws_access_key_id = new\naws_secret_access_key = secret\n")
    scripted.on("ReceiveMessage", {})
    scripted.authorizations.clear()
    await provider.receive(1)

    assert [f"Credential={key}/" in line for line in scripted.authorizations] == [True]
