"""Which tests are not looked at by coverage: they run the same lines of the core ten thousand times, or none of it."""

from __future__ import annotations

import pytest

UNCOVERED = ("at_work/test_simulation", "/torture/", "/loafer_sqs/", "/loafer_rabbitmq/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(part in item.path.as_posix() for part in UNCOVERED):
            item.add_marker(pytest.mark.no_cover)
