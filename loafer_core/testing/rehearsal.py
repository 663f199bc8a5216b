"""What the test client changes of a resolved route: its source, and a plugin's ready-made handler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from loafer_core.api.errors import ConfigError, Finding
from loafer_core.api.kinds import kinds_in
from loafer_core.api.message import Message
from loafer_core.api.provider import Provider, Settled
from loafer_core.api.route import Component, Route
from loafer_core.app.build import BuiltRoute, Overrides, ResolvedRoute, suggestion
from loafer_core.app.resolve import Resolved, resolve
from loafer_core.config.settings import Config
from loafer_core.config.wording import dotted
from loafer_core.delivery.pipeline import Decision, Pipeline
from loafer_core.discovery.installed import CORE
from loafer_core.memory.provider import MemoryProvider, MemoryQueue


@dataclass(frozen=True, slots=True)
class Published:
    """What a plugin's ready-made handler was to send."""

    handler: str
    """Its name in the configuration."""
    options: Any
    """Its options, validated: where it would have been sent to."""
    payload: object
    metadata: Mapping[str, object] = field(repr=False)


class StandIn(MemoryProvider):
    """A queue of its own whose messages say what the test wants them to say."""

    def __init__(self, receive_count: int, metadata: Mapping[str, object]) -> None:
        super().__init__(queue=MemoryQueue(dead_letter=MemoryQueue()))
        self._receive_count, self._metadata = receive_count, metadata

    async def receive(self, limit: int) -> Sequence[Message]:
        return [
            replace(message, receive_count=self._receive_count, metadata={**message.metadata, **self._metadata})
            for message in await super().receive(limit)
        ]

    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]:
        return await super().nack(dict.fromkeys(delays, 3600.0))  # one delivery is all that was asked for


class Rehearsal(Resolved):
    """A resolved route whose decisions are known by message id, and whose publishing handler only takes notes."""

    decisions: dict[str, Decision]
    decided: asyncio.Event
    published: list[Published]

    def build(self, overrides: Overrides | None = None) -> list[BuiltRoute]:
        self.decisions, self.decided, self.published = {}, asyncio.Event(), []
        self.every_route = [self._without_publisher(resolved) for resolved in self.every_route]
        return [replace(built, delivery=Watched.of(built.delivery, self._note)) for built in super().build(overrides)]

    def _note(self, message: Message, decision: Decision) -> None:
        self.decisions.setdefault(message.id, decision)
        self.decided.set()

    def _without_publisher(self, resolved: ResolvedRoute) -> ResolvedRoute:
        handler = resolved.handler
        if handler.offer is None or handler.offer.distribution == CORE:
            return resolved

        def publish(payload: object, metadata: Mapping[str, object]) -> None:
            self.published.append(Published(handler.label, handler.options, payload, metadata))

        notes = replace(handler, factory=lambda _: publish)
        return replace(resolved, components={**resolved.components, "handler": (notes,)})


class Watched(Pipeline):
    _note: Callable[[Message, Decision], None]

    @classmethod
    def of(cls, delivery: Pipeline, note: Callable[[Message, Decision], None]) -> Watched:
        watched = cls(**{one.name: getattr(delivery, one.name) for one in fields(delivery) if one.init})
        watched._note = note
        return watched

    async def decide(
        self, message: Message, is_cancelled: Callable[[], bool], task: asyncio.Task[Any] | None = None
    ) -> Decision:
        decision = await super().decide(message, is_cancelled, task)
        self._note(message, decision)
        return decision


def rehearse(config: Config, name: str | None, provider: Component | Provider) -> Rehearsal:
    """Prepare that one route. What is wrong with the others, and with what is replaced, is of no interest."""
    route = _chosen(config, name)
    nobody: dict[str, Any] = {kind.key: () for kind in kinds_in("loafer")}
    settings = replace(config.settings, routes=(replace(route, provider=provider),), **nobody)
    findings = tuple(_concerning(config.findings, dotted("routes", route.name)))
    resolved = resolve(replace(config, settings=settings, findings=findings))
    return Rehearsal(**{one.name: getattr(resolved, one.name) for one in fields(resolved)})


def _chosen(config: Config, name: str | None) -> Route:
    routes = {route.name: route for route in config.settings.routes}
    if name is None and len(routes) == 1:
        [name] = routes
    if name in routes:
        return routes[name]
    text = "name one of the routes" if name is None else f"there is no route {name!r}"
    hint = suggestion(name or "", list(routes))
    raise ConfigError([Finding("deliver", text + hint), *(config.findings if not routes else ())])


def _concerning(findings: Iterable[Finding], route: str) -> Iterable[Finding]:
    for finding in findings:
        mine = finding.where == route or finding.where.startswith(f"{route}.")
        replaced = finding.where == f"{route}.provider" or finding.where.startswith(f"{route}.provider.")
        if not finding.where.startswith("routes") or (mine and not replaced):
            yield finding
