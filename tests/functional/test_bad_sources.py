"""Sources that cannot be reached, are not there or not for us: what ``loafer run`` says, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

ROUTE = """
[routes.orders]
provider = { name = "sqs", queue = "orders" }
handler = "builtins:print"
"""
ACCOUNT = """
[defaults.sqs]
region_name = "eu-west-1"
aws_access_key_id = "canary-key-id"
aws_secret_access_key = "canary-secret"
"""


def refusal(code: str, message: str, status: int = 400) -> dict[str, tuple[int, dict[str, object]]]:
    return {"GetQueueUrl": (status, {"__type": f"com.amazonaws.sqs#{code}", "message": message})}


@pytest.fixture
def refused(write, loafer):
    """Run, which has to end by itself with 78, and give the one error that it told."""

    def refused(configuration: str) -> str:
        write(**{"loafer.toml": configuration})
        result = loafer("run", "--log-level", "error")
        assert result.exit_code == 78
        [line] = result.stderr.splitlines()
        assert line.startswith("error: routes.orders.provider: ")
        assert len(line) < 500
        return line

    return refused


def test_a_missing_queue_is_named_with_where_it_was_looked_for_and_what_to_correct(refused, sqs):
    endpoint = sqs(refusal("QueueDoesNotExist", "The specified queue does not exist."))

    line = refused(f"{ACCOUNT}endpoint_url = '{endpoint}'\n{ROUTE}")

    assert f"queue 'orders' (eu-west-1 at {endpoint})" in line
    assert "create it, or correct queue, queue_owner, region_name or endpoint_url" in line


def test_t50_without_a_region_the_ways_to_give_one_are_named(refused):
    line = refused(ACCOUNT.replace("region_name", "# region_name") + ROUTE)

    assert (
        "no AWS region is known; set region_name (for all routes under [defaults.sqs]), or AWS_DEFAULT_REGION" in line
    )


def test_t50_without_credentials_the_ways_to_give_them_are_named_and_nobody_is_asked(refused, sqs):
    endpoint = sqs({})

    line = refused(f"[defaults.sqs]\nregion_name = 'eu-west-1'\nendpoint_url = '{endpoint}'\n{ROUTE}")

    assert "no AWS credentials were found; set aws_access_key_id and aws_secret_access_key, or profile_name" in line


def test_denied_access_names_who_may_not_do_what_and_the_way_around_it(refused, sqs):
    denial = "User: arn:aws:iam::123456789012:user/shop is not authorized to perform: sqs:getqueueurl"
    endpoint = sqs(refusal("AccessDenied", denial, 403))

    line = refused(f"{ACCOUNT}endpoint_url = '{endpoint}'\n{ROUTE}")

    assert denial in line
    assert "allow sqs:GetQueueUrl, or give the queue's URL as queue" in line


def test_a_secret_that_does_not_fit_its_key_is_said_without_the_secret(refused, sqs):
    endpoint = sqs(refusal("SignatureDoesNotMatch", "The signature canary-signature does not match", 403))

    line = refused(f"{ACCOUNT}endpoint_url = '{endpoint}'\n{ROUTE}")

    assert "the secret does not belong to the access key, or this machine's clock is off" in line


class Process:
    """``loafer run`` in a process of its own; its lines as they come."""

    def __init__(self, folder, **environment: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "loafer_core", "run"],
            cwd=folder,
            env={**os.environ, **environment},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.lines: list[str] = []

    def until(self, text: str) -> str:
        """Read up to the line with ``text``, and give it."""
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.lines.append(line)
            if text in line:
                return line
        pytest.fail(f"it ended without {text!r}:\n" + "".join(self.lines))

    def stop(self) -> int:
        """Send SIGTERM and give the exit code."""
        self.popen.send_signal(signal.SIGTERM)
        assert self.popen.stderr is not None
        self.lines += self.popen.stderr.readlines()
        return self.popen.wait()


@pytest.fixture
def running(service) -> Iterator:
    """Start ``loafer run`` in the service, with the environment given."""
    started: list[Process] = []
    watchdog = threading.Timer(40, lambda: [process.popen.kill() for process in started])
    watchdog.start()

    def start(**environment: str) -> Process:
        started.append(Process(service, **environment))
        return started[-1]

    yield start
    watchdog.cancel()
    for process in started:
        process.popen.kill()
        process.popen.communicate()


def test_a_source_that_refuses_the_connection_is_tried_again_and_said_so_until_a_stop_which_is_clean(write, running):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
    write(**{"loafer.toml": f"{ACCOUNT}endpoint_url = '{endpoint}'\n{ROUTE}"})
    process = running()

    said = [process.until("cannot open its source") for _ in range(2)]

    assert all("orders: " in line and endpoint in line and "next try in" in line for line in said)
    assert process.stop() == 0
    assert "Traceback" not in "".join(process.lines)
    assert "canary" not in "".join(process.lines)


def test_an_endpoint_without_tls_that_is_not_loopback_is_warned_of(write, running):
    """Over a proxy on loopback that is not there, so that not even a name is looked up."""
    write(**{"loafer.toml": f"{ACCOUNT}endpoint_url = 'http://sqs.example.invalid'\n{ROUTE}"})
    process = running(HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")

    warning = process.until("without TLS")

    assert "WARNING" in warning
    assert "http://sqs.example.invalid" in warning
    assert process.stop() == 0
