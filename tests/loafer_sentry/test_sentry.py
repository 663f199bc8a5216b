"""The error handler ``sentry``, through the SDK's real transport and, at the end, through the real manager."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
import sentry_sdk
from pydantic import BaseModel

from loafer_core import ConfigError, Failure, Manager, Message
from loafer_sentry import SentryOptions, SentryReporter

CANARY = "canary-4111-1111"
BODY = json.dumps({"card": CANARY, "amount": 4200})


def failure_of(error: BaseException, **message: object) -> Failure:
    return Failure(error, Message("m-1", **{"body": BODY, "receive_count": 3, **message}), "orders", "handle")


def raised(function, *args: object) -> BaseException:
    try:
        function(*args)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def charge(body: str) -> None:
    payload = json.loads(body)
    card = payload["card"]
    raise ValueError(f"no such card {card} in {body}")


def reporter(sentry, **options: object) -> SentryReporter:
    handler = SentryReporter(SentryOptions(dsn=sentry.dsn, **options))
    handler.open()
    return handler


def test_a_failure_becomes_one_event_with_ids_and_its_stack(sentry):
    handler = reporter(sentry, environment="staging", release="shop@1")

    opinion = handler.handle(failure_of(raised(charge, BODY)))
    handler.close()

    [event] = sentry.events
    [value] = event["exception"]["values"]
    assert opinion is None
    assert event["tags"] == {"route": "orders", "message_id": "m-1", "receive_count": 3, "stage": "handle"}
    assert (event["environment"], event["release"], event["transaction"]) == ("staging", "shop@1", "orders")
    assert value["type"] == "ValueError"
    assert value["stacktrace"]["frames"][-1]["function"] == "charge"


def test_nothing_of_the_body_is_sent_neither_in_texts_nor_in_the_frames_variables(sentry):
    handler = reporter(sentry)

    handler.handle(failure_of(raised(charge, BODY)))
    handler.close()

    assert len(sentry.events) == 1
    assert CANARY not in "".join(sentry.raw)
    assert "no such card [redacted]" in sentry.events[0]["exception"]["values"][0]["value"]
    assert all("vars" not in frame for frame in sentry.events[0]["exception"]["values"][0]["stacktrace"]["frames"])


def test_a_validation_error_that_quotes_its_input_is_redacted(sentry):
    class Order(BaseModel):
        card: int

    handler = reporter(sentry)

    handler.handle(failure_of(raised(Order.model_validate_json, BODY)))
    handler.close()

    assert "ValidationError" in "".join(sentry.raw)
    assert CANARY not in "".join(sentry.raw)


def test_chained_errors_and_plain_and_binary_bodies_are_redacted_too(sentry):
    def chain(body: str) -> None:
        try:
            raise KeyError(body)
        except KeyError as error:
            raise RuntimeError(f"while reading {body!r}") from error

    text = f"pay {CANARY}\nnow"
    handler = reporter(sentry)

    handler.handle(failure_of(raised(chain, text), body=text))
    handler.handle(failure_of(raised(chain, text), body=text.encode()))
    handler.close()

    assert len(sentry.events) == 2
    assert CANARY not in "".join(sentry.raw)


def test_a_body_too_large_to_take_apart_withholds_the_text_whole(sentry):
    handler = reporter(sentry)
    large = json.dumps({"card": CANARY, "padding": "x" * 70_000})

    handler.handle(failure_of(raised(charge, large), body=large))
    handler.close()

    assert sentry.events[0]["exception"]["values"][0]["value"] == "[redacted]"
    assert CANARY not in "".join(sentry.raw)


def test_send_body_sends_it(sentry):
    handler = reporter(sentry, send_body=True)

    handler.handle(failure_of(raised(charge, BODY)))
    handler.close()

    assert json.loads(sentry.events[0]["extra"]["body"])["card"] == CANARY


def test_ack_is_given_once_the_failure_was_reported(sentry):
    handler = reporter(sentry, ack=True)

    assert handler.handle(failure_of(ValueError("no"))) is True
    handler.close()
    assert len(sentry.events) == 1


def test_without_dsn_and_without_an_initialised_sdk_there_is_one_warning_and_never_an_ack(caplog):
    handler = SentryReporter(SentryOptions(ack=True))
    handler.open()

    opinions = [handler.handle(failure_of(ValueError("no"))) for _ in range(3)]
    handler.close()

    assert opinions == [None, None, None]
    assert [record.name for record in caplog.records] == ["loafer.sentry"]


def test_the_processs_own_sdk_is_used_without_its_variables_and_breadcrumbs_and_its_scope_is_left_alone(sentry):
    sentry_sdk.init(dsn=sentry.dsn, include_local_variables=True, auto_enabling_integrations=False)
    try:
        sentry_sdk.add_breadcrumb(message=CANARY)
        handler = SentryReporter(SentryOptions())
        handler.open()
        handler.handle(failure_of(raised(charge, BODY)))
        sentry_sdk.capture_exception(LookupError("the service's own"))
        handler.close()
    finally:
        sentry_sdk.get_client().close()
        sentry_sdk.Scope.get_global_scope().set_client(None)

    ours, own = sentry.events
    assert CANARY not in json.dumps(ours)
    assert ours["tags"]["route"] == "orders"
    assert "route" not in own.get("tags", {})


def test_t36_a_sentry_out_of_reach_holds_up_nobody_and_the_stop_is_bounded():
    handler = SentryReporter(SentryOptions(dsn="http://key@127.0.0.1:9/1", flush_timeout=0.5))
    handler.open()
    before = time.monotonic()

    opinion = handler.handle(failure_of(ValueError("no")))
    handler.close()

    assert opinion is None
    assert time.monotonic() - before < 10  # not a measure: a hang would be cut by nothing else


def test_the_dsn_is_never_shown():
    options = SentryOptions(dsn="https://secret-key@sentry.example/1")

    assert "secret-key" not in repr(options) + repr(SentryReporter(options))


@pytest.mark.parametrize("dsn", ["secret-key", "https://sentry.example/1", "ftp://secret-key@sentry.example/1"])
def test_what_is_no_dsn_is_refused_before_the_start_and_not_shown(dsn):
    with pytest.raises(ConfigError, match="no Sentry DSN") as refused:
        Manager.from_config({"routes": {"orders": {**ROUTE, "error_handler": {"name": "sentry", "dsn": dsn}}}})

    assert "secret-key" not in str(refused.value)


def test_an_empty_dsn_is_none():
    assert SentryOptions(dsn="").dsn is None


@pytest.mark.parametrize("key", ["dns", "flush"])
def test_a_misspelt_option_is_a_configuration_error(key):
    with pytest.raises(Exception, match=key):
        Manager.from_config({"routes": {"orders": {**ROUTE, "error_handler": {"name": "sentry", key: "x"}}}})


ROUTE = {"provider": {"name": "memory", "queue": "sentry-orders", "messages": [BODY]}, "handler": charge}


async def test_through_the_manager_a_failing_message_is_reported_and_the_next_error_handler_decides(sentry):
    decided = asyncio.Event()

    def decide(failure: Failure) -> bool:
        loop.call_soon_threadsafe(decided.set)
        return True

    loop = asyncio.get_running_loop()
    route = {**ROUTE, "error_handler": [{"name": "sentry", "dsn": sentry.dsn}, decide]}

    async with Manager.from_config({"loafer": {"shutdown_timeout": 5}, "routes": {"orders": route}}) as manager:
        await decided.wait()

    assert manager.accounts["orders"].acked == 1
    assert [event["tags"]["stage"] for event in sentry.events] == ["handle"]
    assert CANARY not in "".join(sentry.raw)
