"""What this distribution declares. Light: sentry_sdk is imported inside the factory."""

from __future__ import annotations

from typing import Any

from loafer_core import ErrorHandlerSpec, hookimpl
from loafer_sentry.options import SentryOptions

LOAFER_API = 1


def _reporter(options: SentryOptions) -> Any:
    from loafer_sentry.reporter import SentryReporter

    return SentryReporter(options)


@hookimpl
def loafer_error_handlers() -> list[ErrorHandlerSpec[SentryOptions]]:
    return [
        ErrorHandlerSpec(name="sentry", summary="Report failures to Sentry", options=SentryOptions, factory=_reporter)
    ]
