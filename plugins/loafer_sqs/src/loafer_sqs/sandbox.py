"""``loafer run --sandbox``: the same routes on moto's SQS, in this process and on loopback."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from loafer_core import ConfigError, Finding, SandboxComponent

REGION = "us-east-1"
MAX_RECEIVE_COUNT = 3
LEASE = 30
_OVERRIDES: Mapping[str, object] = {
    "region_name": REGION,
    "profile_name": None,
    "aws_access_key_id": "sandbox",
    "aws_secret_access_key": "sandbox",
    "aws_session_token": None,
    "queue_owner": None,
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
        self._client: Any = None
        self._created: set[str] = set()

    def start(self, components: Sequence[SandboxComponent]) -> Mapping[str, Mapping[str, object]]:
        """Create the queues that the components name. Gives the options to override, by ``where``.

        Raises:
            ConfigError: moto is not installed.
        """
        self._server, endpoint = _start_moto()
        self._client = _client(endpoint)
        leases: dict[str, int] = {}
        overrides: dict[str, Mapping[str, object]] = {}
        for component in components:
            options: Any = component.options
            queue = options.queue.rstrip("/").rsplit("/", 1)[-1]
            leases[queue] = getattr(options, "visibility_timeout", None) or leases.get(queue, LEASE)
            # moto is not safe with several receivers of one queue
            one = {"receives": 1} if hasattr(options, "receives") else {}
            overrides[component.where] = {**_OVERRIDES, **one, "queue": queue, "endpoint_url": endpoint}
        with _without_profile():
            self._create(leases)
        return overrides

    def stop(self) -> None:
        """Delete the queues, which moto keeps for the whole process, and end the server. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        try:
            for url in self._created:
                self._client.delete_queue(QueueUrl=url)
        finally:
            self._created = set()
            server.stop()

    def _create(self, leases: Mapping[str, int]) -> None:
        urls = {name: self._queue(name) for queue in leases for name in (queue, _dead_letter_name(queue))}
        for queue, lease in leases.items():
            dead = urls[_dead_letter_name(queue)]
            arn = self._client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"][
                "QueueArn"
            ]
            policy = {"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVE_COUNT}
            self._client.set_queue_attributes(
                QueueUrl=urls[queue],
                Attributes={"VisibilityTimeout": str(lease), "RedrivePolicy": json.dumps(policy)},
            )

    def _queue(self, name: str) -> str:
        attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        url: str = self._client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self._created.add(url)
        return url


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


def _client(endpoint: str) -> Any:
    """A client that looks at nothing of this machine: no profile, no credentials, no proxy."""
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    return session.create_client(
        "sqs",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",  # noqa: S106 - a dummy
        config=Config(proxies={}, retries={"mode": "standard", "total_max_attempts": 1}),
    )


def _dead_letter_name(queue: str) -> str:
    stem, dot, kind = queue.partition(".fifo")
    return f"{stem[:71]}-dlq{dot}{kind}"
