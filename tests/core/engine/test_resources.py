"""What a route opens and closes: the provider first and last, all or nothing, nothing twice."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
from contextlib import asynccontextmanager

import pytest
from route_rig import ack

from loafer_core import ConfigError, CredentialError, Finding, SourceConfigError, Traits, Unavailable
from loafer_core.engine.resources import Lifecycle


class Parts:
    """Lifecycles that note when they are opened and closed."""

    def __init__(self, source, **raises):
        self.log = []
        self._source, self._raises = source, raises

    def part(self, name):
        async def open(context):
            self.log.append(f"open {name}")
            if f"open_{name}" in self._raises:
                raise self._raises[f"open_{name}"]

        async def close():
            self.log.append(f"close {name}")
            if f"close_{name}" in self._raises:
                raise self._raises[f"close_{name}"]

        return Lifecycle(name, open, close)


def test_components_are_opened_after_the_provider_and_closed_before_it_last_first(rig):
    source = rig.Source("1", batch=10)
    parts = Parts(source)
    source.always["open"] = lambda: parts.log.append("open provider")
    source.always["close"] = lambda: parts.log.append("close provider")

    async def story():
        async with rig.running(rig.consumer(source, ack, lifecycles=[parts.part("translator"), parts.part("handler")])):
            await asyncio.sleep(1)

    rig.run(story)
    opened = ["open provider", "open translator", "open handler"]
    assert parts.log == [*opened, "close handler", "close translator", "close provider"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("no database"), "routes.orders.handler: opening it raised OSError: no database"),
        (ConfigError(Finding("routes.orders.handler", "no DSN")), "routes.orders.handler: no DSN"),
        (SourceConfigError("no such topic"), "routes.orders.handler: no such topic"),
    ],
    ids=repr,
)
def test_a_component_that_cannot_be_opened_closes_what_is_open_and_ends_the_start(rig, error, said):
    source = rig.Source()
    parts = Parts(source, open_handler=error)

    async def story():
        consumer = rig.consumer(
            source, ack, lifecycles=[parts.part("translator"), parts.part("handler"), parts.part("last")]
        )
        dispatcher = rig.dispatcher(consumer)
        with pytest.raises(ConfigError, match=said):
            await dispatcher.start()
        assert parts.log == ["open translator", "open handler", "close handler", "close translator"]
        assert [call.what for call in source.calls] == ["open", "close"]
        await rig.drain(dispatcher)

    rig.run(story)
    assert len(parts.log) == 4
    assert len(source.calls) == 2


def test_t19_one_that_fails_to_close_hinders_no_other(rig, caplog):
    source = rig.Source()
    source.next("close", ValueError("no"))
    parts = Parts(source, close_handler=RuntimeError("no"), close_translator=asyncio.CancelledError())

    async def story():
        async with rig.running(rig.consumer(source, ack, lifecycles=[parts.part("translator"), parts.part("handler")])):
            await asyncio.sleep(1)

    rig.run(story)
    assert parts.log[2:] == ["close handler", "close translator"]
    assert "orders: closing its handler failed" in caplog.text
    assert "orders: closing its translator was cancelled" in caplog.text
    assert "orders: closing its provider failed" in caplog.text


def test_a_failed_opening_whose_closing_hangs_is_tried_again_all_the_same(rig, ids):
    source = rig.Source(*ids(1))
    source.next("open", Unavailable("down"))
    source.next("close", 1e9)

    account = rig.run_for(20, source, ack)

    assert account.acked == 1


def test_the_context_tells_a_provider_about_its_route(rig):
    sources = rig.Source(), rig.Source()

    async def handle(id: str):
        pass

    async def story():
        one = rig.consumer(sources[0], handle, name="one", concurrency=7, max_wait=3.0)
        async with rig.running(one, rig.consumer(sources[1], ack, name="two")):
            context = sources[0].context
            assert (context.route, context.concurrency, context.max_wait) == ("one", 7, 3.0)
            assert not context.outstanding()

    rig.run(story)


def test_a_client_id_is_nobody_elses_even_where_host_process_id_and_route_are_the_same(rig, monkeypatch):
    sources = rig.Source(), rig.Source()
    monkeypatch.setattr(socket, "gethostname", lambda: "worker")
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as it is in every container

    async def story():
        consumers = []
        for source in sources:
            random.seed(7)  # what one process is forked into begins in one state
            consumers.append(rig.consumer(source, ack, name="orders"))
        async with rig.running(*consumers):
            ids = {source.context.client_id for source in sources}
            assert len(ids) == 2
            assert all(re.fullmatch(r"worker-1-orders-[0-9a-f]{8}", id) for id in ids)

    rig.run(story)


def test_a_client_id_stays_when_the_provider_is_opened_again(rig):
    source = rig.Source()
    ids = []

    def opened(error=None):
        ids.append(source.context.client_id)
        return error

    source.next("open", lambda: opened(Unavailable("not yet")), opened, opened)
    source.next("receive", *(CredentialError("expired") for _ in range(3)))  # which opens it again

    rig.run_for(300, source, ack)

    assert len(ids) == 3
    assert len(set(ids)) == 1


def test_what_is_shared_is_opened_once_and_left_after_its_provider_closed(rig):
    source = rig.Source("1", batch=10)
    log = []

    @asynccontextmanager
    async def client():
        log.append("enter")
        yield "client"
        log.append("exit")

    async def opened():
        assert await source.context.shared("key", client) == "client"
        assert await source.context.shared("key", client) == "client"

    source.always["open"] = opened
    source.always["close"] = lambda: log.append("close")
    source.next("receive", *[CredentialError("expired")] * 3)

    rig.run_for(30, source, ack)

    # Once for the first opening, once for the reopening.
    assert log == ["enter", "close", "exit"] * 2


def test_traits_that_no_source_can_have_are_the_plugins_fault_and_not_tried_again(rig):
    source = rig.Source()

    def odd():
        source.traits = Traits(batch=0)

    source.always["open"] = odd

    async def story():
        dispatcher = rig.dispatcher(rig.consumer(source, ack, audited=False))
        with pytest.raises(ConfigError, match=r"^routes\.orders\.provider: a fault of \S+:Source: Traits\(batch=0\)"):
            await dispatcher.start()
        await rig.drain(dispatcher)

    rig.run(story)
    assert len(source.named("open")) == 1
