"""The error handler keeps its contract, with a server of the test's own in Sentry's place."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from loafer_core.testing import ErrorHandlerContract


class Harness:
    """What has arrived at the server."""

    def __init__(self, sentry, **options: object) -> None:
        self.sentry, self.more = sentry, options

    def options(self) -> Mapping[str, object]:
        return {"dsn": self.sentry.dsn, **self.more}

    def reported(self) -> list[str]:
        return self.sentry.raw

    def close(self) -> None: ...


class TestSentry(ErrorHandlerContract):
    component = "sentry"

    @pytest.fixture
    def harness(self, sentry) -> Harness:
        return Harness(sentry)


class TestSentryThatAcksAndTellsAll(ErrorHandlerContract):
    component = "sentry"
    tells_bodies = True

    @pytest.fixture
    def harness(self, sentry) -> Harness:
        return Harness(sentry, ack=True, send_body=True)
