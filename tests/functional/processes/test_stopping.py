"""Signals: what runs may end, what cannot is given back or left to its lease, and the end comes in time."""

from __future__ import annotations

import signal
import time

import pytest

pytestmark = pytest.mark.server


@pytest.fixture
def orders(service, ministack, ministack_server):
    """A queue, and a service with one route on it: ``orders(source, **route)``."""
    queue = ministack(VisibilityTimeout="60")

    def configured(source: str, timeout: float = 4, **route: object):
        service.module(source)
        service.config(
            f"[loafer]\nshutdown_timeout = {timeout}\n" + service.sqs(ministack_server) + service.route(queue, **route)
        )
        return queue

    return configured


def test_handlers_that_run_when_the_stop_comes_all_end_and_their_messages_are_acked(service, orders):
    queue = orders(
        """
        import asyncio
        from loafer_core import current

        async def handle(body):
            say("begun", body)
            await current().stopping.wait()
            await asyncio.sleep(0.5)
            say("ended", body)
        """
    )
    queue.send(*"abcde")
    run = service.loafer("run")
    run.says("begun", times=5)

    run.signal(signal.SIGTERM)

    assert run.ends() == 0
    assert sorted(line for line in run.stdout if "ended" in line) == [f"ended {body}" for body in "abcde"]
    assert "account of orders: 5 received = 5 acked" in run.stderr
    assert queue.counts == (0, 0)


def test_an_idle_process_waits_for_its_open_receive_says_so_and_hides_nothing(service, orders):
    queue = orders("async def handle(body): ...", timeout=6)
    run = service.loafer("run")
    run.says("running: orders")
    began = time.monotonic()

    run.signal(signal.SIGINT)
    run.says(r"waiting up to \d s for the open receive of 'orders'; Ctrl-C again abandons it")
    queue.send("late")  # the open receive brings it, and it is handled or given back

    assert run.ends() == 0
    assert time.monotonic() - began < 6
    assert "SIGINT: stopping" in run.stderr
    assert queue.counts[1] == 0


def test_the_second_signal_cancels_what_runs_and_its_messages_are_visible_at_once(service, orders):
    queue = orders(
        """
        import asyncio

        async def handle(body):
            say("begun", body)
            await asyncio.sleep(600)
        """,
        timeout=120,
        concurrency=3,
    )
    queue.send(*"abc")
    run = service.loafer("run")
    run.says("begun", times=3)

    run.signal(signal.SIGTERM)
    run.says("SIGTERM: stopping")
    began = time.monotonic()
    run.signal(signal.SIGTERM)

    assert run.ends() == 0
    assert time.monotonic() - began < 5
    assert "account of orders: 3 received = 3 released" in run.stderr
    assert queue.counts == (3, 0)


def test_work_that_does_not_end_is_cancelled_when_the_drain_is_over(service, orders):
    queue = orders(
        """
        import asyncio

        async def handle(body):
            say("begun", body)
            await asyncio.sleep(600)
        """,
        timeout=3,
        concurrency=1,
    )
    queue.send("a")
    run = service.loafer("run")
    run.says("begun")
    began = time.monotonic()

    run.signal(signal.SIGTERM)

    assert run.ends() == 0
    assert 2 < time.monotonic() - began < 4
    assert queue.counts == (1, 0)


def test_the_third_signal_ends_the_process_at_once(service, orders):
    queue = orders(
        """
        import time

        def handle(body):
            say("begun")
            time.sleep(600)
        """,
        timeout=120,
        concurrency=1,
    )
    queue.send("a")
    run = service.loafer("run")
    run.says("begun")

    run.signal(signal.SIGTERM)
    run.says("SIGTERM: stopping")
    run.signal(signal.SIGTERM)
    run.says("SIGTERM again")
    run.signal(signal.SIGINT)

    assert run.ends() == 128 + signal.SIGINT


@pytest.mark.parametrize(
    "handler",
    [
        """
        import time

        def handle(body):
            say("begun")
            time.sleep(600)
        """,
        """
        import asyncio

        async def handle(body):
            say("begun")
            while True:
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    pass
        """,
    ],
    ids=["a stuck function", "a coroutine that resists"],
)
def test_work_that_cannot_be_stopped_is_left_to_its_lease_and_the_exit_is_75_in_time(service, orders, handler):
    queue = orders(handler, timeout=3, concurrency=1)
    queue.send("a")
    run = service.loafer("run")
    run.says("begun")
    began = time.monotonic()

    run.signal(signal.SIGTERM)

    assert run.ends() == 75
    assert time.monotonic() - began < 4.5
    assert "account of orders: 1 received = 1 abandoned" in run.stderr
    assert queue.counts == (0, 1)  # released, it would run twice at once


def test_t38_a_task_that_a_handler_left_behind_does_not_keep_the_process(service, orders):
    queue = orders(
        """
        import asyncio

        tasks = []

        async def zombie():
            while True:
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    pass

        async def handle(body):
            tasks.append(asyncio.create_task(zombie()))
            say("begun")
        """,
        timeout=4,
    )
    queue.send("a")
    run = service.loafer("run")
    run.says("begun")

    run.signal(signal.SIGTERM)

    assert run.ends(10) == 0
    assert queue.counts == (0, 0)


def test_a_process_that_is_killed_loses_nothing(service, orders):
    queue = orders(
        """
        import os, time

        def handle(body):
            say("begun", body)
            time.sleep(float(os.environ["SHOP_SECONDS"]))
        """,
        provider={"name": "sqs", "queue": "replaced", "visibility_timeout": 2},
    )
    service.config((service.folder / "loafer.toml").read_text().replace("replaced", queue.name))
    queue.send(*"abc")
    run = service.loafer("run", SHOP_SECONDS="600")
    run.says("begun", times=3)
    run.signal(signal.SIGKILL)
    assert run.ends() == -signal.SIGKILL

    run = service.loafer("run", SHOP_SECONDS="0")
    run.says("begun", times=3)
    run.signal(signal.SIGTERM)

    assert run.ends() == 0
    assert sorted(run.stdout) == ["begun a", "begun b", "begun c"]
    assert queue.counts == (0, 0)


def test_t52_a_source_that_is_down_at_the_start_is_tried_again_and_a_stop_ends_that(service):
    service.module("def handle(body): ...")
    service.config(service.sqs("http://127.0.0.1:9") + service.route("orders"))
    run = service.loafer("run")

    run.says(r"orders: cannot open its source \(Unavailable: .*\); next try in", times=2)
    run.signal(signal.SIGTERM)

    assert run.ends() == 0
    assert "running: no route yet" in run.stderr
    assert "Traceback" not in run.stderr
