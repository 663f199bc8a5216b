"""The manager: routes made in Python, run as a process or embedded; what it says, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import threading

import pytest

from loafer_core import (
    ConfigError,
    LoaferError,
    Manager,
    MemoryProvider,
    MemoryQueue,
    Nack,
    Reject,
    Retry,
    Route,
    RouteFailed,
    SourceConfigError,
    Translation,
    Unavailable,
    current,
)
from loafer_core.testing import run_virtual


@pytest.fixture(autouse=True)
def info(caplog) -> None:
    caplog.set_level(logging.INFO, logger="loafer")


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue("orders")


def filled(queue: MemoryQueue, *bodies: str) -> MemoryProvider:
    """A provider of ``queue`` that sends ``bodies`` when it opens: a queue's clock is the loop's."""
    provider = MemoryProvider(queue=queue)
    open = provider.open

    async def open_and_send(context) -> None:
        await open(context)
        while sending:
            queue.send(sending.pop(0))

    sending = list(bodies)
    provider.open = open_and_send
    return provider


def lines(caplog, level=logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# --- as a process


@pytest.mark.usefixtures("virtual_time")
def test_run_hands_messages_to_the_handler_until_a_signal_and_gives_0(queue):
    seen = []

    async def handle(payload):
        seen.append(payload)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGTERM)

    manager = Manager([Route("orders", provider=filled(queue, "a", "b"), handler=handle)])

    assert manager.run() == 0
    assert seen == ["a", "b"]
    assert str(manager.accounts["orders"]) == "2 received = 2 acked"


@pytest.fixture
def thresholds():
    """Set the garbage collector's, which are as before after the test."""
    before = gc.get_threshold()
    yield gc.set_threshold
    gc.set_threshold(*before)


@pytest.mark.usefixtures("virtual_time")
@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [((700, 10, 10), (2000, 10, 10)), ((500, 5, 5), (500, 5, 5)), ((0, 10, 10), (0, 10, 10))],
    ids=["the old default", "somebody's choice", "never"],
)
def test_run_spares_the_garbage_collector_work_and_only_as_long_as_it_runs(queue, thresholds, before, meanwhile):
    frozen, seen = [], []

    async def handle(payload):
        frozen.append(gc.get_freeze_count())
        seen.append(gc.get_threshold())

    thresholds(*before)
    Manager([Route("orders", provider=filled(queue, "a"), handler=handle)]).run(until_empty=True)

    assert frozen[0] > 1000
    assert gc.get_freeze_count() == 0
    assert seen == [meanwhile]
    assert gc.get_threshold() == before


@pytest.mark.usefixtures("virtual_time")
def test_until_empty_ends_by_itself_once_a_failure_came_back_and_succeeded(queue):
    counts = []

    async def handle(payload, metadata):
        counts.append(metadata["receive_count"])
        return len(counts) == 3

    manager = Manager([Route("orders", provider=filled(queue, "a"), handler=handle)])

    assert manager.run(until_empty=True) == 0
    assert counts == [1, 2, 3]


@pytest.mark.usefixtures("virtual_time")
def test_until_empty_gives_1_and_names_what_was_left_undone_after_its_dead_lettering(caplog):
    queue = MemoryQueue("orders", max_receives=2, dead_letter=MemoryQueue("dead"))
    manager = Manager([Route("orders", provider=filled(queue, *"abcdefg"), handler=lambda payload: False)])

    assert manager.run(until_empty=True) == 1
    [said] = [line for line in lines(caplog) if "in the end" in line]
    assert said.startswith("orders: neither acked nor rejected in the end: 7 (orders-")
    assert said.endswith(" and 2 more)")
    assert len(queue.dead) == 7


@pytest.mark.usefixtures("virtual_time")
def test_until_empty_gives_0_where_what_failed_was_rejected_in_the_end():
    queue = MemoryQueue("orders", dead_letter=MemoryQueue("dead"))
    outcomes = [Nack(5), Reject("no")]
    manager = Manager([Route("orders", provider=filled(queue, "a"), handler=lambda payload: outcomes.pop(0))])

    assert manager.run(until_empty=True) == 0
    assert [dead.metadata["reason"] for dead in queue.dead] == ["no"]


