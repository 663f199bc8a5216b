"""Messages that come over the SQS protocol reach the user's handlers, and end as the handlers say."""

from __future__ import annotations

import signal

import pytest


def test_each_message_ends_as_its_handler_says(service, moto, moto_server):
    queue = moto(dead_after=3, VisibilityTimeout="10")
    service.module(
        """
        from loafer_core import Ack, DeleteMessage, Nack, Reject

        async def handle(body, metadata):
            count = metadata["receive_count"]
            say(body, count)
            if body == "delete":
                raise DeleteMessage
            if body == "raise" or (body == "raise once" and count == 1):
                raise RuntimeError("no")
            return {
                "true": True,
                "none": None,
                "ack": Ack(),
                "false once": count > 1,
                "nack once": Nack(1) if count == 1 else Ack(),
                "reject": Reject("beyond repair"),
            }.get(body)
        """
    )
    service.config(service.sqs(moto_server) + service.route(queue, retry={"base": 1, "cap": 1}))
    bodies = ["true", "none", "ack", "delete", "false once", "nack once", "raise once", "reject", "raise"]
    ids = dict(zip(bodies, queue.send(*bodies), strict=True))

    run = service.loafer("run", "--until-empty=60")

    assert run.ends() == 1  # "raise" was dead-lettered
    once = ["true", "none", "ack", "delete", "reject"]
    assert sorted(run.stdout) == sorted(
        [f"{body} 1" for body in once]
        + [f"{body} {count}" for body in ("false once", "nack once", "raise once") for count in (1, 2)]
        + [f"raise {count}" for count in (1, 2, 3)]
    )
    assert f"orders: neither acked nor rejected in the end: 1 ({ids['raise']})" in run.stderr
    assert "account of orders: 14 received = 7 acked + 6 nacked + 1 rejected" in run.stderr
    assert queue.counts == (0, 0)
    dead = {message["Body"]: message for message in queue.dead.take()}
    assert sorted(dead) == ["raise", "reject"]
    assert dead["reject"]["MessageAttributes"]["loafer.reason"]["StringValue"] == "beyond repair"


def test_until_empty_exits_0_when_everything_was_done_in_the_end(service, moto, moto_server):
    queue = moto()
    service.module("def handle(body, metadata):\n    return metadata['receive_count'] > 1\n")
    service.config(service.sqs(moto_server) + service.route(queue, retry={"base": 1, "cap": 1}))
    queue.send("a", "b")

    run = service.loafer("run", "--until-empty")

    assert run.ends() == 0
    assert "account of orders: 4 received = 2 acked + 2 nacked" in run.stderr
    assert queue.counts == (0, 0)


def test_a_typed_payload_passes_middlewares_and_error_handlers_on_its_way(service, moto, moto_server):
    queue = moto(dead_after=5)
    service.module(
        """
        from pydantic import BaseModel
        from loafer_core import Ack, current

        class Order(BaseModel):
            id: int

        class Handler:
            def __init__(self):
                say("made")

            async def start(self):
                say("started")

            async def handle(self, order: Order, metadata):
                assert current().message.id == metadata["message_id"]
                say("order", order.id, metadata["attributes"]["shop"], metadata["state"])
                if order.id == 2:
                    raise KeyError("no such order")

            def stop(self):
                say("stopped")

        async def middleware(message, call_next):
            outcome = await call_next(message)
            say("middleware", type(outcome).__name__)
            return outcome

        def decide(error, message):
            say("decide", type(error).__name__)
            return Ack() if isinstance(error, KeyError) else None
        """
    )
    service.module(
        """
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def lifespan():
            say("entered")
            yield "pool"
            say("left")
        """,
        "app",
    )
    service.config(
        '[loafer]\nlifespan = "app:lifespan"\nshutdown_timeout = 3\n' + service.sqs(moto_server),
        service.route(
            queue, "shop:Handler", translator="json", middleware="shop:middleware", error_handler=["log", "shop:decide"]
        ),
    )
    attribute = {"shop": {"DataType": "String", "StringValue": "north"}}
    queue.send({"id": 1}, MessageAttributes=attribute)

    run = service.loafer("run")
    run.says("middleware Ack")
    queue.send({"id": 2}, MessageAttributes=attribute)
    run.says("decide KeyError")
    queue.send({"number": 3})
    run.says("decide TranslationError")
    run.says("failed .stage translate")
    run.signal(signal.SIGTERM)

    assert run.ends() == 0
    assert run.stdout[:4] == ["made", "entered", "started", "order 1 north pool"]
    assert "order 2 north pool" in run.stdout
    assert run.stdout[-2:] == ["stopped", "left"]
    assert queue.counts == (0, 1)  # the third: hidden for its retry


