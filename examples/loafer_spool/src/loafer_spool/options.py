"""What a configuration may say of a spool."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from loafer_core import Options


class PublishOptions(Options):
    """Options of the handler ``spool``: which queue of which file."""

    file: Path = Field(description="SQLite file; made when it is missing, its folder is not")
    queue: str = Field("default", min_length=1, description="Name of the queue in that file")


class SpoolOptions(PublishOptions):
    """Options of the provider ``spool``."""

    lease: float = Field(30.0, gt=0, le=86_400, description="Seconds for which a message is ours")
    poll: float = Field(0.5, ge=0.2, le=20, description="Seconds between two looks into an empty queue")
    dead_letter: str | None = Field(None, min_length=1, description="Queue of the same file for what is rejected")
    max_receives: int | None = Field(
        None, ge=1, description="Receives after which a message goes to dead_letter instead of being handed out"
    )

    @model_validator(mode="after")
    def _has_a_way_out(self) -> Self:
        if self.max_receives is not None and self.dead_letter is None:
            raise ValueError("max_receives needs dead_letter, the name of the queue that then takes the message")
        if self.dead_letter == self.queue:
            raise ValueError(f"dead_letter {self.queue!r} is the queue itself; name another one")
        return self
