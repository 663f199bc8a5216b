"""What S3 says about objects: docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import unquote_plus

from pydantic import AfterValidator, AliasPath, AwareDatetime, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from loafer_core import Ack, Message, Settle

logger = logging.getLogger("loafer.json")

_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}")


def _at(*path: str) -> Any:
    return Field(validation_alias=AliasPath(*path))


def _decoded(key: str) -> str:
    return unquote_plus(key, errors="strict")  # a replaced character would name another object


def _keep_raw(value: object) -> object:
    return {**value, "raw": value} if isinstance(value, dict) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Record:
    """One thing that happened to one object.

    Nothing keeps the records of one key in order, and any may come twice: compare their sequencers (``newer``).
    """

    bucket: Annotated[str, _at("s3", "bucket", "name")]
    key: Annotated[str, _at("s3", "object", "key"), AfterValidator(_decoded)]
    """As the object is called: in the notification itself it is URL-encoded, with ``+`` for a space."""
    event_name: Annotated[str, _at("eventName")]
    """``ObjectCreated:Put``; here S3 writes no ``s3:`` before it."""
    event_time: Annotated[datetime, _at("eventTime"), AwareDatetime]
    region: Annotated[str, _at("awsRegion")]
    size: Annotated[int | None, _at("s3", "object", "size")] = None
    """Bytes. This and what follows S3 leaves out where it makes no sense: a removed object has no size."""
    etag: Annotated[str | None, _at("s3", "object", "eTag")] = None
    version_id: Annotated[str | None, _at("s3", "object", "versionId")] = None
    sequencer: Annotated[str | None, _at("s3", "object", "sequencer")] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The whole record as S3 wrote it."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_keep_raw, handler(source))


@dataclass(frozen=True, slots=True)
class S3Event:
    """One notification of S3: one record or several."""

    records: Annotated[tuple[S3Record, ...], _at("Records")]


def newer(a: str, b: str) -> bool:
    """Tell whether what has sequencer ``a`` happened after what has ``b``. Only for two records of one key.

    They are hexadecimal numbers of any length. Raises ValueError for what is none.

    >>> newer("0055AED6DCD90281E6", "55AED6DCD90281E5")
    True
    """
    return int(a, 16) > int(b, 16)


def settle_test_event(value: object, message: Message, route: str) -> None:
    """Raise Settle(Ack()) if this is what S3 sends whenever a bucket's notifications are configured."""
    if not isinstance(value, dict) or value.get("Event") != "s3:TestEvent" or "Records" in value:
        return
    bucket = value.get("Bucket")
    if not isinstance(bucket, str) or not _BUCKET.fullmatch(bucket):
        return
    logger.info(
        "%s: message %s is S3's test event for bucket %s; acked",
        route,
        message.id,
        bucket,
        extra={"route": route, "message_id": message.id},
    )
    raise Settle(Ack())
