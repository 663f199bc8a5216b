"""The offline check: everything is resolved and built, and translators are opened. No message is received."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from loafer_core.api.errors import ConfigError, Finding
from loafer_core.app.build import BuiltRoute
from loafer_core.app.handler_returns import ADVICE, falls_off_the_end
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
    for route in resolved.build():
        try:
            asyncio.run(_open_translator(route))
        except ConfigError as error:
            resolved.found.add(error)
        handler = route.resolved.handler
        if handler.offer is None and falls_off_the_end(route.pipeline.handler.function):
            resolved.found.add(Finding(handler.where, ADVICE[route.resolved.route.returns], "warning"))
        for threads in route.threads:
            threads.close()
    return resolved


async def _open_translator(route: BuiltRoute) -> None:
    """Open it and close it: it looks at the handler's annotation when it opens, and does no I/O."""
    where = route.resolved.translator.where
    _, executor = route.threads
    lifecycle = lifecycle_of(route.pipeline.translator, "translator", executor)
    if lifecycle is None:
        return
    try:
        await open_component(lifecycle, ProviderContext(route.pipeline, 0.0, Sharing(), "check"))
        await lifecycle.close()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(Finding(where, f"opening it raised {type(error).__name__}: {error}")) from error