@pytest.mark.usefixtures("virtual_time")
def test_until_empty_with_seconds_drains_after_that_long_and_gives_1(queue, caplog):
    manager = Manager([Route("orders", provider=filled(queue, "a"), handler=lambda payload: Nack(1))])

    assert manager.run(until_empty=30) == 1
    assert "not empty after 30 s; stopping" in lines(caplog)


@pytest.mark.usefixtures("virtual_time")
def test_until_empty_gives_1_when_a_signal_came_before_it_was_empty(queue):
    async def handle(payload):
        signal.raise_signal(signal.SIGTERM)

    manager = Manager([Route("orders", provider=filled(queue, "a"), handler=handle)])

    assert manager.run(until_empty=True) == 1
    assert str(manager.accounts["orders"]) == "1 received = 1 acked"


@pytest.mark.usefixtures("virtual_time")
@pytest.mark.parametrize(
    ("settings", "options", "most"),
    [
        ({}, {}, 20.0),
        ({"shutdown_timeout": 10.0}, {}, pytest.approx(7.4)),
        ({"shutdown_timeout": 0.5}, {}, pytest.approx(0.21)),
        ({}, {"until_empty": True}, 1.0),
    ],
)
def test_an_open_receive_ends_by_itself_before_a_stop_would_abort_it(queue, settings, options, most):
    waits = []
    provider = filled(queue, "a")
    open = provider.open

    async def note(context):
        waits.append(context.max_wait)
        await open(context)

    provider.open = note

    async def handle(payload):
        if not options:
            signal.raise_signal(signal.SIGINT)

    assert Manager([Route("orders", provider=provider, handler=handle)], **settings).run(**options) == 0
    assert waits == [most]


@pytest.fixture
def left(monkeypatch) -> list[int]:
    """The codes with which the process would have been ended."""
    codes: list[int] = []
    monkeypatch.setattr("loafer_core.app.runner.leave", codes.append)
    return codes


@pytest.mark.usefixtures("virtual_time")
def test_a_message_whose_handler_resists_its_cancelling_is_abandoned_and_the_process_leaves_with_75(queue, left):
    async def handle(payload):
        signal.raise_signal(signal.SIGTERM)
        end = asyncio.get_running_loop().time() + 3600
        while asyncio.get_running_loop().time() < end:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    manager = Manager([Route("orders", provider=filled(queue, "a"), handler=handle)], shutdown_timeout=10.0)
    manager.run()

    assert left == [75]
    assert manager.accounts["orders"].abandoned == 1


@pytest.mark.usefixtures("virtual_time")
def test_a_handler_that_cancels_every_task_ends_the_run_with_70_and_hides_no_message(queue, caplog):
    async def handle(payload):
        for task in asyncio.all_tasks():
            task.cancel()
        await asyncio.sleep(1)

    manager = Manager([Route("orders", provider=filled(queue, *"abc"), handler=handle)])

    assert manager.run() == 70
    assert queue.in_flight == 0
    assert any("does a handler cancel all it finds?" in line for line in lines(caplog))


@pytest.mark.usefixtures("virtual_time")
def test_a_handler_that_cancels_every_task_while_we_stop_does_not_break_the_stop(queue):
    async def handle(payload):
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(3)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(1)

    manager = Manager([Route("orders", provider=filled(queue, "a"), handler=handle)])

    assert manager.run() == 0
    assert (queue.depth, queue.in_flight) == (0, 0)


@pytest.fixture
def bug(monkeypatch) -> None:
    """One of ours, in the middle of a delivery."""

    async def decide(self, message, is_cancelled):
        raise ZeroDivisionError

    monkeypatch.setattr("loafer_core.delivery.pipeline.Pipeline.decide", decide)


