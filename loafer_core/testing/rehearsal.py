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
    """What a plugin's ready-made handler would have sent."""

    handler: str
    """Its name in the configuration."""
    options: Any
    """Its options, validated: they say where it would have been sent."""
    payload: object
    metadata: Mapping[str, object] = field(repr=False)


class StandIn(MemoryProvider):
    """A provider on a queue of its own, whose messages have the receive count and the metadata that the test wants."""

    def __init__(self, receive_count: int, metadata: Mapping[str, object]) -> None:
        super().__init__(queue=MemoryQueue(dead_letter=MemoryQueue()))
        self._receive_count = receive_count
        self._metadata = metadata

    async def receive(self, limit: int) -> Sequence[Message]:
        return [
            replace(message, receive_count=self._receive_count, metadata={**message.metadata, **self._metadata})
            for message in await super().receive(limit)
        ]

    async def nack(self, delays: Mapping[Message, float]) -> Mapping[Message, Settled]:
        # The message shall not come again: one delivery is all that was asked for.
        return await super().nack(dict.fromkeys(delays, 3600.0))


class Rehearsal(Resolved):
    """A resolved route that can tell what was decided, and whose publishing handler only takes notes."""

    decisions: dict[str, Decision]
    """By message id."""
    decided: asyncio.Event
    """Set with each decision."""
    published: list[Published]
    """What would have been published, in order."""

    def build(self, overrides: Overrides | None = None) -> list[BuiltRoute]:
        self.decisions = {}
        self.decided = asyncio.Event()
        self.published = []
        self.every_route = [self._without_publisher(route) for route in self.every_route]
        built = super().build(overrides)
        return [replace(route, pipeline=WatchedPipeline.of(route.pipeline, self._note)) for route in built]

    def _note(self, message: Message, decision: Decision) -> None:
        self.decisions.setdefault(message.id, decision)
        self.decided.set()

    def _without_publisher(self, route: ResolvedRoute) -> ResolvedRoute:
        """Put a handler that takes notes in the place of one that a plugin brought, which would publish."""
        handler = route.handler
        if handler.offer is None or handler.offer.distribution == CORE:
            return route

        def publish(payload: object, metadata: Mapping[str, object]) -> None:
            self.published.append(Published(handler.label, handler.options, payload, metadata))

        notes = replace(handler, factory=lambda _: publish)
        return replace(route, components={**route.components, "handler": (notes,)})


class WatchedPipeline(Pipeline):
    """A pipeline that tells ``note`` of each decision."""

    _note: Callable[[Message, Decision], None]

    @classmethod
    def of(cls, pipeline: Pipeline, note: Callable[[Message, Decision], None]) -> WatchedPipeline:
        """Copy a pipeline into one that is watched."""
        watched = cls(**{one.name: getattr(pipeline, one.name) for one in fields(pipeline) if one.init})
        watched._note = note
        return watched

    async def decide(
        self, message: Message, is_cancelled: Callable[[], bool], task: asyncio.Task[Any] | None = None
    ) -> Decision:
        decision = await super().decide(message, is_cancelled, task)
        self._note(message, decision)
        return decision


def rehearse(config: Config, name: str | None, provider: Component | Provider) -> Rehearsal:
    """Resolve that one route. What is wrong with the others, and with what is replaced, is of no interest.

    Args:
        config: what was read.
        name: the route's name; None where there is only one.
        provider: what takes the place of the route's own.

    Raises:
        ConfigError: there is no such route.
    """
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
    findings = [Finding("deliver", text + suggestion(name or "", list(routes)))]
    if not routes:
        findings += config.findings  # They may say why there is none.
    raise ConfigError(findings)


def _concerning(findings: Iterable[Finding], route: str) -> Iterable[Finding]:
    """Give the findings that are about ``route`` (its place), but not about its provider; or about no route."""
    for finding in findings:
        of_this = _is_within(finding, route) and not _is_within(finding, f"{route}.provider")
        if of_this or not finding.where.startswith("routes"):
            yield finding


def _is_within(finding: Finding, place: str) -> bool:
    return finding.where == place or finding.where.startswith(f"{place}.")
