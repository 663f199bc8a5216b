"""The examples as their READMEs run them: the real command line, in a process of its own."""

from __future__ import annotations

import gzip
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from environment import nobodys

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE = 60.0
"""Seconds until a process that does not end by itself is killed."""

pytestmark = pytest.mark.timeout(120)

Start = Callable[..., "subprocess.Popen[str]"]


SERVICES = sorted(path.parent.name for path in EXAMPLES.glob("*/loafer.toml"))
ANYWHERE = EXAMPLES / "anywhere"


def command(example: str, name: str, *arguments: str, file: str = "loafer.toml") -> list[str]:
    return [sys.executable, "-m", "loafer_core", name, "-c", str(EXAMPLES / example / file), *arguments]


def sample(example: str, route: str) -> str:
    return f"--sample={route}={EXAMPLES / example / route}.jsonl"


@pytest.fixture
def start(tmp_path) -> Iterator[Start]:
    """Start ``loafer`` in an empty folder, without anybody's Sentry and proxy, and with an AWS that nobody may use."""
    processes: list[subprocess.Popen[str]] = []
    clean = nobodys("LOAFER_", "SENTRY_", "LEDGER_", "PYTHON")
    clean |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_PROFILE": "nobody", "PYTHONDONTWRITEBYTECODE": "1"}

    def start(words: list[str], **environment: str) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        process = subprocess.Popen(words, cwd=tmp_path, env=clean | environment, text=True, **pipes)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> SimpleNamespace:
    """Wait for its end; ``lines`` is what it logged, without the time of day."""
    out, err = process.communicate(timeout=PATIENCE)
    lines = [re.sub(r"^\S+ (\w+) +", "", line) for line in err.splitlines()]
    assert "Traceback" not in err
    return SimpleNamespace(code=process.returncode, out=out, err=err, lines=lines)


def accounts(said: SimpleNamespace) -> dict[str, str]:
    return dict(re.findall(r"account of (\w+): \d+ received = (.*)$", said.err, re.MULTILINE))


@pytest.mark.parametrize("example", SERVICES)
def test_an_example_passes_the_strict_check_and_has_a_readme_that_is_read_at_once(example, start):
    checked = ended(start(command(example, "check", "--strict")))

    assert (checked.code, checked.err) == (0, "")
    assert checked.out.startswith("ok: ")
    assert len((EXAMPLES / example / "README.md").read_text().splitlines()) <= 25


def test_the_shop_pays_retries_rejects_and_dead_letters(start):
    samples = [sample("shop", "orders"), sample("shop", "returns")]

    said = ended(start(command("shop", "run", "--sandbox", "--until-empty=60", *samples)))

    assert said.code == 1  # the source dead-lettered an order that never worked
    assert accounts(said) == {
        "orders": "4 acked + 4 nacked + 1 rejected",
        "returns": "2 acked",
        "warehouse": "2 acked",
    }
    effects = [line for line in said.lines if line.startswith(("order ", "back on the shelf: "))]
    assert sorted(effects) == [
        "back on the shelf: a chipped cup",
        "back on the shelf: a samovar, too large",
        "order A1: kettle paid at try 1",
        "order A2: teapot paid at try 1",
        "order A3: cups paid at try 2",
        "order A6: tea paid at try 1",
    ]


# One handler, any source


@pytest.mark.parametrize("file", sorted(path.name for path in ANYWHERE.glob("*.toml")))
def test_one_handler_file_serves_every_source(file, start):
    checked = ended(start(command("anywhere", "check", "--strict", file=file)))

    assert (checked.code, checked.err) == (0, "")
    assert file in (ANYWHERE / "README.md").read_text()


def test_the_handler_for_any_source_runs_on_sqs_and_on_a_spool(start, tmp_path):
    letters = (ANYWHERE / "letters.jsonl").read_text().splitlines()
    for letter in letters:
        (tmp_path / "letter").write_text(letter)
        sending = ended(start(command("anywhere", "send", "letters", "letter", file="spool.toml")))
        assert sending.code == 0, sending.err
    spool = start(command("anywhere", "run", "--until-empty=60", file="spool.toml"))
    sandboxed = ["--sandbox", "--until-empty=60", sample("anywhere", "letters")]
    sqs = start(command("anywhere", "run", *sandboxed, file="sqs.toml"))

    for said in map(ended, (spool, sqs)):
        assert said.code == 0, said.err
        assert accounts(said) == {"letters": "2 acked + 1 nacked + 1 rejected"}
        assert [line for line in said.out.splitlines() if line] == [
            "delivered to Ada, plain",
            "delivered to the moon, plain",
        ]


