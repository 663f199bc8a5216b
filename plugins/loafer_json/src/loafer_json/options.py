"""What a route may say about its ``json`` translator."""

from __future__ import annotations

from pydantic import Field

from loafer_core import Options


class JSONOptions(Options):
    """Options of the ``json`` translator."""

    model: str | None = Field(
        None,
        description="The payload's type as module:attribute, where the handler's first parameter has no annotation",
    )
    max_bytes: int = Field(1024 * 1024, ge=1, description="Longest body that is read, bytes of UTF-8")