def test_plain_functions_run_side_by_side_in_threads(service, moto, moto_server):
    queue = moto()
    service.module(
        """
        import threading

        both = threading.Barrier(2)

        def handle(body):
            both.wait(20)
            say(body, threading.current_thread() is threading.main_thread())
        """
    )
    service.config(service.sqs(moto_server) + service.route(queue))
    queue.send("a", "b")

    run = service.loafer("run", "--until-empty=20")

    assert run.ends() == 0
    assert sorted(run.stdout) == ["a False", "b False"]


@pytest.mark.server
def test_a_group_keeps_its_order_through_a_failure_in_its_middle(service, ministack, ministack_server):
    queue = ministack("orders.fifo", VisibilityTimeout="5")
    service.module(
        """
        def handle(body, metadata):
            say(body, metadata["receive_count"])
            return body != "A3" or metadata["receive_count"] > 1
        """
    )
    service.config(service.sqs(ministack_server) + service.route(queue, retry={"base": 1, "cap": 1}, concurrency=10))
    for number in range(1, 6):
        for group in "AB":
            queue.send(f"{group}{number}", MessageGroupId=group, MessageDeduplicationId=f"{group}{number}")

    run = service.loafer("run", "--until-empty=40")

    assert run.ends(50) == 0
    handled = {group: [line.split()[0] for line in run.stdout if line.startswith(group)] for group in "AB"}
    assert handled == {"A": ["A1", "A2", "A3", "A3", "A4", "A5"], "B": ["B1", "B2", "B3", "B4", "B5"]}
    assert queue.counts == (0, 0)


def test_a_slow_route_does_not_delay_a_fast_one(service, moto, moto_server):
    slow, fast = moto("slow"), moto("fast")
    service.module(
        """
        import asyncio
        from loafer_core import current

        async def wait(body):
            say("waits")
            await current().stopping.wait()

        async def handle(body):
            say("handled", body)
        """
    )
    service.config(
        service.sqs(moto_server),
        service.route(slow, "shop:wait", name="slow", concurrency=3),
        service.route(fast, name="fast", concurrency=2),
    )
    slow.send(*"abcdef")
    run = service.loafer("run", "--set", "loafer.shutdown_timeout=3")
    run.says("waits", times=3)

    fast.send(*map(str, range(20)))
    run.says("handled", times=20)
    run.signal(signal.SIGTERM)

    assert run.ends() == 0
    assert run.stdout.count("waits") == 3
    assert slow.counts == (3, 0)
    assert fast.counts == (0, 0)


@pytest.mark.parametrize("form", ["async def", "def"])
def test_t37_whatever_a_handler_raises_the_process_lives_on(service, form):
    service.module(
        f"""
        import asyncio

        class Own(BaseException): ...

        errors = [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration, MemoryError]
        errors = {{error.__name__: error for error in [*errors, asyncio.CancelledError, RecursionError, Own]}}

        {form} handle(body, metadata):
            if body in errors and metadata["receive_count"] == 1:
                raise errors[body]
            say(body)
        """
    )
    errors = ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "StopIteration", "StopAsyncIteration", "MemoryError"]
    errors += ["CancelledError", "RecursionError", "Own"]
    service.config(
        f"""
        [routes.orders]
        provider = {{ name = "memory", messages = {[*errors, "good"]} }}
        handler = "shop:handle"
        concurrency = 2
        retry = {{ base = 0.1, cap = 0.1 }}
        """
    )

    run = service.loafer("run", "--until-empty=20")

    assert run.ends() == 0
    assert sorted(run.stdout) == sorted([*errors, "good"])
    assert "account of orders: 19 received = 10 acked + 9 nacked" in run.stderr
