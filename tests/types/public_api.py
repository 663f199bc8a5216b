"""The public door as its users write against it. Checked by ``mypy --strict``, not run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import assert_type

from pydantic import Field

from loafer_core import (
    Ack,
    BaseProvider,
    Breaker,
    Context,
    Current,
    DeleteMessage,
    ErrorHandlerSpec,
    Failure,
    Manager,
    MemoryProvider,
    MemoryQueue,
    Message,
    Nack,
    Options,
    Outcome,
    Provider,
    ProviderSpec,
    Reject,
    Retry,
    Route,
    Settle,
    Settled,
    Traits,
    Translation,
    Translator,
    TranslatorSpec,
    Unavailable,
    current,
    hookimpl,
)
from loafer_core.testing import Delivered, Published, deliver

# --- a user's service


async def handle(order: dict[str, int], metadata: Mapping[str, object]) -> bool | Outcome | None:
    here = current()
    assert_type(here, Current)
    await here.stopping.wait()
    if not order:
        raise DeleteMessage
    if "late" in order:
        raise Settle(Nack(delay=30))
    return Reject("no order") if metadata["receive_count"] == 3 else True


def decide(failure: Failure) -> Outcome | None:
    return Nack(60) if isinstance(failure.error, Unavailable) and failure.stage == "handle" else None


async def tenancy(message: Message, call_next: Callable[[Message], Awaitable[Outcome]]) -> Outcome:
    outcome = await call_next(message)
    assert_type(outcome, Ack | Nack | Reject)
    return outcome


@asynccontextmanager
async def lifespan() -> AsyncIterator[list[str]]:
    yield ["a pool"]


async def embed() -> None:
    queue = MemoryQueue("orders", dead_letter=MemoryQueue("dead"))
    routes = [
        Route("orders", provider=MemoryProvider(queue=queue), handler=handle, error_handler=decide, middleware=tenancy),
        Route("named", provider={"name": "sqs", "queue": "q"}, translator="json", handler="shop:handle", retry="leave"),
        Route("slow", provider="memory", handler=handle, retry=Retry(base=5), breaker=Breaker(failures=3, window=60)),
    ]
    async with Manager(routes, shutdown_timeout=10.0, lifespan="shop:lifespan") as manager:
        queue.send("{}")
        await manager.wait()
    assert_type(manager.accounts["orders"].acked, int)


def main() -> int:
    Manager.from_config({"routes": {}}).run(until_empty=True)
    return Manager.from_config("loafer.toml", overrides=["routes.orders.concurrency=5"], routes=["orders"]).run(
        until_empty=30.0, sandbox=True, samples={"orders": ["{}"]}
    )


# --- a plugin

LOAFER_API = 1


class TapeOptions(Options):
    path: str = Field(description="Where the tape is")


class Tape(BaseProvider):
    traits = Traits(batch=10, linger=0.1)

    def __init__(self, options: TapeOptions) -> None:
        self._options = options

    async def open(self, context: Context) -> None:
        assert_type(context.max_wait, float)

    async def receive(self, limit: int) -> Sequence[Message]:
        return [Message("1", self._options.path, attributes={"a": b"1"}, lease_until=None)][:limit]

    async def ack(self, messages: Sequence[Message]) -> Mapping[Message, Settled]:
        return dict.fromkeys(messages, Settled.DONE)

    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]:
        return dict.fromkeys(delays, Settled.RETRY)


class Upper:
    def translate(self, message: Message) -> Translation:
        return Translation(str(message.body).upper(), {"by": "upper"})


async def deliver_one() -> bool:
    delivered = await deliver("loafer.toml", "orders", {"id": 1}, {"tenant": "blue"}, receive_count=2)
    assert_type(delivered, Delivered)
    assert_type(delivered.published, tuple[Published, ...])
    return delivered.outcome == Nack(30) or delivered.acked


provider: Provider = Tape(TapeOptions(path="/dev/st0"))
translator: Translator = Upper()


def _tape(options: TapeOptions) -> Provider:
    return Tape(options)


@hookimpl
def loafer_providers() -> list[ProviderSpec[TapeOptions]]:
    return [ProviderSpec(name="tape", summary="A tape", options=TapeOptions, factory=_tape)]


@hookimpl
def loafer_translators() -> list[TranslatorSpec[Options]]:
    return [TranslatorSpec(name="upper", summary="Upper case", options=Options, factory=lambda _: Upper())]


@hookimpl
def loafer_error_handlers() -> list[ErrorHandlerSpec[Options]]:
    return [ErrorHandlerSpec(name="decide", summary="Decides", options=Options, factory=lambda _: decide)]


ProviderSpec(name="tape", summary="A tape", options=Options, factory=_tape)  # type: ignore[arg-type]
MemoryQueue("orders", leese=3)  # type: ignore[call-arg]
Route("orders", provider="memory", handler=handle, concurency=3)  # type: ignore[call-arg]
