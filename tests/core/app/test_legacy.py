"""``legacy_error_handler``: an error handler of georgeyk/loafer or olist-loafer is called and answered as it was."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import threading
import traceback

import pytest

from loafer_core import Ack, ConfigError, Failure, Manager, Message, Nack, Reject, legacy_error_handler
from loafer_core.testing import run_virtual


def failure(**message) -> Failure:
    """A failure that was really raised, so that it has a traceback."""
    try:
        raise LookupError("no such customer")
    except LookupError as error:
        return Failure(error, Message("id-1", '{"id": 1}', "a receipt", **message), "orders", "handle")


def asked(handler, failure: Failure):
    """The (exc_info, message) that ``handler`` is called with."""
    calls = []

    def keep(exc_info, message):
        calls.append((exc_info, message))
        return handler(exc_info, message) if handler else None

    legacy_error_handler(keep)(failure)
    return calls[0]


def test_exc_info_is_the_triple_that_the_standard_library_takes():
    raised = failure()

    exc_info, _ = asked(None, raised)

    assert exc_info == (LookupError, raised.error, raised.error.__traceback__)
    assert "no such customer" in "".join(traceback.format_exception(*exc_info))


def test_the_message_has_the_shape_of_sqs_and_no_receipt():
    facts = {"receive_count": 3, "sent_at": 1700000000.25, "group": "a"}

    _, message = asked(None, failure(attributes={"tenant": "acme"}, **facts))

    assert message == {
        "MessageId": "id-1",
        "Body": '{"id": 1}',
        "Attributes": {
            "ApproximateReceiveCount": "3",
            "SentTimestamp": "1700000000250",
            "MessageGroupId": "a",
        },
        "MessageAttributes": {"tenant": {"DataType": "String", "StringValue": "acme"}},
    }
    assert json.dumps(message)  # what many of them do with it


def test_what_the_source_does_not_tell_is_left_out():
    _, message = asked(None, failure())

    assert (message["Attributes"], message["MessageAttributes"]) == ({}, {})


def test_attributes_keep_the_types_that_the_source_told():
    attributes = {"weight": "3.5", "blob": b"\x00", "seal": b"\x01"}
    types = {"attribute_types": {"weight": "Number.kg", "seal": "Binary.png"}}

    _, message = asked(None, failure(attributes=attributes, metadata=types))

    assert message["MessageAttributes"] == {
        "weight": {"DataType": "Number.kg", "StringValue": "3.5"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00"},
        "seal": {"DataType": "Binary.png", "BinaryValue": b"\x01"},
    }


def test_the_message_may_be_changed_and_is_whole_again_the_next_time():
    raised = failure()

    asked(lambda exc_info, message: message.clear(), raised)

    assert asked(None, raised)[1]["Body"] == '{"id": 1}'


@pytest.mark.parametrize(
    ("returned", "opinion"),
    [
        (True, True),
        (1, True),
        ({"MessageId": "x"}, True),
        (False, False),
        (0, False),
        ([], False),
        (None, None),
        (Nack(delay=5), Nack(delay=5)),
        (Ack(), Ack()),
        (Reject("no"), Reject("no")),
    ],
)
async def test_what_it_returns_counts_as_it_did_but_nothing_is_no_opinion(returned, opinion):
    async def later(exc_info, message):
        return returned

    answers = [legacy_error_handler(one)(failure()) for one in (lambda exc_info, message: returned, later)]

    assert answers[0] == opinion
    assert await answers[1] == opinion


async def test_an_awaitable_that_a_plain_function_returns_is_awaited_and_not_taken_for_true():
    async def later(exc_info, message):
        return False

    answer = legacy_error_handler(lambda *args: later(*args))(failure())

    assert await answer is False


# --- in a route


def run(error_handler, *, bodies=("x",)) -> str:
    """What becomes of messages whose handler always fails, in a minute."""

    def handle(payload):
        raise LookupError("no such customer")

    provider = {"name": "memory", "messages": list(bodies)}
    route = {"provider": provider, "handler": handle, "error_handler": error_handler, "retry": {"base": 1000}}

    async def minute():
        async with Manager.from_config({"routes": {"orders": route}}) as manager:
            await asyncio.sleep(60)
        return str(manager.accounts["orders"])

    return run_virtual(minute(), grace=0.02)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """``legacy_shop.py``, as it was written for olist-loafer."""
    (tmp_path / "legacy_shop.py").write_text(
        "def drop(exc_info, message):\n    return message['Body'] == 'bad'\n"
        "class Errors:\n    def __call__(self, exc_info, message):\n        return True\n"
        "def new(failure):\n    return True\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    sys.modules.pop("legacy_shop", None)


@pytest.mark.usefixtures("shop")
def test_a_configuration_names_it_with_its_target():
    component = {"name": "loafer_core:legacy_error_handler", "target": "legacy_shop:drop"}

    assert run(component, bodies=("bad", "good")) == "2 received = 1 acked + 1 nacked"


def test_it_is_a_decorator_too():
    @legacy_error_handler
    def decide(exc_info, message):
        return exc_info[0] is LookupError

    assert run(decide) == "1 received = 1 acked"


def test_an_object_that_can_be_called_will_do():
    class Errors:
        async def __call__(self, exc_info, message):
            return True

    assert run(legacy_error_handler(Errors())) == "1 received = 1 acked"
    assert (
        run(legacy_error_handler(functools.partial(lambda more, exc_info, message: True, 1))) == "1 received = 1 acked"
    )


def test_a_plain_one_runs_in_a_thread_and_an_async_one_on_the_loop():
    threads = []

    def plain(exc_info, message):
        threads.append(threading.current_thread())

    async def on_the_loop(exc_info, message):
        threads.append(threading.current_thread())

    run([legacy_error_handler(plain), legacy_error_handler(on_the_loop)])

    assert threads[0] is not threading.main_thread()
    assert threads[1] is threading.main_thread()


def test_one_that_only_reports_lets_the_next_decide():
    reported = []

    account = run(
        [legacy_error_handler(lambda exc_info, message: reported.append(message["MessageId"])), lambda f: True]
    )

    assert len(reported) == 1
    assert account == "1 received = 1 acked"


def test_one_that_raises_is_named_as_what_it_is_and_the_message_is_kept(caplog):
    def forgetful(exc_info, message):
        raise KeyError(message["ReceiptHandle"])

    account = run(legacy_error_handler(forgetful))

    assert account == "1 received = 1 nacked"
    [said] = [record.getMessage() for record in caplog.records if "error handler" in record.getMessage()]
    assert "forgetful raised KeyError" in said


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("legacy_shop:dorp", "did you mean 'drop'?"),
        ("legacy_shop:Errors", "is a class; an instance of it is wanted here"),
        ("legacy_shop:new", "cannot be called as (exc_info, message)"),
        ("legacy_shop", "is not of the form 'module:attribute'"),
        (7, "neither callable"),
    ],
)
def test_a_target_that_will_not_do_is_refused_at_its_place_in_the_configuration(target, advice):
    with pytest.raises(ConfigError) as refused:
        run({"name": "loafer_core:legacy_error_handler", "target": target})

    [finding] = refused.value.findings
    assert finding.where.startswith("routes.orders.error_handler")
    assert advice in finding.message
