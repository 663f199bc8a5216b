"""What a route opens before it receives and closes after its last settlement: its provider, then the others."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Sequence

from loafer_core.context import Flag
from loafer_core.errors import LoaferError, ProviderError, RouteFailed, Unavailable
from loafer_core.lifecycle import Lifecycle
from loafer_core.observers import Observers
from loafer_core.protocols import Provider
from loafer_core.provider_context import ProviderContext
from loafer_core.receiver import back_off

logger = logging.getLogger("loafer.route")


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
        self._opened: list[Lifecycle] = []

    async def open(self) -> None:
        """Open the provider, then the route's other components; all or nothing.

        Raises every LoaferError as it is, what else a provider raises as Unavailable, anything else as RouteFailed.
        """
        opening = "provider"
        try:
            await self.provider.open(self.context)
            for lifecycle in self._lifecycles:
                opening = lifecycle.name
                self._opened.append(lifecycle)
                await lifecycle.open(self._aside)
        except BaseException as error:
            await self.close()
            if isinstance(error, LoaferError) or not isinstance(error, Exception):
                raise
            what = f"opening its {opening} raised {type(error).__name__}: {error}"
            if opening == "provider":
                logger.exception("%s: %s", self.name, what, extra={"route": self.name})
                raise Unavailable(what) from error
            raise RouteFailed(self.name, what) from error

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
        """Rebuild what the provider holds: expired credentials often stay with the session that read them."""
        logger.info("%s: reopening its provider", self.name, extra={"route": self.name})
        await self._close_provider()
        try:
            await self.provider.open(self.context)
        except Exception as error:
            logger.warning(
                "%s: reopening failed (%s: %s)", self.name, type(error).__name__, error, extra={"route": self.name}
            )

    async def close(self) -> None:
        """What was opened last is closed first; one that fails hinders no other."""
        while self._opened:
            lifecycle = self._opened.pop()
            await self._closing(lifecycle.close(), lifecycle.name)
        await self._closing(self._aside.release_shared(), "components")
        await self._close_provider()

    async def _close_provider(self) -> None:
        await self._closing(self.provider.close(), "provider")
        await self._closing(self.context.release_shared(), "provider")

    async def _closing(self, close: Awaitable[object], what: str) -> None:
        try:
            await close
        except Exception as error:
            logger.warning("%s: closing its %s failed", self.name, what, exc_info=error, extra={"route": self.name})
