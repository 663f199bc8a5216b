"""The offline check: resolve and build everything, open the translators, run nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from loafer_core.api.errors import ConfigError, Finding
from loafer_core.app.build import BuiltRoute
from loafer_core.app.handler_returns import ADVICE, falls_off
from loafer_core.app.resolve import Resolved, resolve
from loafer_core.config.settings import read
from loafer_core.engine.provider_context import ProviderContext, Sharing
from loafer_core.engine.resources import lifecycle_of, open_component


def check_all(source: str | os.PathLike[str] | Mapping[str, object] | None, overrides: Sequence[str] = ()) -> Resolved:
    """Find every problem of file, plugins and handlers at once: ``Resolved.found`` has them.

    Raises:
        ConfigError: there is no file, or it is no TOML: nothing could be looked at.
    """
    resolved = resolve(read(source, overrides=overrides))
    for built in resolved.build():
        try:
            asyncio.run(_open_translator(built))
        except ConfigError as error:
            resolved.found.add(error)
        handler = built.resolved.handler
        if handler.offer is None and falls_off(built.delivery.handler.function):
            resolved.found.add(Finding(handler.where, ADVICE[built.delivery.route.returns], "warning"))
        for threads in built.threads:
            threads.close()
    return resolved


async def _open_translator(built: BuiltRoute) -> None:
    """A translator does no I/O when it opens: that is where it looks at the handler's annotation."""
    where = built.resolved.translator.where
    lifecycle = lifecycle_of(built.delivery.translator, "translator", built.threads[1])
    if lifecycle is None:
        return
    try:
        await open_component(lifecycle, ProviderContext(built.delivery, 0.0, Sharing(), "check"))
        await lifecycle.close()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(Finding(where, f"opening it raised {type(error).__name__}: {error}")) from error
