"""Components with a beginning and an end, whatever the two are called and however they are written."""

from __future__ import annotations

import threading

import pytest

from loafer_core.delivery.executors import ThreadExecutor
from loafer_core.engine.resources import lifecycle_of

CONTEXT = object()


@pytest.fixture
def threads():
    threads = ThreadExecutor("loafer-orders-aside", 1)
    yield threads
    threads.close()


class Noting:
    def __init__(self):
        self.notes = []


class OpenAndClose(Noting):
    async def open(self, context):
        self.notes.append(context)

    async def close(self):
        self.notes.append("closed")


class StartAndStop(Noting):
    def start(self):
        self.notes.append("started")

    def stop(self):
        self.notes.append("stopped")


class StartOnly(Noting):
    async def start(self):
        self.notes.append("started")


class CloseOnly(Noting):
    def close(self):
        self.notes.append("closed")


class HidingThatTheyAreAsync(OpenAndClose):
    def open(self, context):
        return super().open(context)

    def close(self):
        return super().close()


class AllFour(OpenAndClose):
    def start(self):
        self.notes.append("never")

    stop = start


class ContextByName(Noting):
    def open(self, context=None):
        self.notes.append(context)


class DefaultOfItsOwn(Noting):
    def start(self, timeout=5):
        self.notes.append(timeout)


class KeywordOnly(Noting):
    def start(self, *, timeout=5):
        self.notes.append(timeout)


@pytest.mark.parametrize(
    ("component", "notes"),
    [
        (OpenAndClose(), [CONTEXT, "closed"]),
        (StartAndStop(), ["started", "stopped"]),
        (StartOnly(), ["started"]),
        (CloseOnly(), ["closed"]),
        (HidingThatTheyAreAsync(), [CONTEXT, "closed"]),
        (AllFour(), [CONTEXT, "closed"]),
        (ContextByName(), [CONTEXT]),
        (DefaultOfItsOwn(), [5]),
        (KeywordOnly(), [5]),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_component_is_opened_and_closed_by_what_it_has_for_that(component, notes, threads):
    lifecycle = lifecycle_of(component, "handler", threads)

    assert lifecycle.name == "handler"
    await lifecycle.open(CONTEXT)
    await lifecycle.close()

    assert component.notes == notes


class Attributes:
    open = True
    close = None


@pytest.mark.parametrize("component", [object(), print, lambda payload: None, Attributes(), {}])
def test_what_has_neither_beginning_nor_end_has_no_lifecycle(component, threads):
    assert lifecycle_of(component, "handler", threads) is None


async def test_a_function_has_none_even_if_somebody_hung_one_on_it(threads):
    def handler(payload): ...

    handler.close = lambda: None
    assert lifecycle_of(handler, "handler", threads) is None


async def test_plain_methods_run_in_a_thread_because_they_may_block(threads):
    class Connecting:
        def start(self):
            self.thread = threading.current_thread().name

    component = Connecting()
    await lifecycle_of(component, "handler", threads).open(CONTEXT)
    assert component.thread.startswith("loafer-orders-aside")


async def test_async_methods_run_on_the_loop(threads):
    class Connecting:
        async def start(self):
            self.thread = threading.current_thread()

    component = Connecting()
    await lifecycle_of(component, "handler", threads).open(CONTEXT)
    assert component.thread is threading.current_thread()


async def test_a_method_without_a_readable_signature_is_called_without_the_context(threads):
    class Opaque:
        __signature__ = "nonsense"

        def __call__(self, *args):
            self.args = args

    class Component:
        open = Opaque()

    await lifecycle_of(Component(), "handler", threads).open(CONTEXT)
    assert Component.open.args == ()


async def test_what_opening_raises_comes_out(threads):
    class Refusing:
        def start(self):
            raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        await lifecycle_of(Refusing(), "handler", threads).open(CONTEXT)
