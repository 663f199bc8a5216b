"""User code in every form that the documentation allows becomes one thing to await; every other form is refused."""

from __future__ import annotations

import asyncio
import functools
import threading
from contextvars import ContextVar
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from loafer_core import ConfigError, Current, Failure, Flag, Message, current
from loafer_core._tasks import is_async
from loafer_core.api.current import enter
from loafer_core.delivery.executors import ThreadExecutor
from loafer_core.delivery.handlers import compile_error_handler, compile_handler, compile_middleware

if TYPE_CHECKING:
    from somewhere import Nowhere

WHERE = "routes.orders.handler"
METADATA = MappingProxyType({"route": "orders"})
TENANT: ContextVar[str] = ContextVar("tenant")


class Order:
    """What a payload may be annotated with."""


@pytest.fixture
def threads():
    threads = ThreadExecutor("loafer-orders", 2)
    yield threads
    threads.close()


@pytest.fixture
def call(threads):
    """Compile a handler, hand it the payload 7 and the metadata, and give what it answers."""

    async def call(target):
        return await compile_handler(target, threads, WHERE)(7, METADATA)

    return call


def refusal(compiler, target, *args):
    with pytest.raises(ConfigError) as caught:
        compiler(target, *args, WHERE)
    (finding,) = caught.value.findings
    assert finding.where == WHERE
    return finding.message


# --- the forms of a handler


async def coroutine_function(payload):
    return ("async", payload)


def plain_function(payload):
    return ("plain", payload)


class WithHandle:
    async def handle(self, payload):
        return ("handle", payload)


class WithPlainHandle:
    def handle(self, payload):
        return ("plain handle", payload)


class AsyncCallable:
    async def __call__(self, payload):
        return ("async call", payload)


class PlainCallable:
    def __call__(self, payload):
        return ("plain call", payload)

    def method(self, payload):
        return ("method", payload)

    async def async_method(self, payload):
        return ("async method", payload)

    @staticmethod
    def static(payload):
        return ("static", payload)

    @classmethod
    def of_class(cls, payload):
        return ("class", payload)


async def with_client(client, payload):
    return (client, payload)


def with_client_and_payload(payload, client):
    return (client, payload)


def with_too_much(payload, metadata, client): ...


FORMS = {
    "coroutine function": (coroutine_function, ("async", 7), False),
    "plain function": (plain_function, ("plain", 7), True),
    "lambda": (lambda payload: ("lambda", payload), ("lambda", 7), True),
    "object with async handle()": (WithHandle(), ("handle", 7), False),
    "object with plain handle()": (WithPlainHandle(), ("plain handle", 7), True),
    "namespace with handle": (SimpleNamespace(handle=coroutine_function), ("async", 7), False),
    "object with async __call__": (AsyncCallable(), ("async call", 7), False),
    "object with plain __call__": (PlainCallable(), ("plain call", 7), True),
    "bound method": (PlainCallable().method, ("method", 7), True),
    "bound async method": (PlainCallable().async_method, ("async method", 7), False),
    "static method": (PlainCallable.static, ("static", 7), True),
    "class method": (PlainCallable.of_class, ("class", 7), True),
    "partial of a coroutine function": (functools.partial(with_client, "db"), ("db", 7), False),
    "partial by keyword": (functools.partial(with_client_and_payload, client="db"), ("db", 7), True),
    "partial of an async callable": (functools.partial(AsyncCallable()), ("async call", 7), False),
    "any number of arguments": (lambda *args, **kwargs: (args, kwargs), ((7,), {}), True),
    "builtin": (abs, 7, True),
}


@pytest.mark.parametrize(("target", "answer", "in_thread"), FORMS.values(), ids=FORMS)
async def test_a_handler_is_called_with_the_payload_in_every_form(target, answer, in_thread, call, threads):
    assert compile_handler(target, threads, WHERE).in_thread is in_thread
    assert await call(target) == answer


async def test_a_plain_function_runs_in_a_thread_that_carries_the_route_in_its_name(call):
    assert (await call(lambda payload: threading.current_thread().name)).startswith("loafer-orders")


async def test_a_coroutine_function_runs_on_the_loop(call):
    async def handler(payload):
        return threading.current_thread()

    assert await call(handler) is threading.current_thread()


async def test_a_plain_function_sees_the_context_variables_and_the_delivery_that_it_runs_in(call):
    message = Message("m-1", "{}")
    enter(Current(message, "orders", Flag()))
    TENANT.set("acme")

    assert await call(lambda payload: (TENANT.get(), current().message, current().route)) == ("acme", message, "orders")


async def test_what_a_plain_function_sets_in_its_context_stays_with_it(call):
    TENANT.set("acme")
    await call(lambda payload: TENANT.set("evil"))
    assert TENANT.get() == "acme"


async def test_a_decorated_plain_function_that_hides_a_coroutine_is_awaited(threads):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapper

    handler = compile_handler(decorate(coroutine_function), threads, WHERE)

    assert handler.in_thread
    assert await (await handler(7, METADATA)) == ("async", 7)


