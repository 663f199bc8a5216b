"""One message on its way through one route: what its handler answers or raises, and who decides then."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import gc
import logging
import threading
import weakref

import pytest

from loafer_core import (
    Ack,
    Current,
    DeleteMessage,
    Flag,
    Message,
    Nack,
    OutcomeError,
    Reject,
    Route,
    Settle,
    Translation,
    TranslationError,
    current,
)
from loafer_core.api.current import enter
from loafer_core.delivery.error_handlers import ERROR_HANDLER_TIMEOUT
from loafer_core.delivery.executors import ThreadExecutor
from loafer_core.delivery.handlers import compile_error_handler, compile_handler, compile_middleware
from loafer_core.delivery.pipeline import Pipeline
from loafer_core.testing import run_virtual

MESSAGE = Message("m-1", "body", receive_count=2)
SECRET = "4111-1111"


class Text:
    def translate(self, message):
        return Translation(message.body)


class Translating:
    """A translator made of a function."""

    def __init__(self, translate):
        self.translate = translate


def many(value):
    return value if isinstance(value, (list, tuple)) else [value]


@pytest.fixture
def route():
    """Compile a delivery from a handler and the rest of a route."""
    pool = ThreadExecutor("loafer-orders", 4)
    aside = ThreadExecutor("loafer-orders-aside", 4)

    def route(handler, *, error_handler=(), middleware=(), translator=None, name="text", **options):
        where = "routes.orders.handler"
        return Pipeline(
            Route("orders", provider="memory", handler="unused:here", **options),
            translator or Text(),
            name,
            compile_handler(handler, pool, where),
            [compile_error_handler(one, aside, where) for one in many(error_handler)],
            [compile_middleware(one, where) for one in many(middleware)],
        )

    yield route
    pool.close()
    aside.close()


async def decide(delivery, message=MESSAGE):
    """Decide a delivery that nobody cancels, and see to it that the task is as good as before."""
    decision = await delivery.decide(message, lambda: False)
    await unharmed()
    return decision


async def unharmed():
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # a cancellation that is still pending would come out here
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()


class Failures:
    """An error handler that keeps what it was asked about."""

    def __init__(self, opinion=None):
        self.opinion, self.asked = opinion, []

    async def handle(self, failure):
        self.asked.append(failure)
        return self.opinion

    @property
    def stages(self):
        return [failure.stage for failure in self.asked]


async def ok(payload): ...


async def broken(payload):
    raise ValueError(f"bad card {SECRET}")


def answering(answer):
    async def handler(payload):
        return answer

    return handler


def raising(error):
    async def handler(payload):
        raise error

    return handler


def raising_plainly(error):
    def handler(payload):
        raise error

    return handler


# --- what a handler answers

OUTCOMES = [Ack(), Nack(), Nack(delay=3), Reject("too old")]
ODD = [0, 1, "", "ok", [], {}, 0.0, object, b"", "False"]


@pytest.mark.parametrize("returns", ["lenient", "strict", "truthy"])
@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_an_outcome_is_taken_as_it_is_in_every_mode(returns, outcome, route):
    assert await decide(route(answering(outcome), returns=returns)) == (outcome, None)


@pytest.mark.parametrize("returns", ["lenient", "strict"])
@pytest.mark.parametrize(("answer", "outcome"), [(None, Ack()), (True, Ack()), (False, Nack())])
async def test_t04_none_and_true_ack_and_false_nacks(returns, answer, outcome, route):
    assert await decide(route(answering(answer), returns=returns)) == (outcome, None)


@pytest.mark.parametrize("answer", ODD, ids=repr)
async def test_t04_anything_else_is_acked_where_the_route_is_lenient_because_the_work_is_done(answer, route):
    delivery = route(answering(answer))

    assert await decide(delivery) == (Ack(), None)
    assert delivery.account.odd_returns == 1


@pytest.mark.parametrize("answer", ODD, ids=repr)
async def test_anything_else_is_a_failure_of_the_result_where_the_route_is_strict(answer, route):
    failures = Failures(opinion=False)
    delivery = route(answering(answer), returns="strict", error_handler=failures)

    decision = await decide(delivery)

    assert decision.outcome == Nack()
    assert isinstance(decision.error, OutcomeError)
    assert failures.stages == ["result"]
    assert delivery.account.odd_returns == 0


@pytest.mark.parametrize(
    ("answer", "outcome"), [(1, Ack()), ("ok", Ack()), (0, Nack()), ("", Nack()), (None, Nack()), ([], Nack())]
)
async def test_the_truth_of_the_answer_counts_where_the_route_wants_that(answer, outcome, route):
    assert await decide(route(answering(answer), returns="truthy")) == (outcome, None)


async def test_an_answer_without_a_truth_is_a_failure_of_the_result(route):
    class Undecided:
        def __bool__(self):
            raise ValueError

    failures = Failures()
    await decide(route(answering(Undecided()), returns="truthy", error_handler=failures))
    assert failures.stages == ["result"]


async def test_a_lenient_route_says_once_what_it_acks_and_counts_the_rest(route, caplog):
    delivery = route(answering({"card": SECRET}))

    for _ in range(3):
        await decide(delivery)

    (record,) = caplog.records
    assert "'dict'" in record.message
    assert "answering.<locals>.handler" in record.message
    assert "Documented are None, True, False, Ack(), Nack() and Reject()" in record.message
    assert SECRET not in record.message
    assert delivery.account.odd_returns == 3


def numbers():
    yield 1


async def async_numbers():
    yield 1


@pytest.mark.parametrize("returns", ["lenient", "strict", "truthy"])
@pytest.mark.parametrize("make", [numbers, async_numbers, lambda: Nack, lambda: Reject, lambda: Ack])
async def test_t04_a_generator_or_a_forgotten_pair_of_parentheses_is_never_acked(returns, make, route):
    failures = Failures()

    decision = await decide(route(answering(make()), returns=returns, error_handler=failures))

    assert decision.outcome == Nack()
    assert failures.stages == ["result"]


async def test_a_coroutine_that_a_handler_forgot_to_await_is_work_still_to_be_done(route):
    done = []

    async def work(payload):
        done.append(payload)
        return False

    async def forgetful(payload):
        return work(payload)

    assert await decide(route(forgetful)) == (Nack(), None)
    assert await decide(route(lambda payload: work(payload))) == (Nack(), None)
    assert done == ["body", "body"]


async def test_an_answer_that_awaits_to_itself_does_not_spin(route):
    class Connection:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return self

    assert (await decide(route(answering(Connection())))).outcome == Ack()


@pytest.mark.parametrize("content", ["", "0", "null", "[]", b""])
async def test_empty_content_is_content_like_any_other(content, route):
    got = []

    async def handler(payload):
        got.append(payload)

    assert await decide(route(handler), Message("m-1", content)) == (Ack(), None)
    assert got == [content]


# --- Settle, from anywhere

RAISED = [
    (DeleteMessage(), Ack()),
    (Settle(Nack(delay=5)), Nack(delay=5)),
    (Settle(Reject("stale")), Reject("stale")),
    (ExceptionGroup("tasks", [DeleteMessage()]), Ack()),
    (ExceptionGroup("tasks", [Settle(Ack()), ExceptionGroup("more", [DeleteMessage()])]), Ack()),
]


@pytest.mark.parametrize("raising", [raising, raising_plainly])
@pytest.mark.parametrize(("error", "outcome"), RAISED)
async def test_settle_in_a_handler_is_its_outcome_and_asks_nobody(raising, error, outcome, route):
    failures = Failures()

    assert await decide(route(raising(error), error_handler=failures)) == (outcome, None)
    assert failures.asked == []


async def test_t03_settle_in_a_task_group_of_the_handler_is_its_outcome(route):
    async def child():
        raise DeleteMessage

    async def handler(payload):
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(3600))
            group.create_task(child())

    assert await decide(route(handler)) == (Ack(), None)


async def test_settle_in_a_translator_is_its_outcome_and_the_handler_does_not_run(route):
    def translate(message):
        raise Settle(Reject("not ours"))

    delivery = route(broken, translator=Translating(translate))

    assert await decide(delivery) == (Reject("not ours"), None)


async def test_settle_in_a_middleware_is_what_the_middleware_around_it_gets(route):
    seen = []

    async def outer(message, call_next):
        seen.append(await call_next(message))
        return seen[-1]

    async def inner(message, call_next):
        raise Settle(Nack(delay=1))

    assert await decide(route(ok, middleware=[outer, inner])) == (Nack(delay=1), None)
    assert seen == [Nack(delay=1)]


async def test_settle_cannot_be_swallowed_by_a_middleware_that_catches_exceptions(route):
    async def catch_all(message, call_next):
        try:
            return await call_next(message)
        except Exception:
            return Nack()

    assert await decide(route(raising(DeleteMessage()), middleware=catch_all)) == (Ack(), None)


@pytest.mark.parametrize(
    "group", [[DeleteMessage(), Settle(Nack())], [DeleteMessage(), ValueError()], [Settle(Reject("a")), KeyError()]]
)
async def test_a_group_that_does_not_agree_is_a_failure(group, route):
    failures = Failures()

    decision = await decide(route(raising(ExceptionGroup("tasks", group)), error_handler=failures))

    assert decision.outcome == Nack()
    assert failures.stages == ["handle"]


# --- error handlers


@pytest.mark.parametrize(
    ("opinion", "outcome"), [(True, Ack()), (False, Nack()), *((outcome, outcome) for outcome in OUTCOMES)]
)
async def test_what_an_error_handler_says_is_done(opinion, outcome, route):
    async def decide_it(failure):
        return opinion

    for error_handler in (decide_it, lambda failure: opinion, lambda error, message: opinion):
        decision = await decide(route(broken, error_handler=error_handler))
        assert decision.outcome == outcome
        assert isinstance(decision.error, ValueError)


async def test_an_error_handler_learns_what_failed_where_and_with_which_message(route):
    error = ValueError("x")
    failures = Failures()
    pairs = []

    await decide(route(raising(error), error_handler=failures))
    await decide(route(raising(error), error_handler=lambda error, message: pairs.append((error, message))))

    (failure,) = failures.asked
    assert (failure.error, failure.message, failure.route, failure.stage) == (error, MESSAGE, "orders", "handle")
    assert pairs == [(error, MESSAGE)]


async def test_a_plain_error_handler_runs_in_a_thread_and_knows_its_delivery(route):
    enter(Current(MESSAGE, "orders", Flag()))

    def error_handler(failure):
        return Reject(f"{threading.current_thread().name} {current().message.id}")

    decision = await decide(route(broken, error_handler=error_handler))

    assert decision.outcome.reason.startswith("loafer-orders-aside")
    assert decision.outcome.reason.endswith("m-1")


async def test_the_first_that_decides_decides_and_the_rest_is_not_asked(route):
    first, second, third = Failures(None), Failures(Reject("second")), Failures(True)

    assert (await decide(route(broken, error_handler=[first, second, third]))).outcome == Reject("second")
    assert (len(first.asked), len(second.asked), len(third.asked)) == (1, 1, 0)


async def test_nobody_asked_and_nobody_decided_is_a_nack(route):
    assert (await decide(route(broken))).outcome == Nack()
    assert (await decide(route(broken, error_handler=[Failures(), Failures()]))).outcome == Nack()


async def raises_itself(failure):
    raise KeyError(SECRET)


async def exits(failure):
    raise SystemExit(3)


def exits_in_its_thread(failure):
    raise SystemExit(3)


async def cancels_itself(failure):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def cancels_itself_and_returns(failure):
    asyncio.current_task().cancel()


async def says_ok(failure):
    return "ok"


async def says_zero(failure):
    return 0


async def names_a_class(failure):
    return Reject


@pytest.mark.parametrize(
    ("error_handler", "words"),
    [
        (raises_itself, "raised KeyError at "),
        (exits, "raised SystemExit at "),
        (exits_in_its_thread, "raised SystemExit at "),
        (cancels_itself, "raised CancelledError at "),
        (says_ok, "returned a value of type 'str', which is no outcome"),
        (says_zero, "returned a value of type 'int', which is no outcome"),
        (names_a_class, "returned the class 'Reject', which is no outcome"),
    ],
)
async def test_t34_an_error_handler_that_fails_has_no_opinion_and_the_next_is_asked(
    error_handler, words, route, caplog
):
    next_one = Failures(Reject("next"))

    decision = await decide(route(broken, error_handler=[error_handler, next_one]))

    assert decision.outcome == Reject("next")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f"error handler {__name__}:{error_handler.__name__} {words}" in record.message
    assert "about message m-1; it has no opinion" in record.message
    assert SECRET not in caplog.text


async def test_an_error_handler_that_cancels_its_task_but_answers_harms_nobody_after_it(route):
    next_one = Failures(True)

    decision = await decide(route(broken, error_handler=[cancels_itself_and_returns, next_one]))

    assert decision.outcome == Ack()
    assert len(next_one.asked) == 1


def test_t34_an_error_handler_that_hangs_is_given_up_after_30_seconds_and_the_next_is_asked(route, caplog):
    async def hangs(failure):
        await asyncio.sleep(3600)

    async def scenario():
        loop = asyncio.get_running_loop()
        began = loop.time()
        decision = await decide(route(broken, error_handler=[hangs, Failures(Reject("next"))]))
        return decision.outcome, loop.time() - began

    assert run_virtual(scenario()) == (Reject("next"), ERROR_HANDLER_TIMEOUT)
    assert "gave no answer within 30 s when asked about message" in caplog.text


def test_an_error_handler_that_resists_its_cancelling_is_left_behind_and_the_next_is_asked(route, caplog):
    end = asyncio.Event()

    async def resists(failure):
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                pass
        return True

    async def scenario():
        loop = asyncio.get_running_loop()
        began = loop.time()
        decision = await decide(route(broken, error_handler=[resists, Failures(Reject("next"))]))
        took = loop.time() - began
        end.set()
        return decision.outcome, took

    assert run_virtual(scenario()) == (Reject("next"), ERROR_HANDLER_TIMEOUT)
    assert "gave no answer within 30 s" in caplog.text


def test_t34_a_plain_error_handler_that_hangs_is_given_up_too(route):
    release = threading.Event()

    async def scenario():
        error_handlers = [lambda failure: release.wait(30), Failures(Reject("next"))]
        return (await decide(route(broken, error_handler=error_handlers))).outcome

    try:
        # The clock leaps only when nothing but the thread is left to wait for.
        assert run_virtual(scenario(), grace=0.05) == Reject("next")
    finally:
        release.set()


# --- stages


class Translators:
    @staticmethod
    def raises(message):
        raise TranslationError("not JSON")

    @staticmethod
    def crashes(message):
        raise KeyError(SECRET)

    @staticmethod
    def stops_iteration(message):
        return next(iter(()))

    @staticmethod
    def exits(message):
        raise SystemExit

    @staticmethod
    def returns_junk(message):
        return message.body


@pytest.mark.parametrize("translate", ["raises", "crashes", "stops_iteration", "exits", "returns_junk"])
async def test_t35_a_translator_that_fails_is_never_acked_and_the_handler_does_not_run(translate, route):
    handled = []
    failures = Failures()
    translator = Translating(getattr(Translators, translate))

    decision = await decide(route(handled.append, translator=translator, error_handler=failures))

    assert decision.outcome == Nack()
    assert failures.stages == ["translate"]
    assert handled == []


async def test_t35_a_translator_that_returns_no_translation_is_named(route, caplog):
    await decide(route(ok, translator=Translating(Translators.returns_junk), name="csv"))
    assert "TranslationError: translator 'csv' returned no Translation" in caplog.text


async def swallow(message, call_next):
    try:
        return await call_next(message)
    except ValueError:
        return Reject("swallowed")


async def raise_its_own(message, call_next):
    raise LookupError("no such tenant")


async def translate_errors(message, call_next):
    try:
        return await call_next(message)
    except ValueError as error:
        raise LookupError("no such tenant") from error


async def let_it_pass(message, call_next):
    return await call_next(message)


async def pass_it_on_again(message, call_next):
    try:
        return await call_next(message)
    except ValueError as error:
        raise error


async def forget_to_return(message, call_next):
    await call_next(message)


async def return_the_payload(message, call_next):
    await call_next(message)
    return True


@pytest.mark.parametrize(
    ("middleware", "kind", "stage"),
    [
        (let_it_pass, ValueError, "handle"),
        (pass_it_on_again, ValueError, "handle"),
        (raise_its_own, LookupError, "middleware"),
        (translate_errors, LookupError, "middleware"),
    ],
)
async def test_a_failure_is_the_middlewares_when_the_middleware_raised_it(middleware, kind, stage, route):
    failures = Failures()

    decision = await decide(route(broken, middleware=middleware, error_handler=failures))

    assert isinstance(decision.error, kind)
    assert failures.stages == [stage]


@pytest.mark.parametrize("middleware", [forget_to_return, return_the_payload])
async def test_a_middleware_that_gives_no_outcome_has_failed_by_name(middleware, route, caplog):
    failures = Failures()

    decision = await decide(route(ok, middleware=[let_it_pass, middleware], error_handler=failures))

    assert decision.outcome == Nack()
    assert isinstance(decision.error, OutcomeError)
    assert failures.stages == ["middleware"]
    assert f"middleware {__name__}:{middleware.__name__} returned" in caplog.text


async def test_a_middleware_that_swallows_and_gives_an_outcome_has_decided(route):
    failures = Failures()

    assert await decide(route(broken, middleware=swallow, error_handler=failures)) == (Reject("swallowed"), None)
    assert failures.asked == []


async def test_middlewares_are_nested_the_first_outermost(route):
    steps = []

    def note(name):
        async def middleware(message, call_next):
            steps.append(f"{name} in")
            outcome = await call_next(message)
            steps.append(f"{name} out")
            return outcome

        return middleware

    async def handler(payload):
        steps.append("handler")

    await decide(route(handler, middleware=[note("first"), note("second")]))

    assert steps == ["first in", "second in", "handler", "second out", "first out"]


async def test_a_middleware_may_call_next_again_and_the_last_word_counts(route):
    answers = [ValueError("once"), None]

    async def retry(message, call_next):
        try:
            return await call_next(message)
        except ValueError:
            return await call_next(message)

    async def handler(payload):
        if (answer := answers.pop(0)) is not None:
            raise answer

    assert await decide(route(handler, middleware=retry)) == (Ack(), None)
    assert answers == []


async def test_a_changed_copy_reaches_the_handler_while_the_error_handlers_see_the_original(route):
    seen = []
    failures = Failures()

    async def change(message, call_next):
        return await call_next(dataclasses.replace(message, body="changed"))

    async def handler(payload):
        seen.append(payload)
        raise ValueError

    await decide(route(handler, middleware=change, error_handler=failures))

    assert seen == ["changed"]
    assert failures.asked[0].message is MESSAGE


async def test_a_middleware_may_run_the_rest_under_a_time_limit_of_its_own(route):
    failures = Failures()

    async def limit(message, call_next):
        return await asyncio.wait_for(call_next(message), 0)

    async def handler(payload):
        await asyncio.Event().wait()

    decision = await decide(route(handler, middleware=limit, error_handler=failures))

    assert isinstance(decision.error, TimeoutError)
    assert failures.stages == ["middleware"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_what_would_end_the_loop_does_not_leave_a_task_that_a_middleware_made(kind, route):
    failures = Failures()

    async def in_a_task(message, call_next):
        return await asyncio.create_task(call_next(message))

    decision = await decide(route(raising(kind()), middleware=in_a_task, error_handler=failures))

    assert decision.outcome == Nack()
    assert isinstance(decision.error.__cause__, kind)
    assert failures.stages == ["handle"]


# --- what nobody should raise, and what nobody should do to his task


class OfNoKnownKind(BaseException):
    pass


NASTY = [
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    MemoryError,
    RecursionError,
    asyncio.CancelledError,
    OfNoKnownKind,
]


@pytest.mark.parametrize("raising", [raising, raising_plainly])
@pytest.mark.parametrize("kind", NASTY)
async def test_whatever_a_handler_raises_is_a_failure_of_its_message_and_of_nothing_else(kind, raising, route):
    failures = Failures(Reject("poison"))
    delivery = route(raising(kind()), error_handler=failures)

    decision = await decide(delivery)

    assert decision.outcome == Reject("poison")
    assert isinstance(decision.error, kind)
    assert failures.stages == ["handle"]


@pytest.mark.parametrize("raising", [raising, raising_plainly])
async def test_t37_a_stop_iteration_in_a_handler_is_a_failure_and_hangs_nobody(raising, route):
    async with asyncio.timeout(30):
        decision = await decide(route(raising(StopIteration())))
    assert isinstance(decision.error, RuntimeError)
    assert isinstance(decision.error.__cause__, StopIteration)


async def cancel_and_wait(payload):
    asyncio.current_task().cancel()
    await asyncio.sleep(3600)


async def cancel_and_fail(payload):
    asyncio.current_task().cancel()
    raise ValueError


async def cancel_wait_and_cancel_again(payload):
    try:
        await cancel_and_wait(payload)
    finally:
        asyncio.current_task().cancel()


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (cancel_and_wait, asyncio.CancelledError),
        (cancel_and_fail, ValueError),
        (cancel_wait_and_cancel_again, asyncio.CancelledError),
    ],
)
async def test_a_handler_that_cancels_its_own_task_has_failed_and_its_error_handlers_are_unharmed(handler, kind, route):
    async def thinks(failure):
        await asyncio.sleep(0)
        return Reject("told")

    decision = await decide(route(handler, error_handler=thinks))

    assert decision.outcome == Reject("told")
    assert isinstance(decision.error, kind)


async def test_a_handler_that_cancels_its_task_and_returns_has_done_its_work(route):
    async def handler(payload):
        asyncio.current_task().cancel()

    assert await decide(route(handler)) == (Ack(), None)


async def test_our_own_cancelling_passes_and_asks_nobody(route):
    failures = Failures()
    started = asyncio.Event()
    cancelled = False

    async def handler(payload):
        started.set()
        await asyncio.Event().wait()

    delivery = route(handler, error_handler=failures)
    deciding = asyncio.create_task(delivery.decide(MESSAGE, lambda: cancelled))
    await started.wait()
    cancelled = deciding.cancel()

    with pytest.raises(asyncio.CancelledError):
        await deciding
    assert deciding.cancelled()
    assert failures.asked == []


async def test_our_own_cancelling_ends_an_error_handler_too(route):
    asked = asyncio.Event()
    cancelled = False

    async def thinks(failure):
        asked.set()
        await asyncio.Event().wait()

    next_one = Failures(True)
    deciding = asyncio.create_task(route(broken, error_handler=[thinks, next_one]).decide(MESSAGE, lambda: cancelled))
    await asked.wait()
    cancelled = deciding.cancel()

    with pytest.raises(asyncio.CancelledError):
        await deciding
    assert next_one.asked == []


async def test_a_handler_that_ends_its_work_in_spite_of_our_cancelling_has_done_it(route):
    started = asyncio.Event()
    cancelled = False

    async def handler(payload):
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return True

    deciding = asyncio.create_task(route(handler).decide(MESSAGE, lambda: cancelled))
    await started.wait()
    cancelled = deciding.cancel()

    assert await deciding == (Ack(), None)


async def test_a_plain_function_ends_its_work_in_spite_of_our_cancelling(route):
    entered, release = threading.Event(), threading.Event()
    cancelled = False

    def handler(payload):
        entered.set()
        release.wait(30)
        return False

    deciding = asyncio.create_task(route(handler).decide(MESSAGE, lambda: cancelled))
    await asyncio.to_thread(entered.wait, 30)
    cancelled = deciding.cancel()
    await asyncio.sleep(0)
    release.set()

    assert await deciding == (Nack(), None)


# --- handler_timeout


def timed(handler, route, **options):
    failures = Failures()

    async def scenario():
        loop = asyncio.get_running_loop()
        began = loop.time()
        decision = await decide(route(handler, handler_timeout=30.0, error_handler=failures, **options))
        return decision, loop.time() - began

    return *run_virtual(scenario()), failures.stages


def test_an_async_handler_is_cancelled_when_its_time_is_up(route):
    async def handler(payload):
        await asyncio.sleep(3600)

    decision, seconds, stages = timed(handler, route)

    assert decision.outcome == Nack()
    assert isinstance(decision.error, TimeoutError)
    assert (seconds, stages) == (30.0, ["timeout"])


def test_a_coroutine_that_a_plain_function_hides_is_cancelled_when_its_time_is_up(route):
    async def hidden(payload):
        await asyncio.sleep(3600)

    decision, _, stages = timed(lambda payload: hidden(payload), functools.partial(route))

    assert isinstance(decision.error, TimeoutError)
    assert stages == ["timeout"]


def test_a_handler_that_is_in_time_is_left_alone(route):
    async def handler(payload):
        await asyncio.sleep(29)
        return Reject("in time")

    assert timed(handler, route) == ((Reject("in time"), None), 29.0, [])


def test_a_timeout_of_the_handlers_own_is_an_ordinary_failure(route):
    async def handler(payload):
        async with asyncio.timeout(5):
            await asyncio.sleep(3600)

    decision, seconds, stages = timed(handler, route)

    assert isinstance(decision.error, TimeoutError)
    assert (seconds, stages) == (5.0, ["handle"])


def test_a_handler_that_answers_although_its_time_is_up_has_done_its_work(route):
    async def handler(payload):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return Reject("late")

    assert timed(handler, route)[0] == (Reject("late"), None)


async def test_a_plain_function_that_is_late_is_warned_about_and_waited_for(route, caplog):
    caplog.set_level(logging.WARNING)
    warned = threading.Event()
    logging.getLogger("loafer.delivery").addHandler(handler := Ringing(warned))

    def late(payload):
        return Reject("late") if warned.wait(30) else None

    try:
        decision = await decide(route(late, handler_timeout=0.01))
    finally:
        logging.getLogger("loafer.delivery").removeHandler(handler)

    assert decision == (Reject("late"), None)
    (record,) = caplog.records
    assert "orders: message m-1 has been in its handler for 0.01 s (handler_timeout)" in record.message


class Ringing(logging.Handler):
    def __init__(self, bell):
        super().__init__()
        self.bell = bell

    def emit(self, record):
        self.bell.set()


def test_a_plain_function_that_is_in_time_is_not_warned_about(route, caplog):
    async def scenario():
        decision = await decide(route(lambda payload: True, handler_timeout=30))
        await asyncio.sleep(60)
        return decision

    # The grace is for the thread: the clock leaps only when there is nothing but a timer to wait for.
    assert run_virtual(scenario(), grace=0.5) == (Ack(), None)
    assert caplog.records == []


# --- metadata

FULL = Message(
    "m-7",
    "body",
    attributes={"tenant": "acme"},
    metadata={"queue": "orders", "route": "not the route"},
    receive_count=3,
    group="g",
    sent_at=1_700_000_000.0,
)


async def test_metadata_has_the_facts_of_message_source_translator_and_lifespan(route):
    seen = []

    async def handler(payload, metadata):
        seen.append(metadata)

    translator = Translating(lambda message: Translation("payload", {"topic_arn": "arn"}))
    delivery = route(handler, translator=translator, name="sns")
    delivery.state = {"db": "pool"}
    await decide(delivery, FULL)

    assert dict(seen[0]) == {
        "message_id": "m-7",
        "receive_count": 3,
        "route": "orders",
        "attributes": {"tenant": "acme"},
        "group": "g",
        "sent_at": 1_700_000_000.0,
        "queue": "orders",
        "sns": {"topic_arn": "arn"},
        "state": {"db": "pool"},
    }


async def test_a_translator_without_facts_leaves_no_trace_in_metadata(route):
    seen = []

    async def handler(payload, metadata):
        seen.append("text" in metadata)

    await decide(route(handler))
    assert seen == [False]


async def test_metadata_is_read_only_all_the_way_down(route):
    facts = {"topic_arn": "arn"}
    translator = Translating(lambda message: Translation("payload", facts))

    async def handler(payload, metadata):
        for mapping in (metadata, metadata["attributes"], metadata["sns"]):
            with pytest.raises(TypeError):
                mapping["route"] = "other"

    assert await decide(route(handler, translator=translator, name="sns"), FULL) == (Ack(), None)


# --- what is logged


async def test_a_failure_that_nobody_decides_is_one_line_with_its_place_and_no_content(route, caplog):
    await decide(route(broken), Message("m-9", f"body {SECRET}", receive_count=4))

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    line = broken.__code__.co_firstlineno + 1
    assert record.message == (
        f"orders: message m-9 failed (stage handle, receive 4): ValueError at {__file__}:{line} in broken"
    )
    assert record.exc_info is None
    assert (record.route, record.message_id, record.stage) == ("orders", "m-9", "handle")
    assert SECRET not in caplog.text


async def test_our_own_words_about_a_failure_are_shown_because_they_hold_no_content(route, caplog):
    await decide(route(answering(SECRET), returns="strict"))

    assert "(stage result, receive 2): OutcomeError: handler " in caplog.text
    assert "returned a value of type 'str'. Documented are" in caplog.text
    assert SECRET not in caplog.text


def test_a_timeout_is_logged_with_the_place_where_the_handler_was(route, caplog):
    async def handler(payload):
        await asyncio.Event().wait()

    timed(handler, route)

    assert "(stage timeout, receive 2): TimeoutError at " in caplog.text
    assert "in wait" in caplog.text
    assert "timeouts.py" not in caplog.text


async def test_an_error_without_a_place_is_logged_without_one(route, caplog):
    bare = ValueError()

    async def asked(failure):
        failure.error.with_traceback(None)

    await decide(route(raising(bare), error_handler=asked))

    assert caplog.messages == ["orders: message m-1 failed (stage handle, receive 2): ValueError"]


async def test_a_failure_that_is_decided_is_left_to_who_decided_it(route, caplog):
    await decide(route(broken, error_handler=Failures(False)))
    assert caplog.records == []


# --- memory


class Payload:
    pass


@pytest.mark.parametrize("middleware", [(), let_it_pass, swallow])
@pytest.mark.parametrize("kind", ["async", "plain", "cancelled by us"])
async def test_a_failed_delivery_keeps_its_payload_alive_no_longer_than_its_decision(kind, middleware, route):
    payloads = [Payload()]
    alive = weakref.ref(payloads[0])

    async def fail(payload):
        raise ValueError

    def fail_plainly(payload):
        raise ValueError

    async def be_cancelled(payload):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    delivery = route(
        {"async": fail, "plain": fail_plainly, "cancelled by us": be_cancelled}[kind],
        translator=Translating(lambda message: Translation(payloads.pop() if payloads else None)),
        middleware=middleware,
        error_handler=lambda failure: None,
    )

    async def deliver():
        with contextlib.suppress(asyncio.CancelledError):
            await delivery.decide(MESSAGE, lambda: kind == "cancelled by us")

    gc.disable()
    try:
        for _ in range(5):  # until each thread and the loop have forgotten the first
            await asyncio.create_task(deliver())
        assert alive() is None
    finally:
        gc.enable()
