"""What the provider's checks have in common: the declared traits, and a rig for each."""

from __future__ import annotations

from typing import Any, ClassVar

from loafer_core.api.provider import Traits
from loafer_core.testing.contracts.options import OptionsChecks
from loafer_core.testing.kit.checks import Story
from loafer_core.testing.kit.rig import rigged


class ProviderChecks(OptionsChecks):
    """A provider, declared by its name and traits, and driven through the fixture ``harness``."""

    kind: ClassVar[str] = "provider"
    traits: Traits = Traits()
    """What the provider says after ``open()``, as its author means it."""
    release_counts: bool = False
    """The source cannot tell a release from a failed attempt: it counts both."""
    knows_late_acks: bool = True
    """The source tells whether an ack came too late. False: its DONE proves nothing then."""
    max_wait: float = 1.0
    """Seconds that one receive may wait (``context.max_wait``)."""

    async def with_rig(self, story: Story, harness: Any) -> None:
        """Run a story with a rig around the harness."""
        async with rigged(self, harness) as rig:
            await story(self, rig)
