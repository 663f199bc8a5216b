"""The options of a component: a base class for convenience, and the one way in which options are validated."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """A frozen pydantic model that forbids unknown keys. Any type that pydantic validates will do in its place."""

    model_config = ConfigDict(frozen=True, extra="forbid")
