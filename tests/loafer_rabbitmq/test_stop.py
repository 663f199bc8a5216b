"""Stopping: what was fetched goes back at once, what runs ends, as a real process too."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path

from loafer_rabbitmq import RabbitMQOptions, RabbitMQProvider

ANYWHERE = Path(__file__).resolve().parents[2] / "examples" / "anywhere"
SLOW = """
import asyncio

async def handle(text):
    print("began", text, flush=True)
    await asyncio.sleep(0.3)
"""


def configuration(broker, queue, handler):
    return textwrap.dedent(f"""
        [defaults.rabbitmq]
        url = "{broker.url()}"
        username = "loafer"
        password = "{broker.options("x")["password"]}"

        [routes.orders]
        provider = {{ name = "rabbitmq", queue = "{queue}" }}
        handler = "{handler}"
        concurrency = 2
    """)


async def loafer(folder, *arguments, **environment):
    command = [sys.executable, "-m", "loafer_core", *arguments]
    environment = os.environ | environment
    return await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, stdin=-1, stdout=-1, stderr=-1)


async def test_a_stop_gives_the_prefetch_back_while_what_runs_goes_on(broker, far, desks, eventually):
    queue = await far.declare(kind="quorum")
    await far.send(queue, *map(str, range(5)))
    desk, provider = desks(concurrency=5), RabbitMQProvider(RabbitMQOptions(**broker.options(queue)))
    await provider.open(desk)
    running = await desk.take(provider, 2)
    other = RabbitMQProvider(RabbitMQOptions(**broker.options(queue)))

    await provider.stop()
    assert await provider.receive(5) == []
    elsewhere = desks(route="elsewhere")
    await other.open(elsewhere)
    others = await elsewhere.take(other, 3)
    await provider.ack(running)
    await other.ack(others)
    await provider.close()
    await other.close()

    assert {message.body for message in running + others} == {b"0", b"1", b"2", b"3", b"4"}
    assert (await far.channel.declare_queue(queue, passive=True)).declaration_result.message_count == 0


async def test_a_receive_that_waits_ends_when_it_is_stopped(broker, far, desks):
    desk = desks(max_wait=300)
    provider = RabbitMQProvider(RabbitMQOptions(**broker.options(await far.declare())))
    await provider.open(desk)
    waiting = asyncio.create_task(provider.receive(1))
    await asyncio.sleep(0)

    await provider.stop()
    await provider.stop()

    assert await waiting == []
    await provider.close()
    await provider.close()


async def test_a_provider_opens_again_after_it_was_closed(broker, far, desks):
    queue = await far.declare()
    desk, provider = desks(), RabbitMQProvider(RabbitMQOptions(**broker.options(queue)))
    for body in b"one", b"two":
        await provider.open(desk)
        await far.send(queue, body)
        [message] = await desk.take(provider)
        assert message.body == body
        await provider.ack([message])
        await provider.stop()
        await provider.close()


async def test_loafer_run_ends_with_0_at_sigterm_and_leaves_what_it_did_not_do(broker, far, eventually, tmp_path):
    queue = await far.declare()
    await far.send(queue, *map(str, range(6)))
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "loafer.toml").write_text(configuration(broker, queue, "slow:handle"))
    process = await loafer(tmp_path, "run")
    assert process.stdout is not None
    async with asyncio.timeout(20):
        await process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, log = await process.communicate()

    began = 1 + out.count(b"began")
    assert process.returncode == 0, log.decode()
    assert began <= 2
    await eventually(lambda: broker.messages(queue) == (6 - began, 0))
    assert b"Traceback" not in log
    assert b"canary" not in log


async def test_until_empty_ends_by_itself(broker, far, tmp_path):
    queue = await far.declare()
    await far.send(queue, "one", "two")
    (tmp_path / "loafer.toml").write_text(configuration(broker, queue, "builtins:print"))
    process = await loafer(tmp_path, "run", "--until-empty=30")
    out, log = await process.communicate()

    assert process.returncode == 0, log.decode()
    assert b"one" in out
    assert b"two" in out


async def test_the_handler_for_any_source_runs_unchanged_on_rabbitmq(broker, far, tmp_path):
    await far.declare("undeliverable")
    file, address = str(ANYWHERE / "rabbitmq.toml"), broker.address()
    for letter in (ANYWHERE / "letters.jsonl").read_text().splitlines():
        sending = await loafer(tmp_path, "send", "letters", "-c", file, RABBITMQ_URL=address)
        _, log = await sending.communicate(letter.encode())
        assert sending.returncode == 0, log.decode()

    running = await loafer(tmp_path, "run", "-c", file, "--until-empty=60", RABBITMQ_URL=address)
    out, log = await running.communicate()

    assert running.returncode == 0, log.decode()
    assert out.decode().split("\n") == ["delivered to Ada, plain", "delivered to the moon, plain", ""]
    assert b"2 acked + 1 nacked + 1 rejected" in log
    assert (await far.get("undeliverable")).body == b'{"to": "Grace", "stamps": 0}'
