"""The user's own beginning and end around everything."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import types

import pytest

from loafer_core import ConfigError, Manager, MemoryProvider, MemoryQueue, Route
from loafer_core.testing import run_virtual


@pytest.fixture
def service(monkeypatch):
    """A module of the user's, which configurations name."""
    module = types.ModuleType("the_service")
    monkeypatch.setitem(sys.modules, "the_service", module)
    module.queue = MemoryQueue("orders")
    return module


def manager(service, handler=print, **settings) -> Manager:
    provider = MemoryProvider(queue=service.queue)
    return Manager([Route("orders", provider=provider, handler=handler)], lifespan="the_service:lifespan", **settings)


async def test_what_the_lifespan_yields_is_the_state_of_every_message_and_it_surrounds_everything(service):
    events, state = [], object()

    @contextlib.asynccontextmanager
    async def lifespan():
        events.append("entered")
        yield state
        events.append("left")

    class Handler:
        async def start(self):
            events.append("started")

        async def stop(self):
            events.append("stopped")

        async def handle(self, payload, metadata):
            events.append(metadata["state"])

    service.lifespan = lifespan
    async with manager(service, Handler) as running:
        service.queue.send("a")
        while not running.accounts["orders"].acked:
            await asyncio.sleep(0.01)

    assert events == ["entered", "started", state, "stopped", "left"]


async def test_the_lifespan_is_left_in_the_task_that_entered_it(service):
    tasks = []

    class Lifespan:
        async def __aenter__(self):
            tasks.append(asyncio.current_task())

        async def __aexit__(self, *_):
            tasks.append(asyncio.current_task())

    service.lifespan = Lifespan
    async with manager(service):
        tasks.append(asyncio.current_task())

    entered, embedding, left = tasks
    assert entered is left
    assert entered is not embedding


async def test_the_lifespan_is_left_without_an_exception_so_that_it_cleans_up_after_a_failure_too(service):
    cleaned = []

    @contextlib.asynccontextmanager
    async def lifespan():
        yield
        cleaned.append(True)

    service.lifespan = lifespan
    with pytest.raises(KeyError):
        async with manager(service):
            raise KeyError

    assert cleaned == [True]


@pytest.mark.parametrize("error", [OSError("no database"), SystemExit(3)], ids=repr)
def test_a_lifespan_that_raises_at_the_start_is_a_finding_with_its_cause(service, error):
    @contextlib.asynccontextmanager
    async def lifespan():
        raise error
        yield

    service.lifespan = lifespan
    with pytest.raises(ConfigError) as raised:
        manager(service).run_or_raise()

    text = f"loafer.lifespan: starting it raised {type(error).__name__}: {error}"
    assert [str(finding) for finding in raised.value.findings] == [text]
    assert raised.value.__cause__ is error


def test_a_lifespan_may_raise_a_config_error_of_its_own(service):
    from loafer_core import Finding

    @contextlib.asynccontextmanager
    async def lifespan():
        raise ConfigError(Finding("DATABASE_URL", "is not set"))
        yield

    service.lifespan = lifespan
    with pytest.raises(ConfigError, match="DATABASE_URL: is not set"):
        manager(service).run_or_raise()


@pytest.mark.parametrize("error", [OSError("gone"), SystemExit(3)], ids=repr)
async def test_a_lifespan_that_raises_at_the_end_is_logged_and_changes_nothing(service, caplog, error):
    @contextlib.asynccontextmanager
    async def lifespan():
        yield
        raise error

    service.lifespan = lifespan
    async with manager(service):
        pass

    [record] = [record for record in caplog.records if record.name == "loafer.lifespan"]
    assert record.getMessage() == f"leaving the lifespan failed: {type(error).__name__}: {error}"
    assert record.exc_info[1] is error


