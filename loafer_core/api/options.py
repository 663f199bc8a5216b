"""The base class for a component's options, for convenience: any type that pydantic validates will do in its place."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """A frozen pydantic model that forbids unknown keys. Any type that pydantic validates will do in its place."""

    model_config = ConfigDict(frozen=True, extra="forbid")
