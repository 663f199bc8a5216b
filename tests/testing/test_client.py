"""``loafer_core.testing.deliver``: one message through a route as it is configured, without its broker."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from loafer_core import (
    Ack,
    ConfigError,
    Manager,
    MemoryProvider,
    MemoryQueue,
    Nack,
    Reject,
    Route,
    Settle,
    current,
)
from loafer_core.testing import Published, deliver

pytest_plugins = ["loafer_core.testing.fixtures"]


@dataclass
class Order:
    id: int


def route(handler, **parts):
    parts = {"translator": "json", **parts}
    return Route("orders", provider={"name": "sqs", "queue": "of-nobody"}, handler=handler, **parts)


@pytest.mark.parametrize(
    ("answer", "outcome"), [(True, Ack()), (False, Nack()), (Nack(20), Nack(20)), (Reject("no"), Reject("no"))]
)
async def test_the_outcome_is_what_the_handler_decided(answer, outcome):
    delivered = await deliver(route(lambda order: answer), "orders", {"id": 1})

    assert delivered.outcome == outcome
    assert (delivered.acked, delivered.nacked, delivered.rejected) == (
        isinstance(outcome, Ack),
        isinstance(outcome, Nack),
        isinstance(outcome, Reject),
    )
    assert (delivered.error, delivered.published) == (None, ())


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        ('{"id": 1}', '{"id": 1}'),
        (b"\xff", b"\xff"),
        ({"id": 1}, '{"id":1}'),
        (Order(1), '{"id":1}'),
        (None, "null"),
        ([], "[]"),
    ],
)
async def test_text_and_bytes_are_the_body_as_it_is_and_anything_else_is_json(payload, body):
    got = []

    async def keep(content):
        got.append(current().message.body)

    await deliver(route(keep, translator=Raw()), None, payload)
    assert got == [body]


class Raw:
    def translate(self, message):
        from loafer_core import Translation

        return Translation(message.body)


async def test_the_handler_gets_what_the_test_says_of_the_message():
    got = {}

    async def keep(order: Order, metadata):
        got.update(metadata, order=order, current=current().message.receive_count)

    facts = {"queue": "orders", "first_received_at": 12.0}
    await deliver(route(keep), "orders", {"id": 7}, {"tenant": "blue"}, group="a", receive_count=3, metadata=facts)

    assert got["order"] == Order(7)
    assert (got["receive_count"], got["current"], got["group"]) == (3, 3, "a")
    assert (dict(got["attributes"]), got["queue"], got["first_received_at"]) == ({"tenant": "blue"}, "orders", 12.0)


async def test_the_whole_route_is_real_and_opened_and_closed_around_the_delivery():
    story = []

    class Handler:
        async def open(self):
            story.append("open")

        def handle(self, order):
            story.append("handle")
            raise LookupError("no such order")

        async def close(self):
            story.append("close")

    async def middleware(message, call_next):
        story.append("before")
        try:
            return await call_next(message)
        finally:
            story.append("after")

    def decide(failure):
        story.append(failure.stage)
        return Reject("unknown")

    delivered = await deliver(route(Handler(), middleware=middleware, error_handler=decide), "orders", {})

    assert story == ["open", "before", "handle", "after", "handle", "close"]
    assert delivered.outcome == Reject("unknown")
    assert isinstance(delivered.error, LookupError)
    assert delivered.error.__traceback__ is not None


async def test_a_failure_that_nobody_decides_is_a_nack_with_its_error_and_the_line_of_the_log():
    async def fail(order):
        raise ConnectionError("the bank is closed")

    delivered = await deliver(route(fail), "orders", {})

    assert delivered.nacked
    assert str(delivered.error) == "the bank is closed"
    [record] = delivered.logs
    assert (record.name, record.levelname) == ("loafer.delivery", "WARNING")
    assert "ConnectionError" in record.getMessage()


async def test_a_body_that_the_translator_cannot_read_is_a_failure_of_the_delivery():
    delivered = await deliver(route(lambda order: True), "orders", "{")

    assert delivered.nacked
    assert type(delivered.error).__name__ == "TranslationError"


async def test_logs_are_those_of_this_delivery_alone_threads_included():
    def log(order):
        logging.getLogger("shop").warning("order %s", order["id"])

    async def one(number):
        return await deliver(route(log), "orders", {"id": number})

    delivered = await asyncio.gather(one(1), one(2))
    assert [[record.getMessage() for record in d.logs] for d in delivered] == [["order 1"], ["order 2"]]


async def test_what_a_publishing_handler_was_to_send_is_written_down_and_sent_nowhere(install):
    install(
        "loafer-post",
        """
        from loafer_core import HandlerSpec, Options, hookimpl
        LOAFER_API = 1

        class PostOptions(Options):
            office: str

        def _post(options):
            raise AssertionError("a test must not open the real one")

        @hookimpl
        def loafer_handlers():
            return [HandlerSpec(name="post", summary="Sends a letter", options=PostOptions, factory=_post)]
        """,
        point="post",
    )

    delivered = await deliver(route({"name": "post", "office": "Bonn"}), "orders", {"id": 1}, {"tenant": "blue"})

    [published] = delivered.published
    assert delivered.acked
    assert isinstance(published, Published)
    assert (published.handler, published.options.office, published.payload) == ("post", "Bonn", {"id": 1})
    assert dict(published.metadata["attributes"]) == {"tenant": "blue"}
    with pytest.raises(ConfigError, match=r"routes\.orders\.handler\.office: missing"):
        await deliver(route("post"), "orders", {})


FILE = """
[loafer]
lifespan = "delivered_app:lifespan"
observers = ["delivered_app:Watcher"]