@pytest.mark.usefixtures("bug", "left", "virtual_time")
def test_run_gives_70_and_logs_the_traceback_when_a_route_ends_by_a_bug(queue, caplog):
    assert Manager([Route("orders", provider=filled(queue, "a"), handler=print)]).run() == 70

    [*_, record] = [record for record in caplog.records if record.getMessage() == "stopped by a bug in Loafer"]
    assert isinstance(record.exc_info[1], RouteFailed)


@pytest.mark.usefixtures("bug", "virtual_time")
def test_what_ended_a_route_is_logged_before_the_process_leaves_work_behind(queue, caplog, left):
    with pytest.raises(RouteFailed):
        Manager([Route("orders", provider=filled(queue, "a"), handler=print)]).run_or_raise()

    assert left == [70]
    assert "stopped by a bug in Loafer" in lines(caplog)


class Missing(MemoryProvider):
    async def open(self, context):
        raise SourceConfigError("no such queue")


def test_run_gives_78_and_logs_each_finding_when_a_source_is_not_there(caplog):
    assert Manager([Route("orders", provider=Missing(), handler=print)]).run() == 78
    assert lines(caplog, logging.INFO)[-2:] == [
        "orders: Missing -> text -> print; 10 at once",
        "routes.orders.provider: no such queue",
    ]


@pytest.mark.usefixtures("virtual_time")
def test_a_source_out_of_reach_at_the_start_is_tried_again(queue, caplog):
    provider = filled(queue, "a")
    provider.fail_next("open", Unavailable("down"), times=3)

    async def handle(payload):
        signal.raise_signal(signal.SIGTERM)

    manager = Manager([Route("orders", provider=provider, handler=handle)])

    assert manager.run() == 0
    assert "running: no route yet" in lines(caplog, logging.INFO)
    assert sum("cannot open its source" in line for line in lines(caplog)) == 3


@pytest.mark.usefixtures("virtual_time")
def test_a_signal_ends_a_start_that_waits_for_its_source(queue):
    provider = filled(queue)

    async def hang(context):
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(3600)

    provider.open = hang

    assert Manager([Route("orders", provider=provider, handler=print)]).run() == 0


async def test_run_refuses_a_loop_that_runs_already(queue):
    with pytest.raises(LoaferError, match="use 'async with'"):
        Manager([Route("orders", provider=filled(queue), handler=print)]).run()


def test_run_refuses_another_thread_than_the_main_one(queue):
    manager = Manager([Route("orders", provider=filled(queue), handler=print)])
    errors = []

    def run():
        try:
            manager.run()
        except LoaferError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert errors == ["run() owns the signals, so it belongs in the main thread; elsewhere use 'async with'"]


def test_run_never_sends_samples_to_a_real_source(queue):
    manager = Manager([Route("orders", provider=filled(queue), handler=print)])

    with pytest.raises(LoaferError, match="sandbox"):
        manager.run(samples={"orders": ["{}"]})


# --- what is wrong is said at once


def test_everything_that_is_wrong_is_raised_at_once_in_the_order_in_which_it_was_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_at_import.py").write_text("1 / 0\n")
    (tmp_path / "fine.py").write_text("def takes_nothing(): ...\n\nasync def handle(order): ...\n")
    routes = {
        "shape": {"provider": "memory", "handler": "fine:handle", "concurrency": "many"},
        "unknown": {"provider": "kafka", "handler": "fine:handle"},
        "options": {"provider": {"name": "memory", "wait": -1}, "handler": "fine:handle"},
        "module": {"provider": "memory", "handler": "broken_at_import:handle"},
        "signature": {"provider": "memory", "handler": "fine:takes_nothing"},
        "fine": {"provider": "memory", "handler": "fine:handle"},
    }

    with pytest.raises(ConfigError) as raised:
        Manager.from_config({"loafer": {"lifespan": "fine:handle"}, "routes": routes})

    assert [finding.where for finding in raised.value.findings] == [
        "loafer.lifespan",
        "routes.shape.concurrency",
        "routes.unknown.provider",
        "routes.options.provider.wait",
        "routes.module.handler",
        "routes.signature.handler",
    ]
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_several_causes_come_along_as_a_group():
    class Fails:
        def __init__(self):
            raise OSError("disk")

    class FailsToo:
        def __init__(self):
            raise SystemExit(3)

    with pytest.raises(ConfigError) as raised:
        Manager([Route("a", provider="kafka", handler=Fails, middleware=FailsToo)])

    assert [finding.where for finding in raised.value.findings] == ["routes.a.provider"]  # nothing is built of it

    manager = Manager([Route("a", provider=MemoryProvider(), handler=Fails, middleware=FailsToo)])
    with pytest.raises(ConfigError) as raised:
        manager.run_or_raise()

    assert [str(finding) for finding in raised.value.findings] == [
        "routes.a.handler: test_several_causes_come_along_as_a_group.<locals>.Fails raised OSError: disk",
        "routes.a.middleware: test_several_causes_come_along_as_a_group.<locals>.FailsToo raised SystemExit: 3",
    ]
    assert [type(error) for error in raised.value.__cause__.exceptions] == [OSError, SystemExit]


