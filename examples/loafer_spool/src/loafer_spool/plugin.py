"""What this distribution declares. Light: SQLite is imported inside the factories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loafer_core import HandlerSpec, ProviderSpec, hookimpl
from loafer_spool.options import PublishOptions, SpoolOptions

if TYPE_CHECKING:
    from loafer_spool.provider import SpoolProvider
    from loafer_spool.publish import SpoolPublisher

LOAFER_API = 1


def _provider(options: SpoolOptions) -> SpoolProvider:
    from loafer_spool.provider import SpoolProvider

    return SpoolProvider(options)


def _publisher(options: PublishOptions) -> SpoolPublisher:
    from loafer_spool.publish import SpoolPublisher

    return SpoolPublisher(options)


@hookimpl
def loafer_providers() -> list[ProviderSpec[SpoolOptions]]:
    return [
        ProviderSpec(name="spool", summary="Queue in an SQLite file", options=SpoolOptions, factory=_provider),
    ]


@hookimpl
def loafer_handlers() -> list[HandlerSpec[PublishOptions]]:
    return [
        HandlerSpec(name="spool", summary="Put the payload into a spool", options=PublishOptions, factory=_publisher),
    ]
