"""A fake SQS, clients of it, and a workshop in which the service under torture runs as a process of its own."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # what is beside this file is imported as torture.<name>

from torture.clients import sqs_client
from torture.counts import LONGEST
from torture.fake_sqs import FakeSQS
from torture.process import Workshop


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(pathlib.Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.fixture(autouse=True)
def nobodys_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """No profile, key, region, endpoint or proxy of this machine."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "LOAFER_PLUGINS")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


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