def test_routes_made_in_python_obey_the_rules_of_a_file(queue):
    provider = MemoryProvider(queue=queue)

    with pytest.raises(ConfigError) as raised:
        Manager(
            [
                Route("Orders", provider=provider, handler=print),
                Route("a", provider=provider, handler=print, retry=Retry(base=-1)),
                Route("b", provider=provider, handler=print, concurrency=0),
            ],
            shutdown_timeut=3,
        )

    assert [finding.where for finding in raised.value.findings] == [
        "loafer.shutdown_timeut",
        "routes.Orders",
        "routes.a.retry.base",
        "routes.b.concurrency",
    ]


def test_two_routes_of_one_name_are_refused(queue):
    route = Route("orders", provider=MemoryProvider(queue=queue), handler=print)

    with pytest.raises(ConfigError, match=r"routes\.orders: two routes have this name"):
        Manager([route, route])


# --- on_bad_route


@pytest.mark.usefixtures("virtual_time")
@pytest.mark.parametrize(
    "bad",
    [
        {"provider": "kafka", "handler": "builtins:print"},
        {"provider": "memory", "handler": "builtins:print", "concurrency": -1},
        {"provider": "memory", "handler": "builtins:print", "translator": "builtins:print"},
        {"provider": "tests_missing:Provider", "handler": "builtins:print"},
    ],
    ids=["unknown component", "bad value", "cannot be built", "no module"],
)
def test_a_bad_route_is_left_out_where_the_others_may_run_without_it(bad, caplog):
    good = {"provider": {"name": "memory", "messages": ["a"]}, "handler": "builtins:len"}

    with pytest.raises(ConfigError):
        Manager.from_config({"routes": {"good": good, "bad": bad}}).run_or_raise()
    manager = Manager.from_config({"loafer": {"on_bad_route": "degrade"}, "routes": {"good": good, "bad": bad}})

    assert manager.run(until_empty=True) == 1  # not all was done
    assert manager.accounts["good"].acked == 1
    assert list(manager.accounts) == ["good"]
    assert any(line.startswith("routes.bad.") for line in lines(caplog, logging.ERROR))


def test_a_degraded_start_is_refused_where_no_route_is_left():
    bad = {"provider": "kafka", "handler": "builtins:print"}

    with pytest.raises(ConfigError, match="kafka"):
        Manager.from_config({"loafer": {"on_bad_route": "degrade"}, "routes": {"bad": bad}})


def test_a_degraded_start_is_refused_where_what_is_wrong_is_no_routes():
    good = {"provider": "memory", "handler": "builtins:print"}

    with pytest.raises(ConfigError, match=r"loafer\.observers"):
        Manager.from_config(
            {"loafer": {"on_bad_route": "degrade", "observers": ["nobody"]}, "routes": {"good": good, "too": good}}
        )


