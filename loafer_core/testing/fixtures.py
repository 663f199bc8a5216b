"""Fixtures for pytest: ``pytest_plugins = ["loafer_core.testing.fixtures"]`` in the topmost ``conftest.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from loafer_core.testing import client


@pytest.fixture(name="deliver")
def deliver_fixture() -> Callable[..., client.Delivered]:
    """``loafer_core.testing.deliver`` for plain tests: nothing to await, each call runs a loop of its own."""
    return _deliver


def _deliver(*args: Any, **kwargs: Any) -> client.Delivered:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(client.deliver(*args, **kwargs))
    raise RuntimeError("the fixture 'deliver' is for plain tests; here write 'await loafer_core.testing.deliver(...)'")
