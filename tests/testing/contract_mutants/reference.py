"""A provider that keeps the whole contract, its harness, and a way to tell which checks a variation of it fails."""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from loafer_core import Finding, MemoryProvider, MemoryQueue, SourceConfigError, Traits
from loafer_core.memory.provider import MemoryOptions
from loafer_core.testing import ProviderContract, VirtualLoop
from loafer_core.testing.kit.checks import checks_of

LEASE = 10.0
MUTANTS: dict[str, list[type[Any]]] = defaultdict(list)
"""By the id of the one check that each fails."""
_numbers = itertools.count(1)


def breaks(check: str) -> Callable[[type[Any]], type[Any]]:
    """Say which check a mutant fails."""

    def remember(mutant: type[Any]) -> type[Any]:
        MUTANTS[check].append(mutant)
        return mutant

    return remember


class Reference(MemoryProvider):
    """``memory``, with what else a provider can do. ``alone`` is false under the dispatcher and in tight quarters."""

    ordered = False
    alone = True

    async def open(self, context):
        self.alone = context.concurrency == 10
        if self.queue.name.startswith("missing"):
            raise self.no_such_queue()
        await super().open(context)

    def no_such_queue(self) -> Exception:
        return SourceConfigError(f"there is no queue {self.queue.name!r}")

    async def audit(self):
        return [Finding("", "no retention", "warning")]

    def entry(self, message):
        """What the queue has under the message's id."""
        return next((entry for entry in self.queue._store.entries if entry.id == message.id), None)


class Harness:
    """A queue of its own, in this process."""

    def __init__(self, *, ordered: bool) -> None:
        self.name = f"contract-{next(_numbers)}"
        self.given = {"queue": self.name, "dead_letter": f"{self.name}-dead", "lease": LEASE, "ordered": ordered}
        self.queue = MemoryQueue.named(self.name)
        self.providers: list[MemoryProvider] = []

    def options(self) -> Mapping[str, object]:
        return self.given

    def missing(self) -> Mapping[str, object]:
        return {"queue": f"missing-{self.name}"}

    def built(self, provider: MemoryProvider) -> None:
        self.providers.append(provider)

    def publish(self, body, attributes=None, group=None) -> str:
        return self.queue.send(body, attributes, group)

    def settled(self, id: str) -> bool:
        return all(message.id != id for message in self.queue.messages())

    def rejected(self):
        return self.queue.dead

    def fail_next(self, operation, error) -> None:
        for provider in self.providers:
            provider.fail_next(operation, error)

    def close(self) -> None:
        MemoryQueue.forget_named()


class Contract(ProviderContract):
    """The contract, put to a provider that no plugin declares."""

    component = "memory"
    loop_factory = VirtualLoop
    provider: type[Reference] = Reference
    traits = Traits(
        lease=LEASE,
        lease_total=43_200.0,
        stable_ids=True,
        max_delay=43_200.0,
        batch=10,
        linger=0.01,
        receives=4,
        rejects=True,
    )

    def make(self, options):
        return self.provider(MemoryOptions(**options))


class Channel(Reference):
    """What it has received is its own until its channel is cut: no leases."""

    extend = None

    async def open(self, context):
        self.context = context
        await super().open(context)
        self.traits = dataclasses.replace(self.traits, lease=None, lease_total=None)

    async def receive(self, limit):
        return [dataclasses.replace(message, lease_until=None) for message in await super().receive(limit)]

    def cut(self) -> None:
        held = [message for message in self.context.outstanding() if not message.receipt.returned]
        for message in held:
            self.queue.nack(message.receipt)
        self.tell(held)

    def tell(self, messages) -> None:
        self.context.lost(messages, "the channel is gone")

    async def close(self):
        if self._wake is not None:
            self.cut()
        await super().close()


class ChannelHarness(Harness):
    def __init__(self) -> None:
        super().__init__(ordered=False)
        self.given |= {"lease": 40_000.0}

    def expire(self, id: str) -> None:
        for provider in self.providers:
            if any(message.id == id for message in provider.context.outstanding()):
                provider.cut()


def failures(contract: Any, harness: Callable[[], object], *, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Run every check whose id does not begin with one of ``but``; give those that fail, and what they say."""
    failed: dict[str, str] = {}
    for check in checks_of(type(contract)):
        if check.case.id.startswith(but):
            continue
        try:
            check(contract, *([harness()] if "harness" in check.__code__.co_varnames else []))
        except pytest.skip.Exception:
            pass
        except (AssertionError, pytest.fail.Exception) as error:
            failed[check.case.id] = str(error)
    return failed


def provider_failures(provider: type[Reference]) -> dict[str, str]:
    """The checks of a provider that this one fails."""
    contract = Contract()
    contract.provider = provider
    contract.traits = dataclasses.replace(Contract.traits, ordered=provider.ordered)
    if issubclass(provider, Channel):
        contract.traits = dataclasses.replace(contract.traits, lease=None, lease_total=None)
        return failures(contract, ChannelHarness, but=("O",))
    return failures(contract, lambda: Harness(ordered=provider.ordered), but=("O",))