@pytest.mark.usefixtures("virtual_time")
def test_a_route_whose_source_is_not_there_is_left_out_at_the_start(queue, caplog):
    async def handle(payload):
        signal.raise_signal(signal.SIGTERM)

    manager = Manager(
        [Route("good", provider=filled(queue, "a"), handler=handle), Route("bad", provider=Missing(), handler=print)],
        on_bad_route="degrade",
    )

    assert manager.run() == 0
    assert manager.accounts["good"].acked == 1
    assert "running: good" in lines(caplog, logging.INFO)


# --- embedded


async def test_leaving_lets_the_handler_end_and_acks(queue):
    started, may_end = asyncio.Event(), asyncio.Event()

    async def handle(payload):
        started.set()
        await may_end.wait()

    async with Manager([Route("orders", provider=filled(queue, "a"), handler=handle)]) as manager:
        await started.wait()
        asyncio.get_running_loop().call_soon(may_end.set)

    assert str(manager.accounts["orders"]) == "1 received = 1 acked"


async def test_leaving_on_an_exception_drains_too(queue):
    started = asyncio.Event()

    async def handle(payload):
        started.set()
        await current().stopping.wait()

    manager = Manager([Route("orders", provider=filled(queue, "a"), handler=handle)])

    async def embed():
        async with manager:
            await started.wait()
            raise KeyError

    with pytest.raises(KeyError):
        await embed()

    assert manager.accounts["orders"].acked == 1


def test_cancelling_whoever_leaves_hurries_the_drain_and_gives_back_what_ran(queue):
    async def story() -> float:
        started, leaving = asyncio.Event(), asyncio.Event()

        async def handle(payload):
            started.set()
            await asyncio.sleep(3600)

        manager = Manager([Route("orders", provider=filled(queue, "a"), handler=handle)], shutdown_timeout=120.0)

        async def embed():
            async with manager:
                await started.wait()
                leaving.set()

        task = asyncio.create_task(embed())
        await leaving.wait()
        began = asyncio.get_running_loop().time()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert str(manager.accounts["orders"]) == "1 received = 1 released"
        assert queue.depth == 1
        return asyncio.get_running_loop().time() - began

    assert run_virtual(story()) < 2


async def test_where_each_message_is_can_be_asked_from_any_thread_while_it_runs(queue):
    begun, go = asyncio.Event(), asyncio.Event()

    async def handle(body):
        begun.set()
        await go.wait()

    manager = Manager([Route("orders", provider=MemoryProvider(queue=queue), handler=handle)])
    assert manager.messages() == ()
    async with manager:
        id = queue.send("a")
        await begun.wait()
        [message] = await asyncio.to_thread(manager.messages)
        go.set()

    assert (message.id, message.route, message.phase, message.receive_count) == (id, "orders", "running", 1)
    assert 0 <= message.age < 10
    assert 20 < message.lease_left <= 30
    assert manager.messages() == ()
    with pytest.raises(AttributeError):
        message.phase = "waiting"


async def test_t17_a_manager_can_be_used_again_and_counts_anew(queue):
    done = asyncio.Event()
    manager = Manager([Route("orders", provider=MemoryProvider(queue=queue), handler=lambda payload: None)])
    assert manager.accounts == {}

    for _ in range(2):
        done.clear()
        queue.send("a")
        async with manager:
            while not manager.accounts["orders"].acked:
                await asyncio.sleep(0.01)
        assert manager.accounts["orders"].received == 1


async def test_a_manager_in_use_refuses_a_second_use(queue):
    async with Manager([Route("orders", provider=filled(queue), handler=print)]) as manager:
        with pytest.raises(LoaferError, match="in use"):
            await manager.__aenter__()
        with pytest.raises(LoaferError, match="in use"):
            manager.run()


async def test_waiting_outside_of_the_block_is_refused(queue):
    manager = Manager([Route("orders", provider=filled(queue), handler=print)])
    with pytest.raises(LoaferError, match="not running"):
        await manager.wait()
    async with manager:
        pass
    with pytest.raises(LoaferError, match="not running"):
        await manager.wait()


