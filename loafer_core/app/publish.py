"""``loafer send``: publish to the source of a route, where its provider can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loafer_core.api.errors import ConfigError, Finding
from loafer_core.api.provider import Publishes
from loafer_core.app.resolve import Resolved
from loafer_core.engine.resources import Resources


async def send(
    resolved: Resolved,
    bodies: Sequence[str | bytes],
    attributes: Mapping[str, str | bytes],
    group: str | None,
) -> list[str]:
    """Publish ``bodies`` to the one route that ``resolved`` has; gives the ids that the source gave.

    Raises:
        ConfigError: the route cannot be built, or its provider cannot publish.
        ProviderError: the source did not take them.
    """
    built = resolved.build()
    if resolved.errors or not built:
        raise ConfigError(resolved.errors)
    [route] = built
    provider = route.provider
    if not isinstance(provider, Publishes):
        named = route.resolved.provider
        raise ConfigError(Finding(named.where, f"the provider {named.label!r} cannot publish"))
    resources = Resources(route.delivery, provider)
    try:
        await resources.open()
        return [await provider.publish(body, attributes, group) for body in bodies]
    finally:
        await resources.close()
        for threads in route.threads:
            threads.close()
