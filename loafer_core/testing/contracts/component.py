"""What the checks of translators, handlers, error handlers and middlewares have in common: options, and a rig."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from loafer_core.testing.contracts.options import OptionsChecks
from loafer_core.testing.kit.checks import Story
from loafer_core.testing.kit.component_rig import Given, rigged


class ComponentChecks(OptionsChecks):
    """A component other than a provider."""

    options: Mapping[str, object] = {}
    """The options of the component under test, where no harness gives them."""
    payload_type: ClassVar[object] = None
    """The annotation of the handler's first parameter."""

    @pytest.fixture
    def harness(self) -> Any:
        """Override it where the component has a far side."""
        return Given(self.options)

    async def with_rig(self, story: Story, harness: Any) -> None:
        """Run a story with a rig around the harness."""
        async with rigged(self, harness) as rig:
            await story(self, rig)
