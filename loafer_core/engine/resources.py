"""The one place that opens and closes: a route's provider before it receives, then its other components."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loafer_core._tasks import bounded, is_async, is_cancel
from loafer_core.api.current import Flag
from loafer_core.api.errors import ConfigError, Finding, LoaferError, ProviderError, Unavailable
from loafer_core.api.provider import Context, InvalidTraits, Leases, Provider, Rejects
from loafer_core.delivery.executors import Executor
from loafer_core.delivery.handlers import name_of
from loafer_core.delivery.pipeline import Pipeline
from loafer_core.engine.backoff import back_off
from loafer_core.engine.provider_context import ProviderContext, Sharing
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.route")

OPEN_TIMEOUT = 60.0
"""Seconds that opening a provider may take; then it counts as Unavailable."""
CLOSE_TIMEOUT = 10.0
"""Seconds for closing everything where no deadline of a stop is given."""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """How one component is opened and closed: ``open``/``close`` or ``start``/``stop``, sync or async."""

    name: str
    """Its place in the configuration, below its route."""
    open: Callable[[Context], Awaitable[object]]
    close: Callable[[], Awaitable[object]]


def lifecycle_of(component: object, name: str, executor: Executor) -> Lifecycle | None:
    """Find what opens and closes ``component``; None when it has neither.

    What opens it gets the context if it has a parameter of that name, or one without default. Plain functions run in
    a thread.
    """
    if inspect.isroutine(component):
        return None
    opener = _method(component, "open", "start")
    closer = _method(component, "close", "stop")
    if opener is None and closer is None:
        return None

    async def open(context: Context) -> None:
        if opener is not None:
            await _run(opener, executor, *([context] if _takes_context(opener) else []))

    async def close() -> None:
        if closer is not None:
            await _run(closer, executor)

    return Lifecycle(name, open, close)


def _method(component: object, *names: str) -> Callable[..., Any] | None:
    return next((m for name in names if callable(m := getattr(component, name, None))), None)


def _takes_context(function: Callable[..., Any]) -> bool:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.kind in positional and (p.name == "context" or p.default is p.empty) for p in parameters)


async def _run(function: Callable[..., Any], executor: Executor, *args: object) -> None:
    result = function(*args) if is_async(function) else await executor.run(function, *args, leave=True)
    if inspect.isawaitable(result):
        await result


async def open_component(lifecycle: Lifecycle, context: ProviderContext) -> None:
    """Open a component other than the provider.

    Raises:
        ConfigError: it cannot be opened; names the component.
        LoaferError: as the component raised it.
    """
    where = f"routes.{context.route}.{lifecycle.name}"
    try:
        await lifecycle.open(context)
    except ConfigError as error:
        findings = [finding if finding.where else replace(finding, where=where) for finding in error.findings]
        raise ConfigError(findings) from error.__cause__
    except LoaferError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(Finding(where, f"opening it raised {type(error).__name__}: {error}")) from error


class Resources:
    """The provider of one route, and what else of it has a beginning and an end."""

    def __init__(
        self,
        pipeline: Pipeline,
        provider: Provider,
        lifecycles: Sequence[Lifecycle] = (),
        *,
        max_wait: float = 0.0,
        sharing: Sharing | None = None,
        observers: Observers | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            pipeline: the route's.
            provider: is opened first, and closed last.
            lifecycles: of the other components, in the order in which they are opened.
            max_wait: most seconds that one receive may wait; the provider is told.
            sharing: what providers of the same manager use together; None = nobody else is there.
            observers: are told of failed tries to open the provider.
            rng: for jitter.
        """
        self.name, self.provider = pipeline.route.name, provider
        sharing = sharing or Sharing()
        self.context = ProviderContext(pipeline, max_wait, sharing, "provider")
        """What the provider is opened with."""
        self._aside = ProviderContext(pipeline, max_wait, sharing, "components")
        self._lifecycles = lifecycles
        self._observers = observers or Observers()
        self._rng = rng or random.Random()
        self.opening = "provider"
        """The place in the configuration of what is opened now, or could not be."""
        self._to_close: list[tuple[str, Callable[[], Awaitable[object]]]] = []

    async def open(self) -> None:
        """Open the provider, then the route's other components; all or nothing.

        When it is cancelled, what is open stays so until ``close``.

        Raises:
            ProviderError: as the provider raised it; Unavailable for what else it raises, and when it takes too long.
            ConfigError: anything else; names the component.
        """
        await self.close()
        try:
            self._to_close += [("provider", self.context.release_shared), ("provider", self.provider.close)]
            self.opening = "provider"
            await self._open_provider()
            self._check_traits()
            self._to_close.append(("components", self._aside.release_shared))
            for lifecycle in self._lifecycles:
                self.opening = lifecycle.name
                self._to_close.append((lifecycle.name, lifecycle.close))
                await open_component(lifecycle, self._aside)
        except Exception:
            await self.close()
            raise

    async def _open_provider(self) -> None:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                await self.provider.open(self.context)
        except InvalidTraits as error:
            who = name_of(type(self.provider))
            raise ConfigError(Finding(f"routes.{self.name}.provider", f"a fault of {who}: {error}")) from error
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, LoaferError) or is_cancel(error):
                raise
            what = f"opening its provider raised {type(error).__name__}: {error}"
            logger.exception("%s: %s", self.name, what, extra={"route": self.name})
            raise Unavailable(what) from error

    def _check_traits(self) -> None:
        traits = self.provider.traits
        for wanted, protocol, trait in (
            (traits.lease is not None, Leases, "lease"),
            (traits.rejects, Rejects, "rejects"),
        ):
            if wanted and not isinstance(self.provider, protocol):
                text = f"it has traits.{trait} but not the methods of {protocol.__name__}"
                raise ConfigError(Finding(f"routes.{self.name}.provider", text))

    async def keep_opening(self, error: ProviderError, stopping: Flag) -> bool:
        """Try again, with back-off, until the provider opens (True) or we stop (False)."""
        failures = 0
        while not stopping.is_set():
            failures += 1
            delay = back_off(error, failures, self._rng)
            logger.warning(
                "%s: cannot open its source (%s: %s); next try in %.1f s",
                self.name,
                type(error).__name__,
                error,
                delay,
                extra={"route": self.name},
            )
            if self._observers.provider_error is not None:
                self._observers.provider_error(self.name, error, delay)
            try:
                async with asyncio.timeout(delay):
                    await stopping.wait()
                break
            except TimeoutError:
                pass
            try:
                await self.open()
                return True
            except ProviderError as again:
                error = again
        return False

    async def reopen(self) -> None:
        """Rebuild what the provider holds: expired credentials often stay with the session that read them.

        Raises ProviderError; it is then closed, to be opened again.
        """
        logger.info("%s: reopening its provider", self.name, extra={"route": self.name})
        until = asyncio.get_running_loop().time() + CLOSE_TIMEOUT
        await bounded(self.provider.close(), until, f"{self.name}: closing its provider")
        await bounded(self.context.release_shared(), until, f"{self.name}: closing its provider")
        await self._open_provider()

    async def close(self, until: float | None = None) -> None:
        """What was opened last is closed first; one that fails or hangs hinders no other.

        Args:
            until: the loop's time at which nothing is waited for any more; each gets its share of what is left.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + CLOSE_TIMEOUT if until is None else until
        while self._to_close:
            share = (until - loop.time()) / len(self._to_close)
            what, close = self._to_close.pop()
            await bounded(close(), loop.time() + share, f"{self.name}: closing its {what}")
