"""What a route opens before it receives and closes after its last settlement: its provider, then the others."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from loafer_core._tasks import is_cancel
from loafer_core.api import provider as protocols
from loafer_core.api.current import Flag
from loafer_core.api.errors import ConfigError, Finding, LoaferError, ProviderError, Unavailable
from loafer_core.api.provider import Provider
from loafer_core.engine.lifecycle import Lifecycle
from loafer_core.engine.provider_context import ProviderContext
from loafer_core.engine.receiver import back_off
from loafer_core.engine.shutdown import bounded
from loafer_core.observability.observers import Observers

logger = logging.getLogger("loafer.route")

OPEN_TIMEOUT = 60.0
"""Seconds that opening a provider may take; then it counts as Unavailable."""
CLOSE_TIMEOUT = 10.0
"""Seconds for closing it all where no stop says otherwise."""


class Resources:
    """The provider of one route, and what else of it has a beginning and an end."""

    def __init__(
        self,
        context: ProviderContext,
        aside: ProviderContext,
        provider: Provider,
        lifecycles: Sequence[Lifecycle],
        observers: Observers,
        rng: random.Random,
    ) -> None:
        self.name = context.route
        self.context, self.provider = context, provider
        self._aside = aside
        self._lifecycles, self._observers, self._rng = lifecycles, observers, rng
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
                await self._open_component(lifecycle)
        except Exception:
            await self.close()
            raise

    async def _open_provider(self) -> None:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                await self.provider.open(self.context)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, LoaferError) or is_cancel(error):
                raise
            what = f"opening its provider raised {type(error).__name__}: {error}"
            logger.exception("%s: %s", self.name, what, extra={"route": self.name})
            raise Unavailable(what) from error

    def _check_traits(self) -> None:
        traits = self.provider.traits
        for wanted, protocol, trait in (
            (traits.lease is not None, protocols.Leases, "lease"),
            (traits.rejects, protocols.Rejects, "rejects"),
        ):
            if wanted and not isinstance(self.provider, protocol):
                raise self._broken("provider", f"it has traits.{trait} but not the methods of {protocol.__name__}")

    async def _open_component(self, lifecycle: Lifecycle) -> None:
        try:
            await lifecycle.open(self._aside)
        except LoaferError:
            raise
        except (Exception, SystemExit) as error:
            raise self._broken(lifecycle.name, f"opening it raised {type(error).__name__}: {error}") from error

    def _broken(self, component: str, text: str) -> ConfigError:
        return ConfigError(Finding(f"routes.{self.name}.{component}", text))

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
