"""What the error handler ``sentry`` may be told."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from loafer_core import Options


class SentryOptions(Options):
    """Options of the error handler ``sentry``."""

    dsn: SecretStr | None = Field(
        None, description="Where to report to. Unset: the process's own sentry_sdk.init() is used"
    )
    environment: str | None = Field(None, description="Sentry's environment; only together with dsn")
    release: str | None = Field(None, description="Sentry's release; only together with dsn")
    ack: bool = Field(False, description="Ack a message once its failure was reported, instead of having no opinion")
    send_body: bool = Field(False, description="Send the message's body too. It is other people's data")
    flush_timeout: float = Field(2.0, gt=0, le=30, description="Most seconds that a stop waits for reports to be sent")

    @field_validator("dsn")
    @classmethod
    def _is_a_dsn(cls, dsn: SecretStr | None) -> SecretStr | None:
        """Refuse at ``loafer check`` what the SDK would refuse at start. An empty string is unset."""
        if dsn is None or not dsn.get_secret_value():
            return None
        parts = urlsplit(dsn.get_secret_value())
        project = parts.path.rstrip("/").rpartition("/")[2]
        if parts.scheme not in ("http", "https") or not parts.username or not parts.hostname or not project:
            raise ValueError("no Sentry DSN; one looks like https://KEY@o1.ingest.sentry.io/1")
        return dsn
