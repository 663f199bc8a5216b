"""The core's own components keep their contracts: ``memory``, in virtual time, ``text`` and ``log``."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

import pytest

from loafer_core import MemoryProvider, MemoryQueue, Message, Traits
from loafer_core.memory.queue import MOST_LEASE
from loafer_core.testing import ErrorHandlerContract, ProviderContract, TranslatorContract, VirtualLoop

_numbers = itertools.count(1)


class MemoryHarness:
    """A named queue with a dead-letter queue behind it; faults are the provider's own ``fail_next``."""

    def __init__(self, **options: object) -> None:
        self.name = f"contract-{next(_numbers)}"
        self.given = {"queue": self.name, "dead_letter": f"{self.name}-dead", "lease": 10, **options}
        self.queue = MemoryQueue.named(self.name)
        self.built_so_far: list[MemoryProvider] = []

    def options(self) -> Mapping[str, object]:
        return self.given

    def publish(self, body, attributes=None, group=None) -> str:
        return self.queue.send(body, attributes, group)

    def built(self, provider: MemoryProvider) -> None:
        self.built_so_far.append(provider)

    def settled(self, id: str) -> bool:
        return all(message.id != id for message in self.queue.messages())

    def rejected(self) -> list[Message]:
        return self.queue.dead

    def fail_next(self, operation, error) -> None:
        for provider in self.built_so_far:
            provider.fail_next(operation, error)

    def close(self) -> None: ...


class LogHarness:
    """What ``log`` tells, it tells the logger ``loafer.failure``."""

    def __init__(self, options: Mapping[str, object], caplog: pytest.LogCaptureFixture) -> None:
        self.given, self.caplog = options, caplog

    def options(self) -> Mapping[str, object]:
        return self.given

    def reported(self) -> list[str]:
        return [record.getMessage() for record in self.caplog.records if record.name == "loafer.failure"]

    def close(self) -> None: ...


class TestMemory(ProviderContract):
    component = "memory"
    loop_factory = VirtualLoop
    traits = Traits(
        lease=10.0,
        lease_total=MOST_LEASE,
        stable_ids=True,
        max_delay=MOST_LEASE,
        batch=10,
        linger=0.01,
        receives=4,
        rejects=True,
    )

    @pytest.fixture
    def harness(self) -> Iterator[MemoryHarness]:
        yield MemoryHarness()
        MemoryQueue.forget_named()


class TestOrderedMemory(TestMemory):
    traits = dataclasses.replace(TestMemory.traits, ordered=True)

    @pytest.fixture
    def harness(self) -> Iterator[MemoryHarness]:
        yield MemoryHarness(ordered=True)
        MemoryQueue.forget_named()


class TestText(TranslatorContract):
    component = "text"
    good = ("text", "grüß dich".encode(), " \n")
    bad = (b"secret-4711-\xff",)
    falsy = {"": "", b"": ""}


class TestLog(ErrorHandlerContract):
    component = "log"
    options = {"traceback": False}

    @pytest.fixture
    def harness(self, caplog: pytest.LogCaptureFixture) -> LogHarness:
        return LogHarness(self.options, caplog)
