"""A rig for stories about routes at work, in virtual time.

A provider that does as it is told, an auditor around it that knows what the core promises to every provider, and a
dispatcher put together by hand.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import itertools
import logging
import random
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from loafer_core import BaseProvider, Context, Message, Nack, Reject, Route, Settled, Traits, Translation, current
from loafer_core.api.outcomes import settled_by
from loafer_core.delivery.executors import ThreadExecutor
from loafer_core.delivery.handlers import compile_error_handler, compile_handler
from loafer_core.delivery.pipeline import Pipeline
from loafer_core.engine.consumer import Consumer
from loafer_core.engine.dispatcher import Dispatcher
from loafer_core.engine.provider_context import Sharing
from loafer_core.engine.shutdown import ShutdownDeadlines
from loafer_core.observability.account import DISPOSITIONS, Account
from loafer_core.observability.observers import Observers
from loafer_core.testing import run_virtual


async def ack(id: str) -> None:
    """A handler that succeeds at once."""


def works(seconds: float) -> Callable[[str], Coroutine[Any, Any, None]]:
    """A handler that succeeds after so long."""

    async def handle(id: str) -> None:
        await asyncio.sleep(seconds)

    return handle


def gives(outcome: Any) -> Callable[[str], Coroutine[Any, Any, Any]]:
    """A handler that returns this at once, or raises it."""

    async def handle(id: str) -> Any:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return handle


class Call(NamedTuple):
    """One call of the provider: when (seconds since the first one), which, for which ids, and the rest."""

    at: float
    what: str
    ids: tuple[str, ...] = ()
    more: Any = None


class Source(BaseProvider):
    """Hands out what it was sent, answers DONE to everything, unless ``next`` told otherwise. ``calls`` has it all."""

    def __init__(self, *ids: str, **traits: Any) -> None:
        self.traits = Traits(**traits)
        self.calls: list[Call] = []
        self.context: Context
        self.most = 10
        """Messages in one answer."""
        self.answers: dict[str, deque[Any]] = defaultdict(deque)
        self.always: dict[str, Any] = {}
        """What is answered when no other answer is left."""
        self.stop_ends_receive = True
        self._begin: float | None = None
        self._stopped = False
        self._arrived = asyncio.Event()
        self._queue: deque[tuple[str, Mapping[str, Any]]] = deque()
        self.send(*ids)

    def send(self, *ids: str, **facts: Any) -> None:
        """Put messages in: their ids, and what else a Message has, ``lease`` (seconds) among it."""
        self._queue.extend((id, facts) for id in ids)
        self._arrived.set()

    def next(self, what: str, *answers: Any) -> None:
        """The next answers: an exception, seconds (it hangs so long), a Settled, a dict by id, or the answer itself."""
        self.answers[what].extend(answers)

    def named(self, what: str) -> list[Call]:
        return [call for call in self.calls if call.what == what]

    def ids(self, what: str) -> list[str]:
        return [id for call in self.named(what) for id in call.ids]

    @property
    def left(self) -> int:
        return len(self._queue)

    def _note(self, what: str, messages: Sequence[Message] = (), more: Any = None) -> None:
        now = asyncio.get_running_loop().time()
        self._begin = now if self._begin is None else self._begin
        self.calls.append(Call(round(now - self._begin, 6), what, tuple(message.id for message in messages), more))

    async def _scripted(self, what: str) -> Any:
        answer = self.answers[what].popleft() if self.answers[what] else self.always.get(what)
        if callable(answer):
            answer = answer()
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def open(self, context: Context) -> None:
        self._note("open")
        self.context = context
        self._stopped = False
        await self._scripted("open")

    async def receive(self, limit: int) -> Sequence[Message]:
        self._note("receive", more=limit)
        answer = await self._scripted("receive")
        if answer is not None:
            return answer
        loop = asyncio.get_running_loop()
        until = loop.time() + self.context.max_wait
        while not self._queue and not self._stopped and loop.time() < until:
            self._arrived.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._arrived.wait()
            except TimeoutError:
                break
        count = min(limit, self.most, len(self._queue))
        return [self._message(*self._queue.popleft()) for _ in range(count)]

    def _message(self, id: str, facts: Mapping[str, Any]) -> Message:
        facts = dict(facts)
        lease = facts.pop("lease", self.traits.lease)
        if lease is not None:
            facts["lease_until"] = asyncio.get_running_loop().time() + lease
        return Message(id, id, **{"receive_count": 1, **facts})

    async def _settle(self, what: str, messages: Sequence[Message], more: Any = None) -> Mapping[Message, Settled]:
        self._note(what, messages, more)
        answer = await self._scripted(what)
        if answer is None:
            return dict.fromkeys(messages, Settled.DONE)
        if isinstance(answer, Settled):
            return dict.fromkeys(messages, answer)
        if isinstance(answer, dict):
            given = {message: answer.get(message.id, Settled.DONE) for message in messages}
            return {message: settled for message, settled in given.items() if settled is not None}
        return answer

    async def ack(self, messages):
        return await self._settle("ack", messages)

    async def nack(self, delays):
        return await self._settle("nack", list(delays), {message.id: delay for message, delay in delays.items()})

    async def release(self, messages):
        return await self._settle("release", messages)

    async def extend(self, messages):
        return await self._settle("extend", messages)

    async def reject(self, messages, reason):
        return await self._settle("reject", messages, reason)

    async def publish(self, body, attributes=None, group=None):
        self._note("publish", more=body)
        await self._scripted("publish")
        self.send(body, group=group)
        return body

    async def stop(self) -> None:
        self._note("stop")
        await self._scripted("stop")
        self._stopped = self.stop_ends_receive
        self._arrived.set()

    async def close(self) -> None:
        self._note("close")
        await self._scripted("close")


class Audit:
    """A provider around a provider. What the core must not do to one, and did, is written down in ``broken``."""

    def __init__(self, provider: Any, concurrency: int) -> None:
        self._provider, self._concurrency = provider, concurrency
        self.broken: list[str] = []
        self.trusting = False
        """Let an ack pass although no handler succeeded: somebody else decided it."""
        self.prompt = True
        """Settlements are sent in time; else what waits for its release cannot be told from what holds a slot."""
        self.in_hands: set[Message] = set()
        """Received, and their outcome not known yet."""
        self.finished: set[str] = set()
        """Ids of which a handler succeeded."""
        self._limits = 0
        self._receives = 0
        self._stopped = False
        self._leases: dict[Message, float] = {}
        self._started: set[Message] = set()
        self._verbs: dict[Message, str] = {}
        self._under_way: set[Message] = set()
        self._final: set[Message] = set()
        self._extending: set[Message] = set()

    @property
    def traits(self) -> Traits:
        return self._provider.traits

    def _must(self, true: bool, text: str) -> None:
        if not true:
            self.broken.append(f"at {asyncio.get_running_loop().time() - 1000:.3f}: {text}")

    def starts(self, message: Message) -> None:
        now = asyncio.get_running_loop().time()
        self._must(message not in self._started, f"{message} is handled twice")
        self._must(message not in self._verbs, f"{message} is handled after it was settled")
        self._must(self._leases.get(message, 0.0) >= now, f"{message} is started after its lease ended")
        self._started.add(message)
        self._must(len(self._started & self.in_hands) <= self._concurrency, "more handlers run than there are slots")

    def ends(self, message: Message, *, succeeded: bool) -> None:
        self.in_hands.discard(message)
        if succeeded:
            self.finished.add(message.id)

    async def open(self, context: Context) -> None:
        self.context = context
        self._stopped = False
        await self._provider.open(context)

    async def receive(self, limit: int) -> Sequence[Message]:
        in_hands = self.in_hands.intersection(self.context.outstanding())
        self._limits += limit
        self._receives += 1
        self._must(limit >= 1, f"receive({limit})")
        self._must(not self._stopped, "receive after stop")
        self._must(self._receives <= self.traits.receives, f"{self._receives} receives at once")
        if len(in_hands) + self._limits > self._concurrency:
            # What is known from before, or given back, holds no slot any more: its settlement may linger a little.
            later = self.traits.linger + 0.001
            asyncio.get_running_loop().call_later(later, self._had_room, in_hands, self._limits)
        try:
            messages = await self._provider.receive(limit)
        finally:
            self._limits -= limit
            self._receives -= 1
        if isinstance(messages, list):
            self.in_hands.update(messages)
            self._leases.update({m: float("inf") if m.lease_until is None else m.lease_until for m in messages})
        return messages

    def _had_room(self, in_hands: set[Message], limits: int) -> None:
        count = len(in_hands.difference(self._verbs) if self.prompt else in_hands & self._started)
        self._must(
            count + limits <= self._concurrency,
            f"{count} in hands and receives for {limits} with concurrency {self._concurrency}",
        )

    async def _settle(self, verb: str, messages: Sequence[Message], call: Coroutine[Any, Any, Any]) -> Any:
        self._must(bool(messages), f"{verb} of nothing")
        for message in messages:
            self._must(message in self._leases, f"{verb} of {message}, which was never received")
            self._must(message not in self._final, f"{verb} of {message}, which was settled for good")
            self._must(message not in self._under_way, f"{verb} of {message} while another settlement is under way")
            self._must(message not in self._extending, f"{verb} of {message} while it is extended")
            self._must(self._verbs.setdefault(message, verb) == verb, f"{verb} of {message} after another verb")
            if verb == "ack" and not self.trusting:
                self._must(message.id in self.finished, f"ack of {message}, and no handler succeeded")
        self._under_way.update(messages)
        try:
            answers = await call
        finally:
            self._under_way.difference_update(messages)
        if isinstance(answers, Mapping):
            self._final.update(m for m in messages if answers.get(m) in (Settled.DONE, Settled.LOST))
        return answers

    async def ack(self, messages):
        return await self._settle("ack", messages, self._provider.ack(messages))

    async def nack(self, delays):
        return await self._settle("nack", list(delays), self._provider.nack(delays))

    async def release(self, messages):
        return await self._settle("release", messages, self._provider.release(messages))

    async def reject(self, messages, reason):
        return await self._settle("reject", messages, self._provider.reject(messages, reason))

    async def extend(self, messages):
        for message in messages:
            self._must(message not in self._under_way, f"extend of {message} while it is settled")
            self._must(message not in self._final, f"extend of {message}, which was settled for good")
            self._must(message not in self._extending, f"extend of {message} twice at once")
            comes_again = self._verbs.get(message) in ("nack", "release")
            self._must(not comes_again, f"extend of {message}, which shall come again")
        self._extending.update(messages)
        try:
            answers = await self._provider.extend(messages)
        finally:
            self._extending.difference_update(messages)
        if isinstance(answers, Mapping):
            until = asyncio.get_running_loop().time() + (self.traits.lease or 0.0)
            self._leases.update({m: until for m in messages if answers.get(m) is Settled.DONE})
        return answers

    async def publish(self, body, attributes=None, group=None):
        return await self._provider.publish(body, attributes, group)

    async def stop(self) -> None:
        self._stopped = True
        await self._provider.stop()

    async def close(self) -> None:
        await self._provider.close()


class Seen:
    """An observer that keeps what it was told."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        """Id and word of every delivery that ended."""
        self.states: list[tuple[str, str]] = []
        self.errors: list[tuple[str, float]] = []
        self.batches: list[int] = []
        self.samples: list[Mapping[str, Any]] = []

    def message_done(self, route, message, outcome, seconds, error):
        self.done.append((message.id, outcome))

    def route_state(self, route, state):
        self.states.append((route, state))

    def provider_error(self, route, error, retry_in):
        self.errors.append((type(error).__name__, retry_in))

    def batch_received(self, route, count, seconds):
        self.batches.append(count)

    def sample(self, snapshot):
        self.samples.append(snapshot)


class _IdTranslator:
    def translate(self, message: Message) -> Translation:
        return Translation(message.id)


class Rig:
    """Puts routes together, and holds them to the promises when the story is over."""

    Source = Source

    def __init__(self) -> None:
        self.consumers: list[Consumer] = []
        self.audits: list[Audit] = []
        self.seen = Seen()
        self.seed = 1
        self.left_behind = False
        """The story leaves tasks behind on purpose."""

    def consumer(
        self,
        provider: Any,
        handler: Callable[..., Any],
        *,
        name: str = "orders",
        error_handlers: Sequence[Callable[..., Any]] = (),
        lifecycles: Sequence[Any] = (),
        max_wait: float = 20.0,
        audited: bool = True,
        **options: Any,
    ) -> Consumer:
        """A route at work: ``handler(id)``, a provider, and whatever options a Route has."""
        route = Route(name, provider=provider, handler=handler, **options)
        audit = Audit(provider, route.concurrency)
        audit.trusting = bool(error_handlers)
        self.audits.append(audit)
        threads = ThreadExecutor(f"test-{name}", route.concurrency)
        delivery = Pipeline(
            route,
            _IdTranslator(),
            "id",
            compile_handler(_watched(handler, audit), threads, f"routes.{name}.handler"),
            [compile_error_handler(ask, threads, f"routes.{name}.error_handler") for ask in error_handlers],
        )
        consumer = Consumer(
            delivery,
            audit if audited else provider,
            lifecycles,
            [threads],
            max_wait=max_wait,
            sharing=Sharing(),
            observers=Observers([("seen", self.seen)]),
            rng=random.Random(self.seed),
        )
        self.consumers.append(consumer)
        return consumer

    def dispatcher(self, *consumers: Consumer, **options: Any) -> Dispatcher:
        settings = {"on_bad_route": "exit", "sample_interval": 10.0, **options}
        return Dispatcher(consumers, observers=Observers([("seen", self.seen)]), **settings)

    @asynccontextmanager
    async def running(self, *consumers: Consumer, timeout: float = 25.0, **options: Any):
        """Start them; drain them afterwards."""
        dispatcher = self.dispatcher(*consumers, **options)
        await dispatcher.start()
        try:
            yield dispatcher
        finally:
            await self.drain(dispatcher, timeout)

    async def drain(self, dispatcher: Dispatcher, timeout: float = 25.0, hurry: asyncio.Event | None = None) -> float:
        """Drain; gives how long it took."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await dispatcher.drain(ShutdownDeadlines.of(begin, timeout, hurry or asyncio.Event()))
        return loop.time() - begin

    def run(self, story: Callable[[], Coroutine[Any, Any, None]], *, grace: float = 0.0) -> None:
        """Tell the story in virtual time, then see that every promise was kept."""

        async def told() -> None:
            await story()
            await asyncio.sleep(0)
            left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            assert self.left_behind or not left, f"tasks left behind: {left}"

        run_virtual(told(), grace=grace)
        for audit in self.audits:
            assert not audit.broken, "\n".join(audit.broken)
        for consumer in self.consumers:
            account = consumer.account
            assert account.received == sum(getattr(account, word) for word in DISPOSITIONS), (
                f"does not add up: {account}"
            )

    def tell(
        self,
        story: Callable[[Consumer], Coroutine[Any, Any, None]],
        provider: Any,
        handler: Callable[..., Any],
        **options: Any,
    ) -> None:
        """Put one route to work, tell ``story(consumer)``, and drain it."""

        async def told() -> None:
            consumer = self.consumer(provider, handler, **options)
            async with self.running(consumer):
                await story(consumer)

        self.run(told)

    def run_for(self, seconds: float, provider: Any, handler: Callable[..., Any], **options: Any) -> Account:
        """Put one route to work for so long; gives its account as it was before the drain."""
        accounts: list[Account] = []

        async def story(consumer: Consumer) -> None:
            await asyncio.sleep(seconds)
            accounts.append(copy.copy(consumer.account))

        self.tell(story, provider, handler, **options)
        return accounts[0]


def _watched(handler: Callable[..., Any], audit: Audit) -> Callable[..., Any]:
    def succeeded(result: object) -> bool:
        return result is not False and not isinstance(result, (Nack, Reject))

    if inspect.iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def watched(payload):
            message = current().message
            audit.starts(message)
            good = False
            try:
                result = await handler(payload)
                good = succeeded(result)
                return result
            except Exception as error:
                good = settled_by(error) is not None and succeeded(settled_by(error))
                raise
            finally:
                audit.ends(message, succeeded=good)

        return watched

    @functools.wraps(handler)
    def in_thread(payload):
        message = current().message
        good = False
        try:
            result = handler(payload)
            good = succeeded(result)
            return result
        finally:
            audit.ends(message, succeeded=good)

    return in_thread


@pytest.fixture
def rig(caplog: pytest.LogCaptureFixture) -> Rig:
    caplog.set_level(logging.DEBUG, "loafer")
    return Rig()


@pytest.fixture
def ids() -> Callable[[int], list[str]]:
    """``ids(3)``: three ids that were not used before."""
    numbers = itertools.count(1)
    return lambda count: [str(next(numbers)) for _ in range(count)]