# --- metadata


class Positional:
    def handle(self, payload, anything):
        return anything


def only_by_position(payload, metadata=None, /):
    return metadata


def after_other_defaults(payload, retries=3, metadata=None):
    return metadata


TAKERS = {
    "named, without default": lambda payload, metadata: metadata,
    "named, with default": lambda payload, metadata=None: metadata,
    "keyword-only": lambda payload, *, metadata: metadata,
    "keyword-only, with default": lambda payload, *, metadata=None: metadata,
    "second positional without default": lambda payload, facts: facts,
    "second positional of a method": Positional(),
    "named, positional only, with default": only_by_position,
    "named, third": after_other_defaults,
    "named, behind the payload of *args": lambda *args, metadata: metadata,
    "all that is left by a partial": functools.partial(lambda client, payload, facts: facts, "db"),
}


@pytest.mark.parametrize("target", TAKERS.values(), ids=TAKERS)
async def test_metadata_is_passed_to_who_names_it_or_has_a_second_positional_without_default(target, call):
    assert await call(target) is METADATA


LEAVERS = {
    "one parameter": lambda payload: "none",
    "second positional with default": lambda payload, retries="none": retries,
    "keyword-only with default": lambda payload, *, retries="none": retries,
    "any keyword": lambda payload, **metadata: metadata or "none",
    "any position": lambda payload, *metadata: metadata or "none",
    "the payload itself is called so": lambda metadata: "none" if metadata == 7 else metadata,
}


@pytest.mark.parametrize("target", LEAVERS.values(), ids=LEAVERS)
async def test_metadata_is_not_passed_and_not_even_built_for_others(target, threads):
    built = []

    answer = await compile_handler(target, threads, WHERE)(7, lambda: built.append(1))

    assert answer == "none"
    assert built == []


# --- what is no handler


def generator(payload):
    yield payload


async def async_generator(payload):
    yield payload


class GeneratorInside:
    async def __call__(self, payload):
        yield payload


class NotCallable:
    pass


NO_HANDLERS = {
    "no parameter": (lambda: None, "too many positional arguments"),
    "only a keyword": (lambda *, payload: None, "too many positional arguments"),
    "only keywords": (lambda **kwargs: None, "too many positional arguments"),
    "a third parameter": (lambda payload, metadata, client: None, "missing a required argument: 'client'"),
    "metadata third": (lambda payload, client, metadata: None, "missing a required argument: 'metadata'"),
    "a keyword that nobody gives": (lambda payload, *, client: None, "missing a required"),
    "generator": (generator, "test_handlers:generator is a generator"),
    "async generator": (async_generator, "test_handlers:async_generator is a generator"),
    "generator in __call__": (GeneratorInside(), "GeneratorInside is a generator"),
    "partial of a generator": (functools.partial(generator), "test_handlers:generator is a generator"),
    "a number": (7, "'int' object is neither callable nor has a handle() method"),
    "an object": (NotCallable(), "'NotCallable' object is neither callable nor has a handle() method"),
    "a class": (WithHandle, "WithHandle is a class; an instance of it is wanted here"),
}


@pytest.mark.parametrize(("target", "words"), NO_HANDLERS.values(), ids=NO_HANDLERS)
def test_what_cannot_be_called_with_a_message_is_refused_at_its_place(target, words, threads):
    assert words in refusal(compile_handler, target, threads)


def test_a_handler_with_the_wrong_parameters_is_told_the_right_ones(threads):
    assert refusal(compile_handler, with_too_much, threads) == (
        f"{__name__}:with_too_much cannot be called with a message: missing a required argument: 'client'. "
        "A handler takes (payload) or (payload, metadata)"
    )


def test_a_callable_without_a_readable_signature_is_refused_with_the_way_out(threads):
    opaque = PlainCallable()
    opaque.__signature__ = "nonsense"

    message = refusal(compile_handler, opaque, threads)

    assert message.endswith("PlainCallable has no signature that can be read; wrap it in a function")


# --- the annotation of the payload


def annotated(annotation):
    def handler(payload, metadata: Nowhere): ...

    handler.__annotations__["payload"] = annotation
    return handler


@pytest.mark.parametrize(
    ("annotation", "meant"),
    [
        (Order, Order),
        ("Order", Order),
        (list[Order], list[Order]),
        ("list[Order]", list[Order]),
        (list["Order"], list[Order]),
        ("Annotated[int, 'positive']", Annotated[int, "positive"]),
        ("Order | None", Order | None),
        (dict, dict),
        (object, None),
        ("object", None),
        (Any, None),
        ("Any", None),
    ],
)
def test_the_annotation_of_the_first_parameter_is_the_type_of_the_payload(annotation, meant, threads):
    assert compile_handler(annotated(annotation), threads, WHERE).payload_type == meant


class TypedHandle:
    def handle(self, order: Order, metadata: Nowhere): ...


class TypedCall:
    async def __call__(self, order: Order): ...


