"""What the distribution declares, and that asking costs nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

from loafer_sqs import SQSProvider, plugin
from loafer_sqs.options import SQSOptions


def test_the_entry_point_names_the_light_module():
    [found] = entry_points(group="loafer", name="sqs")

    assert found.value == "loafer_sqs.plugin"
    assert plugin.LOAFER_API == 1


def test_a_provider_a_handler_and_a_sandbox_are_declared():
    declared = [*plugin.loafer_providers(), *plugin.loafer_handlers(), *plugin.loafer_sandboxes()]

    assert [(spec.kind, spec.name) for spec in declared] == [
        ("provider", "sqs"),
        ("handler", "sqs"),
        ("sandbox", "sqs"),
    ]


def test_the_factory_builds_a_provider_without_a_loop_or_io():
    [spec] = plugin.loafer_providers()

    assert isinstance(spec.factory(SQSOptions(queue="orders")), SQSProvider)


def test_importing_the_plugin_imports_neither_aiobotocore_nor_moto():
    program = (
        "import sys, loafer_sqs, loafer_sqs.plugin as p\n"
        "p.loafer_providers(); p.loafer_handlers(); p.loafer_sandboxes()\n"
        "print(sorted({'aiobotocore', 'botocore', 'aiohttp', 'moto', 'boto3'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
