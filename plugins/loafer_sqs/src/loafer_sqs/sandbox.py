"""``loafer run --sandbox``: the same routes on moto's SQS and SNS, in this process and on loopback."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from loafer_core import ConfigError, Finding, SandboxComponent
from loafer_sqs.options import SNSPublishOptions, SQSOptions, SQSPublishOptions

REGION = "us-east-1"
MAX_RECEIVE_COUNT = 3
LEASE = 30
RETENTION = 86_400
"""Seconds; less than the four days of a dead-letter queue, which then outlives what it is for."""
_OVERRIDES: Mapping[str, object] = {
    "region_name": REGION,
    "profile_name": None,
    "aws_access_key_id": "sandbox",
    "aws_secret_access_key": "sandbox",
    "aws_session_token": None,
}


class _Server(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def get_host_and_port(self) -> tuple[str, int]: ...


class SQSSandbox:
    """One server for all components. Each queue has a dead-letter queue ``<name>-dlq`` after three receives.

    The credentials are dummies and are given as options, so that nobody's real ones are read, let alone sent.
    """

    def __init__(self) -> None:
        self._server: _Server | None = None
        self._endpoint = ""
        self._queues: dict[str, str] = {}
        self._topics: dict[str, str] = {}

    def start(self, components: Sequence[SandboxComponent]) -> Mapping[str, Mapping[str, object]]:
        """Create the queues, topics and subscriptions that the components name. Gives the options to override.

        Raises:
            ConfigError: moto is not installed.
        """
        self._server, self._endpoint = _start_moto()
        self._sqs, self._sns = _clients(self._endpoint)
        with _without_profile():
            wanted = [component.options for component in components]
            self._create_queues(wanted)
            for options in wanted:
                if isinstance(options, SQSOptions):
                    self._subscribe(options)
            return {component.where: self._override(component.options) for component in components}

    def stop(self) -> None:
        """Delete what was created, which moto keeps for the whole process, and end the server. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        try:
            for arn in self._topics.values():
                self._sns.delete_topic(TopicArn=arn)
            for url in self._queues.values():
                self._sqs.delete_queue(QueueUrl=url)
        finally:
            self._queues, self._topics = {}, {}
            server.stop()

    def _override(self, options: object) -> Mapping[str, object]:
        common = {**_OVERRIDES, "endpoint_url": self._endpoint}
        if isinstance(options, SNSPublishOptions):
            return {**common, "topic": self._topic(options.topic)}
        assert isinstance(options, SQSOptions | SQSPublishOptions)
        common |= {"queue": _last_part(options.queue), "queue_owner": None}
        if isinstance(options, SQSOptions):
            common["receives"] = 1  # moto is not safe with several receivers of one queue
        return common

    def _create_queues(self, components: Sequence[object]) -> None:
        leases: dict[str, int] = {}
        for options in components:
            if isinstance(options, SQSOptions | SQSPublishOptions):
                queue = _last_part(options.queue)
                leases[queue] = getattr(options, "visibility_timeout", None) or leases.get(queue, LEASE)
                self._queue(queue)
                self._queue(_dead_letter_name(queue))
        for queue, lease in leases.items():
            policy = {"deadLetterTargetArn": self._arn(_dead_letter_name(queue)), "maxReceiveCount": MAX_RECEIVE_COUNT}
            attributes = {
                "VisibilityTimeout": str(lease),
                "RedrivePolicy": json.dumps(policy),
                "MessageRetentionPeriod": str(RETENTION),
            }
            self._sqs.set_queue_attributes(QueueUrl=self._queues[queue], Attributes=attributes)

    def _queue(self, name: str) -> None:
        attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        self._queues[name] = self._sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def _arn(self, queue: str) -> str:
        asked = {"QueueUrl": self._queues[queue], "AttributeNames": ["QueueArn"]}
        return str(self._sqs.get_queue_attributes(**asked)["Attributes"]["QueueArn"])

    def _topic(self, topic: str) -> str:
        name = _last_part(topic)
        if name not in self._topics:
            attributes = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
            self._topics[name] = self._sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]
        return self._topics[name]

    def _subscribe(self, provider: SQSOptions) -> None:
        for topic in provider.sandbox_topics:
            self._sns.subscribe(
                TopicArn=self._topic(topic),
                Protocol="sqs",
                Endpoint=self._arn(_last_part(provider.queue)),
                Attributes={"RawMessageDelivery": str(provider.sandbox_raw_delivery).lower()},
            )


def _last_part(name: str) -> str:
    """The name in a URL or an ARN."""
    return name.rstrip("/").replace("/", ":").rpartition(":")[2]


@contextlib.contextmanager
def _without_profile() -> Iterator[None]:
    """moto asks boto for the regions at its first request, and boto stumbles over an AWS_PROFILE that is not there."""
    profiles = {name: os.environ.pop(name) for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(profiles)


def _start_moto() -> tuple[_Server, str]:
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        raise ConfigError(
            Finding(
                "sandbox", f"the SQS sandbox needs moto ({error.name} is missing): pip install 'loafer-sqs[sandbox]'"
            )
        ) from None
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for every request otherwise
    server: _Server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return server, f"http://{host}:{port}"


def _clients(endpoint: str) -> list[Any]:
    """Clients that look at nothing of this machine: no profile, no credentials, no proxy."""
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    return [
        session.create_client(
            service,
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",  # noqa: S106 - a dummy
            config=Config(proxies={}, retries={"mode": "standard", "total_max_attempts": 1}),
        )
        for service in ("sqs", "sns")
    ]


def _dead_letter_name(queue: str) -> str:
    stem, dot, kind = queue.partition(".fifo")
    return f"{stem[:71]}-dlq{dot}{kind}"