def typed(client: Nowhere, order: Order): ...


@functools.wraps(typed)
def wrapped(*args): ...


@pytest.mark.parametrize(
    "target",
    [
        TypedHandle(),
        TypedHandle().handle,
        TypedCall(),
        functools.partial(typed, "db"),
        functools.partial(TypedCall()),
        functools.partial(wrapped, "db"),
    ],
)
def test_the_annotation_is_found_behind_methods_partials_and_decorators(target, threads):
    assert compile_handler(target, threads, WHERE).payload_type is Order


def test_a_handler_without_annotation_or_with_star_args_has_no_payload_type(threads):
    def star(*orders: Order): ...

    assert compile_handler(plain_function, threads, WHERE).payload_type is None
    assert compile_handler(star, threads, WHERE).payload_type is None


def test_a_name_for_type_checkers_only_is_no_fault_elsewhere_in_the_signature(threads):
    def handler(order: Order, metadata: Nowhere) -> Nowhere: ...

    assert compile_handler(handler, threads, WHERE).payload_type is Order


@pytest.mark.parametrize("annotation", ["Nowhere", "list[Nowhere]", "1 +"])
def test_an_annotation_that_cannot_be_read_is_refused_with_the_way_out(annotation, threads):
    message = refusal(compile_handler, annotated(annotation), threads)

    assert f"the annotation {annotation!r} of " in message
    assert "annotated.<locals>.handler cannot be read" in message
    assert "at run time, or left out" in message


# --- error handlers

FAILURE = Failure(ValueError("x"), Message("m-1", ""), "orders", "handle")


class ErrorHandler:
    async def handle(self, error, message):
        return (error, message)


def with_option(failure, option=None):
    assert option is None
    return failure


ERROR_HANDLERS = {
    "(failure), plain": (lambda failure: failure, FAILURE),
    "(failure), with an option": (with_option, FAILURE),
    "(*args)": (lambda *args: args, (FAILURE,)),
    "(error, message), plain": (lambda error, message: (error, message), (FAILURE.error, FAILURE.message)),
    "(error, message), in a class": (ErrorHandler(), (FAILURE.error, FAILURE.message)),
}


@pytest.mark.parametrize(("target", "answer"), ERROR_HANDLERS.values(), ids=ERROR_HANDLERS)
async def test_an_error_handler_gets_the_failure_or_error_and_message(target, answer, threads):
    assert await compile_error_handler(target, threads, WHERE)(FAILURE) == answer


async def test_an_error_handler_may_be_async_or_hide_that_it_is(threads):
    async def decide(failure):
        return failure.route

    for target in (decide, lambda failure: decide(failure)):
        assert await compile_error_handler(target, threads, WHERE)(FAILURE) == "orders"


@pytest.mark.parametrize(
    "target",
    [
        lambda: None,
        lambda *, failure: None,
        lambda error, message, route: None,
        lambda failure, *, client: None,
        lambda **kwargs: None,
    ],
)
def test_what_takes_neither_failure_nor_error_and_message_is_no_error_handler(target, threads):
    assert refusal(compile_error_handler, target, threads).endswith(
        "is no error handler; one takes (failure) or (error, message)"
    )


async def test_a_hanging_plain_error_handler_is_left_to_its_thread(threads):
    entered, leave = threading.Event(), threading.Event()

    def hang(failure):
        entered.set()
        leave.wait(30)

    asking = asyncio.ensure_future(compile_error_handler(hang, threads, WHERE)(FAILURE))
    await asyncio.to_thread(entered.wait, 30)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert threads.running == 1
    leave.set()


# --- middlewares


class Middleware:
    async def __call__(self, message, call_next):
        return await call_next(message)


class MiddlewareWithHandle:
    async def handle(self, message, call_next):
        return await call_next(message)


async def with_settings(settings, message, call_next):
    return await call_next(message)


@pytest.mark.parametrize("target", [Middleware(), MiddlewareWithHandle(), functools.partial(with_settings, {})])
async def test_a_middleware_may_be_a_function_an_object_or_a_partial(target):
    async def call_next(message):
        return ("next", message)

    assert await compile_middleware(target, WHERE)("m", call_next) == ("next", "m")


async def too_little(message): ...


async def too_much(message, call_next, client): ...


async def too_much_by_keyword(message, call_next, *, client): ...


@pytest.mark.parametrize(
    "target",
    [lambda message, call_next: call_next(message), too_little, too_much, too_much_by_keyword],
)
def test_what_is_not_async_with_message_and_call_next_is_no_middleware(target):
    assert refusal(compile_middleware, target).endswith(
        "is no middleware; one is 'async (message, call_next) -> outcome'"
    )


# --- small things


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (coroutine_function, True),
        (functools.partial(coroutine_function), True),
        (AsyncCallable(), True),
        (PlainCallable().async_method, True),
        (plain_function, False),
        (PlainCallable(), False),
        (print, False),
    ],
)
def test_is_async_tells_what_gives_a_coroutine(function, answer):
    assert is_async(function) is answer
