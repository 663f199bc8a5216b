"""Connections: what a second one need not do again."""

from __future__ import annotations

from botocore.loaders import create_loader

from loafer_core.testing.kit.watch import watched
from loafer_sqs.aws.connecting import connect
from loafer_sqs.options import AWSOptions

OPTIONS = AWSOptions(
    region_name="eu-west-1",
    endpoint_url="http://127.0.0.1:9",
    aws_access_key_id="testing",
    aws_secret_access_key="testing",
)


async def models_read() -> list[str]:
    """Connect, and give which of AWS's models that took from the disk."""
    with watched() as seen:
        pair = await connect(OPTIONS, "sqs")
        await pair.stack.aclose()
    return [line for line in seen if line.startswith("open ") and "service-2" in line]


async def test_awss_models_are_read_once_for_all_connections_of_one_data_path(monkeypatch, tmp_path):
    monkeypatch.setattr("botocore.session.create_loader", create_loader)  # the SDK's own again, which reads each time
    await models_read()
    assert await models_read() == []

    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    assert await models_read() != []