def test_a_lifespan_that_never_ends_is_given_up_in_time(service, caplog):
    @contextlib.asynccontextmanager
    async def lifespan():
        yield
        await asyncio.sleep(3600)

    async def embed() -> float:
        async with manager(service, shutdown_timeout=10.0):
            began = asyncio.get_running_loop().time()
        return asyncio.get_running_loop().time() - began

    service.lifespan = lifespan

    assert run_virtual(embed()) == pytest.approx(10.0, abs=0.5)
    assert "leaving the lifespan took too long; going on without it" in caplog.messages


class NeverClosed(MemoryProvider):
    async def receive(self, limit):
        await asyncio.sleep(3600)

    async def close(self):
        await asyncio.sleep(0 if self._wake is None else 3600)


def test_what_uses_up_its_time_while_it_is_closed_leaves_the_lifespan_some(service):
    left = []

    @contextlib.asynccontextmanager
    async def lifespan():
        yield
        await asyncio.sleep(0.2)
        left.append(True)

    async def embed():
        async with Manager(
            [Route("orders", provider=NeverClosed(), handler=print)],
            lifespan="the_service:lifespan",
            shutdown_timeout=10.0,
        ):
            await asyncio.sleep(1)

    service.lifespan = lifespan
    run_virtual(embed())

    assert left == [True]


@pytest.mark.usefixtures("virtual_time")
@pytest.mark.parametrize("stubborn", [False, True], ids=["ends when cancelled", "starts all the same"])
def test_a_signal_ends_a_lifespan_that_is_still_starting(service, caplog, stubborn):
    events = []

    @contextlib.asynccontextmanager
    async def lifespan():
        signal.raise_signal(signal.SIGTERM)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            events.append("cancelled")
            if not stubborn:
                raise
        yield
        events.append("left")

    service.lifespan = lifespan

    assert manager(service).run() == 0
    assert events == (["cancelled", "left"] if stubborn else ["cancelled"])
    assert caplog.messages == []


@pytest.mark.usefixtures("virtual_time")
def test_a_lifespan_that_is_cancelled_by_itself_while_it_starts_is_a_finding(service):
    @contextlib.asynccontextmanager
    async def lifespan():
        asyncio.current_task().cancel()
        await asyncio.sleep(1)
        yield

    service.lifespan = lifespan
    with pytest.raises(ConfigError, match=r"loafer\.lifespan: it was cancelled while it started"):
        manager(service).run_or_raise()


async def yields_undecorated():
    yield


async def a_coroutine(): ...


def takes_one(app): ...


@pytest.mark.parametrize(
    ("lifespan", "text"),
    [
        (3, "'the_service:lifespan' is not callable; it is called without arguments"),
        (yields_undecorated, "decorated with contextlib.asynccontextmanager"),
        (a_coroutine, "decorated with contextlib.asynccontextmanager"),
        (takes_one, "is called without arguments: missing a required argument: 'app'"),
    ],
)
def test_what_cannot_be_a_lifespan_is_refused_before_anything_starts(service, lifespan, text):
    service.lifespan = lifespan

    with pytest.raises(ConfigError) as raised:
        manager(service)

    assert str(raised.value).startswith("loafer.lifespan: ")
    assert text in str(raised.value)


@pytest.mark.parametrize("lifespan", [lambda: None, dict], ids=["a function", "a builtin without signature"])
def test_a_lifespan_that_gives_no_context_manager_is_a_finding(service, lifespan):
    service.lifespan = lifespan

    with pytest.raises(ConfigError, match="which is no async context manager"):
        manager(service).run_or_raise()


async def test_a_lifespan_that_ends_by_itself_while_the_routes_run_does_not_end_them(service):
    ended = asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan():
        asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
        try:
            yield
        finally:
            ended.set()

    service.lifespan = lifespan
    async with manager(service) as running:
        await ended.wait()
        service.queue.send("a")
        while not running.accounts["orders"].acked:
            await asyncio.sleep(0.01)

    assert running.accounts["orders"].acked == 1