[routes.orders]
provider = { name = "no-such-provider", queue = "${NO_SUCH_VARIABLE}" }
translator = "json"
handler = "delivered_app:handle"

[routes.others]
provider = { name = "sqs", queue = "${NO_SUCH_VARIABLE}" }
handler = "no_such_module:handle"
"""


@pytest.fixture
def app(tmp_path, monkeypatch):
    (tmp_path / "loafer.toml").write_text(FILE)
    (tmp_path / "delivered_app.py").write_text(
        textwrap.dedent("""
            from contextlib import asynccontextmanager

            class Watcher:
                def startup(self):
                    open("watched", "w").close()

            @asynccontextmanager
            async def lifespan():
                yield "the real one"

            @asynccontextmanager
            async def another():
                yield "another"

            async def handle(order, metadata):
                raise ValueError(metadata["state"])
        """)
    )
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("delivered_app", None)


async def test_a_file_is_taken_as_it_is_but_for_the_source_and_the_other_routes(app):
    delivered = await deliver("loafer.toml", "orders", {})
    assert str(delivered.error) == "the real one"

    delivered = await deliver(None, "orders", {}, overrides=["loafer.lifespan=delivered_app:another"])
    assert str(delivered.error) == "another"
    assert not (app / "watched").exists()  # observers report to the outside


async def test_what_is_wrong_with_the_route_itself_is_said_as_check_says_it(app):
    with pytest.raises(ConfigError) as raised:
        await deliver("loafer.toml", "orders", {}, overrides=["routes.orders.concurency=1", "routes.orders.handler=x"])

    assert [finding.where for finding in raised.value.findings if finding.level == "error"] == [
        "routes.orders.handler",
        "routes.orders.concurency",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ordres", "no route 'ordres'; did you mean 'orders'"),
        (None, "name one of the routes; there are orders, others"),
    ],
)
async def test_a_route_that_is_not_there_is_an_error_with_the_way_out(app, name, text):
    with pytest.raises(ConfigError, match=text):
        await deliver("loafer.toml", name, {})


async def test_a_manager_lends_its_settings_and_is_not_used():
    got = []
    queue = MemoryQueue("orders")
    manager = Manager([Route("orders", provider=MemoryProvider(queue=queue), handler=got.append)])

    assert (await deliver(manager, "orders", "A1")).acked
    assert got == ["A1"]
    assert (manager.accounts, queue.depth) == ({}, 0)


async def test_another_source_can_stand_in_if_it_publishes():
    queue = MemoryQueue("orders", ordered=True)

    class Mute:
        """A provider, but for ``publish``."""

        def __init__(self):
            inner = MemoryProvider()
            for name in ("open", "receive", "ack", "nack", "release", "extend", "stop", "close", "traits"):
                setattr(self, name, getattr(inner, name))

    assert (await deliver(route(lambda order: True), None, {}, provider=MemoryProvider(queue=queue))).acked
    assert queue.depth + queue.in_flight == 0
    assert (await deliver(route(lambda order: True), None, {}, provider={"name": "memory", "ordered": True})).acked
    with pytest.raises(ConfigError, match="cannot publish"):
        await deliver(route(lambda order: True), None, {}, provider=Mute())


async def test_a_nacked_message_is_delivered_once_also_where_it_comes_back_at_once():
    calls = []

    async def again(order):
        calls.append(order)
        raise Settle(Nack(delay=0))

    assert (await deliver(route(again), None, {})).nacked
    assert len(calls) == 1


async def test_a_component_that_does_not_open_is_an_error_and_what_was_opened_is_closed():
    left = []

    @asynccontextmanager
    async def lifespan():
        yield
        left.append("lifespan")

    class Handler:
        def start(self):
            raise OSError("no such disk")

        async def handle(self, order): ...

    sys.modules["deliver_lifespan"] = type(sys)("deliver_lifespan")
    sys.modules["deliver_lifespan"].lifespan = lifespan
    try:
        with pytest.raises(ConfigError, match=r"routes\.orders\.handler: opening it raised OSError: no such disk"):
            await deliver(
                {
                    "loafer": {"lifespan": "deliver_lifespan:lifespan"},
                    "routes": {"orders": {"provider": "memory", "handler": Handler()}},
                },
                "orders",
                {},
            )
    finally:
        del sys.modules["deliver_lifespan"]
    assert left == ["lifespan"]


async def test_a_delivery_that_does_not_end_is_given_up_after_the_timeout():
    async def hang(order):
        await asyncio.sleep(3600)

    async with asyncio.timeout(12):  # and not after the drain that a service would get
        with pytest.raises(TimeoutError, match=r"did not end within 0\.05 s"):
            await deliver(route(hang), None, {}, timeout=0.05)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"payload": object()}, "a object that cannot be written as JSON"),
        ({"payload": 1, "provider": MemoryProvider(), "receive_count": 2}, "receive_count and metadata"),
        ({"payload": 1, "overrides": ["a=1"]}, "overrides are for a file or a mapping"),
    ],
)
async def test_arguments_that_cannot_be_meant_are_refused(arguments, text):
    with pytest.raises(TypeError, match=text):
        await deliver(route(print), "orders", **arguments)


def test_the_fixture_is_for_plain_tests(deliver):
    assert deliver(route(lambda order: True), "orders", {"id": 1}).acked


async def test_the_fixture_says_what_to_write_in_an_async_test(request):
    with pytest.raises(RuntimeError, match=r"await loafer_core\.testing\.deliver"):
        request.getfixturevalue("deliver")(route(print), "orders", {})


def test_a_route_of_sqs_is_tested_without_an_import_of_its_sdk(tmp_path):
    program = """
        import asyncio, sys
        from loafer_core.testing import deliver
        routes = {"forward": {
            "provider": {"name": "sqs", "queue": "in"}, "translator": "json", "handler": {"name": "sqs", "queue": "out"}
        }}
        delivered = asyncio.run(deliver({"routes": routes}, "forward", {"id": 1}))
        assert delivered.published[0].options.queue == "out"
        print({"aiobotocore", "botocore", "boto3", "pytest"} & sys.modules.keys())
    """
    asked = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, capture_output=True, text=True, timeout=50
    )
    assert (asked.stdout, asked.stderr) == ("set()\n", "")