@pytest.mark.usefixtures("bug")
async def test_wait_raises_what_ended_a_route(queue):
    route = Route("orders", provider=filled(queue, "a"), handler=print)
    async with Manager([route], shutdown_timeout=0.5) as manager:
        with pytest.raises(RouteFailed, match="'orders'"):
            await manager.wait()

    assert manager.accounts["orders"].open == 0


async def test_a_start_that_fails_raises_and_leaves_nothing_open(queue):
    provider = MemoryProvider(queue=queue)
    closed = []
    provider.close = lambda close=provider.close: closed.append(1) or close()
    manager = Manager(
        [Route("good", provider=provider, handler=print), Route("bad", provider=Missing(), handler=print)]
    )

    with pytest.raises(ConfigError, match="no such queue"):
        await manager.__aenter__()

    assert closed
    assert len(asyncio.all_tasks()) == 1


async def test_two_routes_may_share_a_queue_and_see_every_message_once():
    seen = []
    component = {"name": "memory", "queue": "shared-by-two"}

    async def handle(payload, metadata):
        seen.append(payload)

    routes = [
        Route("one", provider={**component, "messages": ["1", "2"]}, handler=handle),
        Route("two", provider={**component, "messages": ["3", "4"]}, handler=handle),
    ]
    async with Manager(routes):
        while len(seen) < 4:
            await asyncio.sleep(0.01)
    MemoryQueue.forget_named()

    assert sorted(seen) == ["1", "2", "3", "4"]


# --- what handlers and translators are told


async def test_the_handler_gets_the_facts_and_the_translator_the_type_that_it_wants(queue):
    told = {}

    class Upper:
        async def open(self, context):
            told["payload_type"] = context.payload_type

        def translate(self, message):
            return Translation(message.body.upper(), {"by": "upper"})

    async def handle(payload: int, metadata):
        told.update(payload=payload, metadata=metadata)

    provider = filled(queue, "a")
    async with Manager([Route("orders", provider=provider, translator=Upper, handler=handle)]):
        while "payload" not in told:
            await asyncio.sleep(0.01)

    metadata = told["metadata"]
    assert told["payload_type"] is int
    assert told["payload"] == "A"
    assert {key: metadata[key] for key in ("route", "receive_count", "state", "group", "queue")} == {
        "route": "orders",
        "receive_count": 1,
        "state": None,
        "group": None,
        "queue": "orders",
    }
    assert metadata["message_id"].startswith("orders-")
    with pytest.raises(TypeError):
        metadata["route"] = "other"


async def test_a_handler_class_is_made_and_started_before_the_first_message_and_stopped_after_the_last(queue):
    events = []

    class Handler:
        def __init__(self):
            events.append("made")

        async def start(self):
            events.append("started")

        def stop(self):
            events.append("stopped")

        async def handle(self, payload):
            events.append(payload)

    async with Manager([Route("orders", provider=filled(queue, "a"), handler=Handler)]) as manager:
        while not manager.accounts["orders"].acked:
            await asyncio.sleep(0.01)

    assert events == ["made", "started", "a", "stopped"]


async def test_an_observer_hears_of_the_start_and_of_the_end_with_its_reason_and_the_account(queue):
    heard = []

    class Observer:
        def startup(self):
            heard.append("startup")

        def shutdown(self, reason, account):
            heard.append((reason, str(account["orders"])))

    async with Manager([Route("orders", provider=filled(queue), handler=print)], observers=[Observer()]):
        pass

    assert heard == ["startup", ("left", "0 received")]


async def test_an_observer_hears_nothing_of_a_start_that_came_to_nothing():
    heard = []

    class Observer:
        def startup(self):
            heard.append("startup")

        def shutdown(self, reason, account):
            heard.append("shutdown")

    class Fails:
        def __init__(self):
            raise OSError("disk")

    with pytest.raises(ConfigError):
        async with Manager([Route("orders", provider=MemoryProvider(), handler=Fails)], observers=[Observer()]):
            pass

    assert heard == []
