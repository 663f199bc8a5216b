"""A fake SQS, clients of it, and a workshop in which the service under torture runs as a process of its own."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from environment import forget_the_user
from torture.clients import sqs_client
from torture.counts import LONGEST
from torture.fake_sqs import FakeSQS
from torture.process import Workshop


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(pathlib.Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.fixture(autouse=True)
def nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's user."""
    forget_the_user(monkeypatch, "LOAFER_PLUGINS")


@pytest.fixture
async def fake() -> AsyncIterator[FakeSQS]:
    async with FakeSQS(lifetime=LONGEST) as fake:
        yield fake


@pytest.fixture
async def workshop(fake: FakeSQS, tmp_path: pathlib.Path) -> AsyncIterator[Workshop]:
    async with Workshop(tmp_path, fake) as workshop:
        yield workshop


@pytest.fixture
async def client(fake: FakeSQS) -> AsyncIterator[Any]:
    async with sqs_client(fake.endpoint) as client:
        yield client
