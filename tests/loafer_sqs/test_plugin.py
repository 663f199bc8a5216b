"""What the distribution declares, and that asking costs nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import loafer_sqs
from loafer_sqs import (
    SNSPublisher,
    SNSPublishOptions,
    SQSOptions,
    SQSProvider,
    SQSPublisher,
    SQSPublishOptions,
    plugin,
)


def test_the_entry_point_names_the_light_module():
    [found] = entry_points(group="loafer", name="sqs")

    assert found.value == "loafer_sqs.plugin"
    assert plugin.LOAFER_API == 1


def test_a_provider_two_handlers_and_a_sandbox_are_declared():
    declared = [*plugin.loafer_providers(), *plugin.loafer_handlers(), *plugin.loafer_sandboxes()]

    assert [(spec.kind, spec.name) for spec in declared] == [
        ("provider", "sqs"),
        ("handler", "sqs"),
        ("handler", "sns"),
        ("sandbox", "sqs"),
    ]


def test_the_factories_build_without_a_loop_or_io():
    [provider], [queue, topic] = plugin.loafer_providers(), plugin.loafer_handlers()

    assert isinstance(provider.factory(SQSOptions(queue="orders")), SQSProvider)
    assert isinstance(queue.factory(SQSPublishOptions(queue="orders")), SQSPublisher)
    assert isinstance(topic.factory(SNSPublishOptions(topic="orders")), SNSPublisher)


def test_everything_in_the_door_is_there():
    assert [name for name in loafer_sqs.__all__ if getattr(loafer_sqs, name).__name__ != name] == []


_HEAVY = "print(sorted({'aiobotocore', 'botocore', 'aiohttp', 'moto', 'boto3'} & sys.modules.keys()))"


@pytest.mark.parametrize(
    "doing",
    [
        "p.loafer_sandboxes()",
        "p.loafer_providers()[0].factory(loafer_sqs.SQSOptions(queue='orders'))",  # as `loafer check` does
        "p.loafer_handlers()[0].factory(loafer_sqs.SQSPublishOptions(queue='orders'))",
        "p.loafer_handlers()[1].factory(loafer_sqs.SNSPublishOptions(topic='orders'))",
    ],
)
def test_nothing_heavy_is_imported_before_something_opens(doing):
    program = f"import sys, loafer_sqs, loafer_sqs.plugin as p\n{doing}\n{_HEAVY}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
