"""The error handler ``sentry``: each failure becomes one event, with ids and without the message's content."""

from __future__ import annotations

import logging
from typing import Any

import sentry_sdk
from sentry_sdk.utils import event_from_exception

from loafer_core import Failure
from loafer_sentry.options import SentryOptions
from loafer_sentry.redaction import Redaction

logger = logging.getLogger("loafer.sentry")


class SentryReporter:
    """Plain functions throughout: Loafer runs them in threads, so building an event never holds up the loop."""

    def __init__(self, options: SentryOptions) -> None:
        self._options = options
        self._client: sentry_sdk.Client | None = None
        self._warned = False

    def __repr__(self) -> str:
        return "<SentryReporter>"

    def open(self) -> None:
        """Make a client of our own where a DSN is given; the process's own stays untouched."""
        options = self._options
        if options.dsn is not None:
            self._client = sentry_sdk.Client(
                dsn=options.dsn.get_secret_value(),
                environment=options.environment,
                release=options.release,
                default_integrations=False,
                auto_enabling_integrations=False,
                include_local_variables=False,
                max_breadcrumbs=0,
            )

    def handle(self, failure: Failure) -> bool | None:
        """Report; gives True (ack) only if told so and Sentry's client took the event, else no opinion."""
        client = self._client or sentry_sdk.get_client()
        if not client.is_active():
            self._warn_once()
            return None
        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()
            message = failure.message
            scope.set_transaction_name(failure.route)
            scope.set_tag("route", failure.route)
            scope.set_tag("message_id", message.id)
            scope.set_tag("receive_count", message.receive_count)
            scope.set_tag("stage", failure.stage)
            event_id = client.capture_event(self._event(failure, client), scope=scope)
        return True if event_id is not None and self._options.ack else None

    def close(self) -> None:
        """Send what is queued, at most ``flush_timeout`` seconds long."""
        timeout = self._options.flush_timeout
        if self._client is not None:
            self._client.close(timeout=timeout)
            self._client = None
        else:
            sentry_sdk.flush(timeout=timeout)

    def _event(self, failure: Failure, client: Any) -> Any:
        # The exception itself is not handed on with the event: integrations would read the frames' variables from it.
        plain = {**client.options, "include_local_variables": False, "add_full_stack": False}
        mechanism = {"type": "loafer", "handled": True}
        event, _ = event_from_exception(failure.error, client_options=plain, mechanism=mechanism)
        if self._options.send_body:
            event["extra"] = {"body": failure.message.body}
            return event
        redact = Redaction(failure.message.body)
        for value in event.get("exception", {}).get("values", ()):
            value["value"] = redact(str(value.get("value") or ""))
            value.get("mechanism", {}).pop("data", None)
        return event

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("failures are not reported: give the error handler sentry a dsn, or call sentry_sdk.init()")
