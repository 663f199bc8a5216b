"""What a shell sees of ``loafer``: exit codes, streams, and that nothing of others is shown."""

from __future__ import annotations

import json
import signal

import pytest

MEMORY = """
    [routes.one]
    provider = { name = "memory", messages = ["1"] }
    handler = "shop:handle"

    [routes.two]
    provider = { name = "memory", messages = ["2"] }
    handler = "shop:handle"
"""


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--version"], 0, ""),
        (["run", "--routes", "one"], 2, "No such option"),
        (["run", "--route", "on"], 2, "error: --route: there is no route 'on'; did you mean 'one'?"),
        (["run", "--until-empty=soon"], 2, "--until-empty=soon: a number of seconds above 0"),
        (["run", "-c", "other.toml"], 78, "error: other.toml: there is no such file"),
        (["run", "--set", "routes.one.provider.name=sqs"], 78, "error: routes.one.provider.messages: unknown option"),
        (["check", "-c", "other.toml"], 1, "error: other.toml: there is no such file"),
        (["check"], 0, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_exit_code_says_whose_mistake_it_was_and_no_traceback_follows(service, arguments, code, text):
    service.module("def handle(body): ...")
    service.config(MEMORY)

    process = service.loafer(*arguments)

    assert process.ends() == code
    assert text in process.stderr
    assert "Traceback" not in process.stderr


def test_a_chosen_route_runs_alone_and_set_wins_over_the_file(service):
    service.module("def handle(body):\n    say('handled', body)")
    service.config(MEMORY)

    run = service.loafer("run", "--until-empty", "--route", "two", "--set", "routes.two.provider.messages=['3', '4']")

    assert run.ends() == 0
    assert sorted(run.stdout) == ["handled 3", "handled 4"]


def test_t50_a_queue_that_is_not_there_is_one_line_that_names_it(service, moto_server):
    service.module("def handle(body): ...")
    service.config(service.sqs(moto_server), service.route("no-such-queue"))

    run = service.loafer("run")

    assert run.ends() == 78
    [error] = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith("error: routes.orders.provider: ")
    assert "no-such-queue" in error
    assert "Traceback" not in run.stderr


def test_neither_a_body_nor_a_secret_is_shown_whatever_goes_wrong_with_the_message(service, moto, moto_server):
    queue = moto(dead_after=2, VisibilityTimeout="5")
    service.module(
        """
        from loafer_core import Reject

        def handle(order: dict):
            if order["do"] == "raise":
                raise ValueError(f"cannot handle {order}")
            return Reject("no") if order["do"] == "reject" else order
        """
    )
    route = service.route(queue, translator="json", retry={"base": 1, "cap": 1}, returns="strict")
    service.config(service.sqs(moto_server), route)
    queue.send(*({"do": do, "card": "canary-of-a-body"} for do in ("raise", "reject", "return")), "canary-of-a-body {")

    run = service.loafer("run", "--until-empty", "--log-level=debug")

    assert run.ends() == 1
    assert "account of orders: 7 received = 6 nacked + 1 rejected" in run.stderr
    assert run.stderr.count("canary-of-a-body") == 0


PLUGIN = """
from loafer_core import BaseProvider, ProviderSpec, hookimpl
LOAFER_API = 1
@hookimpl
def loafer_providers():
    return [ProviderSpec(name="kafka", summary="Kafka", factory=lambda options: BaseProvider())]
"""


@pytest.mark.parametrize(
    ("sources", "environment", "text"),
    [
        (["1 / 0"], {}, "the plugin one-kafka/kafka is broken: cannot import 'one': ZeroDivisionError"),
        ([PLUGIN], {"LOAFER_PLUGINS_DISABLE": "kafka"}, "one-kafka/kafka is blocked: LOAFER_PLUGINS_DISABLE names it"),
        ([PLUGIN, PLUGIN], {}, "'kafka' is offered by the plugins one-kafka/kafka and two-kafka/kafka"),
    ],
    ids=["broken", "blocked", "conflicting"],
)
def test_a_plugin_that_cannot_be_used_is_named_where_a_route_wants_it(service, sources, environment, text):
    for name, source in zip(["one", "two"], sources, strict=False):
        (service.folder / f"{name}.py").write_text(source)
        metadata = service.folder / f"{name}_kafka-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-kafka\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[loafer]\nkafka = {name}\n")
    service.module("def handle(body): ...")
    service.config(MEMORY)

    run = service.loafer("run", "--set", "routes.one.provider='kafka'", PYTHONPATH=str(service.folder), **environment)

    assert run.ends() == 78
    assert f"error: routes.one.provider: {'' if len(sources) > 1 else 'there is no '}provider 'kafka'" in run.stderr
    assert text in run.stderr
    assert "Traceback" not in run.stderr


def test_the_sandbox_uses_neither_the_endpoint_nor_the_credentials_of_the_configuration(service):
    service.module("def handle(body):\n    say('handled', body)")
    service.config(service.sqs("http://127.0.0.1:9"), service.route("orders"))
    (service.folder / "orders.jsonl").write_text("1\n2\n")
    foreign = {"AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9", "AWS_PROFILE": "nobody"}

    run = service.loafer("run", "--sandbox", "--until-empty=30", "--sample", "orders=orders.jsonl", **foreign)

    assert run.ends() == 0
    assert sorted(run.stdout) == ["handled 1", "handled 2"]


def test_t38_a_handler_that_cancels_every_task_ends_the_process_with_70_and_a_line(service, moto, moto_server):
    queue = moto()
    service.module(
        """
        import asyncio

        async def handle(body):
            for task in asyncio.all_tasks():
                task.cancel()
            await asyncio.sleep(600)
        """
    )
    service.config("[loafer]\nshutdown_timeout = 5", service.sqs(moto_server), service.route(queue, concurrency=1))
    queue.send("a")

    run = service.loafer("run")

    assert run.ends() == 70
    assert run.stderr.splitlines()[-1].startswith("error: somebody cancelled the tasks of Loafer itself")
    assert "Traceback" not in run.stderr


def test_json_of_the_plugins_is_all_that_is_on_stdout(service):
    process = service.loafer("plugins", "list", "--json")

    assert process.ends() == 0
    assert json.loads("\n".join(process.stdout))["schema"] == 1
    assert process.stderr == ""


def test_ctrl_c_before_the_first_message_is_a_clean_end(service):
    service.module("def handle(body): ...")
    service.config(MEMORY)
    run = service.loafer("run", "--set", "loafer.shutdown_timeout=2", "--set", "routes.one.provider.wait=1")
    run.says("running: one, two")

    run.signal(signal.SIGINT)

    assert run.ends() == 0