# Fan-out


@pytest.fixture
def sentry() -> Iterator[SimpleNamespace]:
    """A Sentry on loopback: where it is, and the events that came, out of their envelopes."""
    events: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/api/7/envelope/"
            _, *items = map(json.loads, body.splitlines())
            kinds = [item["type"] for item in items[::2]]
            events.extend(item for kind, item in zip(kinds, items[1::2], strict=True) if kind == "event")
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield SimpleNamespace(dsn=f"http://key@127.0.0.1:{server.server_port}/7", events=events)
    server.shutdown()
    server.server_close()
    thread.join()


def check_fanout(said: SimpleNamespace) -> None:
    assert (said.code, said.out) == (0, "")
    assert accounts(said) == {
        "checkout": "3 acked",
        "billing": "2 acked + 1 nacked + 1 rejected",
        "audit": "3 acked",
        "archive": "3 acked",
    }
    effects = [line for line in said.lines if line.endswith((" kept", " charged"))]
    assert sorted(effects) == [
        "order F1 kept",
        "order F1 of topic orders: 12.50 charged",
        "order F2 kept",
        "order F3 kept",
        "order F3 of topic orders: 40.00 charged",
    ]


def test_the_fanout_takes_each_order_to_both_queues_and_reports_failures_where_there_is_a_sentry(start, sentry):
    words = command("fanout", "run", "--sandbox", "--until-empty=60", sample("fanout", "checkout"))
    reporting, silent = start(words, SENTRY_DSN=sentry.dsn), start(words)

    check_fanout(ended(reporting))
    check_fanout(ended(silent))

    reported = {
        event["exception"]["values"][-1]["type"]: (event["tags"]["route"], event["tags"]["stage"])
        for event in sentry.events
    }
    assert reported == {"CardDeclined": ("billing", "handle"), "TimeoutError": ("billing", "handle")}
    assert len(sentry.events) == 2
    assert "99.0" not in json.dumps(sentry.events)  # the amount: the body stays here


# The ledger


def test_the_ledger_keeps_the_order_of_each_account(start):
    samples = [sample("ledger", "intake"), sample("ledger", "statements")]

    said = ended(start(command("ledger", "run", "--sandbox", "--until-empty=60", *samples)))

    assert (said.code, said.out) == (0, "")
    assert accounts(said) == {
        "intake": "7 acked + 1 rejected",
        "entries": "6 acked + 1 nacked + 1 rejected",
        "statements": "1 acked",
    }
    booked = [line for line in said.lines if " booked, " in line]
    assert [line for line in booked if line.startswith("anna")] == [
        "anna: E1 booked, +10000",
        "anna: E3 booked, -4000",
        "anna: E5 booked, -6000",
    ]
    assert [line for line in booked if line.startswith("bert")] == ["bert: E2 booked, +500", "bert: E4 booked, -500"]
    assert [line for line in said.lines if line.startswith("balance")] == ["balance of anna: 0", "balance of bert: 0"]
    assert said.err.count("account anna: Reject(reason='overdrawn')") == 1


def test_a_statement_of_the_ledger_goes_on_after_a_stop_where_it_left_off(start, tmp_path):
    (tmp_path / "long.jsonl").write_text('{"id": "long", "pages": 500}\n')
    database = {"LEDGER_DB": str(tmp_path / "ledger.db")}
    process = start(command("ledger", "run", "--sandbox", "--sample=statements=long.jsonl"), **database)
    assert process.stderr is not None
    killer = threading.Timer(PATIENCE, process.kill)
    killer.start()
    said = []
    for line in process.stderr:
        said.append(line)
        if "long: page 3 written" in line:
            process.send_signal(signal.SIGTERM)
    assert process.wait() == 0, said
    killer.cancel()
    [left_off] = re.findall(r"long: left off before page (\d+)$", "".join(said), re.MULTILINE)
    assert "account of statements: 1 received = 1 nacked\n" in "".join(said)

    (tmp_path / "long.jsonl").write_text(json.dumps({"id": "long", "pages": int(left_off) + 1}) + "\n")
    words = command("ledger", "run", "--sandbox", "--until-empty=60", "--sample=statements=long.jsonl")
    again = ended(start(words, **database))

    assert again.code == 0
    pages = re.findall(r"long: page (\d+) written$", again.err, re.MULTILINE)
    assert [*map(int, pages)] == [int(left_off), int(left_off) + 1]
