"""What georgeyk/loafer and olist-loafer did and Loafer still does, so that a service can come over as it is."""

from __future__ import annotations

import asyncio
import threading

import pytest

from loafer_core import DeleteMessage, Manager, MemoryQueue, TranslationError
from loafer_core.testing import run_virtual


@pytest.fixture(autouse=True)
def nobodys_queues():
    yield
    MemoryQueue.forget_named()


def run(bodies, *, seconds=20, **route) -> str:
    """Give the account of a route after some seconds in which no failed message came a second time."""
    provider = {"name": "memory", "queue": "source-queue", "messages": list(bodies)}
    configuration = {"routes": {"orders": {"provider": provider, "retry": {"base": 1000}, **route}}}

    async def story():
        async with Manager.from_config(configuration) as manager:
            await asyncio.sleep(seconds)
        return str(manager.accounts["orders"])

    return run_virtual(story(), grace=0.02)


# --- the handler's answer


def test_true_deletes_the_message_and_false_keeps_it():
    async def handle(message, metadata):
        return message["ok"]

    account = run(['{"ok": true}', '{"ok": false}'], translator="json", handler=handle)

    assert account == "2 received = 1 acked + 1 nacked"


@pytest.mark.parametrize("returned", [1, "done", {"MessageId": "of what was sent"}])
@pytest.mark.parametrize("returns", ["lenient", "truthy"])
def test_whatever_is_true_deletes_the_message(returned, returns):
    assert run(["x"], handler=lambda message: returned, returns=returns) == "1 received = 1 acked"


@pytest.mark.parametrize("returned", [None, 0, "", {}])
def test_whatever_is_false_keeps_the_message_where_the_route_says_truthy(returned):
    account = run(["x"], handler=lambda message: returned, returns="truthy")

    assert account == "1 received = 1 nacked"


def test_t03_delete_message_deletes_from_anywhere_in_the_handler_and_no_error_handler_is_asked():
    asked = []

    async def deep(message):
        raise DeleteMessage

    async def handle(message, metadata):
        await deep(message)

    account = run(["x"], handler=handle, error_handler=lambda failure: asked.append(failure))

    assert (account, asked) == ("1 received = 1 acked", [])


def test_delete_message_deletes_out_of_a_task_group_too():
    async def give_up():
        raise DeleteMessage

    async def handle(message):
        async with asyncio.TaskGroup() as group:
            group.create_task(give_up())

    assert run(["x"], handler=handle) == "1 received = 1 acked"


# --- failures


def test_what_the_handler_raises_goes_to_the_error_handler_whose_true_deletes_and_whose_false_keeps():
    async def handle(message):
        raise ValueError(message)

    def decide(error, message):
        return message.body == "hopeless"

    account = run(["hopeless", "later"], handler=handle, error_handler=decide)

    assert account == "2 received = 1 acked + 1 nacked"


def test_without_an_error_handler_the_message_is_kept():
    def handle(message):
        raise ValueError

    assert run(["x"], handler=handle) == "1 received = 1 nacked"


def test_what_cannot_be_translated_goes_to_the_error_handler_with_its_body_and_not_to_the_handler():
    handled, asked = [], []

    def decide(error, message):
        asked.append((type(error), message.body))
        return True

    account = run(["no JSON"], translator="json", handler=handled.append, error_handler=decide)

    assert account == "1 received = 1 acked"
    assert (handled, asked) == ([], [(TranslationError, "no JSON")])


def test_a_failure_stops_neither_the_messages_beside_it_nor_those_behind_it():
    handled = []

    async def handle(message):
        handled.append(message)
        if message == "bad":
            raise ValueError

    def broken(error, message):
        raise RuntimeError("the error handler, too")

    account = run(["a", "bad", "b", "c"], handler=handle, error_handler=broken, concurrency=1)

    assert (handled, account) == (["a", "bad", "b", "c"], "4 received = 3 acked + 1 nacked")


# --- the forms of a handler


def test_a_handler_gets_content_and_metadata():
    seen = []

    async def handle(message, metadata):
        seen.append((message, metadata["message_id"], metadata["receive_count"]))

    run(['{"id": 1}'], translator="json", handler=handle)

    [(content, message_id, receive_count)] = seen
    assert (content, receive_count) == ({"id": 1}, 1)
    assert message_id.startswith("source-queue")


def test_a_plain_function_runs_in_a_thread_and_a_coroutine_function_on_the_event_loop():
    threads = {}

    def plain(message):
        threads["plain"] = threading.current_thread()

    async def on_the_loop(message):
        threads["async"] = threading.current_thread()

    run(["x"], handler=plain)
    run(["x"], handler=on_the_loop)

    assert threads["plain"] is not threading.main_thread()
    assert threads["async"] is threading.main_thread()


def test_plain_functions_run_at_the_same_time_and_each_in_a_thread():
    together = threading.Barrier(3, timeout=5)

    assert run(["a", "b", "c"], handler=lambda message: together.wait() >= 0) == "3 received = 3 acked"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_handler_may_be_an_object_with_handle_and_is_stopped_at_the_end(is_async):
    class Shop:
        def __init__(self):
            self.told = []

        async def handle(self, message, *args):
            self.told.append(message)

        def stop(self):
            self.told.append("stop")

    class AsyncShop(Shop):
        async def stop(self):  # never awaited there
            self.told.append("stop")

    shop = AsyncShop() if is_async else Shop()

    account = run(["a", "b"], handler=shop)

    assert (account, shop.told) == ("2 received = 2 acked", ["a", "b", "stop"])


# --- the forwarder


class Forwarder:
    """What was SQSHandler("destination-queue"), for queues in this process."""

    def __init__(self, queue: str) -> None:
        self.queue = queue

    async def start(self):
        self._destination = MemoryQueue.named(self.queue)

    async def handle(self, message, metadata):
        return self._destination.send(message)


def test_the_forwarder_moves_everything_and_loses_nothing_where_the_destination_fails():
    class Hesitant(Forwarder):
        failed = False

        async def handle(self, message, metadata):
            if message == "b" and not self.failed:
                self.failed = True
                raise ConnectionError("the destination is down")
            return await super().handle(message, metadata)

    account = run(["a", "b", "c"], seconds=60, handler=Hesitant("destination-queue"), retry={"base": 2})

    assert account == "4 received = 3 acked + 1 nacked"
    assert sorted(str(message.body) for message in MemoryQueue.named("destination-queue").messages()) == ["a", "b", "c"]
    assert MemoryQueue.named("source-queue").messages() == []


def test_the_forwarder_is_five_lines_of_configuration(service):
    """From the ancestors' README, on the stand-in of SQS."""
    (service / "loafer.toml").write_text(
        """
        [defaults.sqs]
        region_name = "eu-west-1"
        [routes.source]
        provider = { name = "sqs", queue = "source-queue" }
        translator = "json"
        handler = { name = "sqs", queue = "destination-queue" }
        [routes.destination]
        provider = { name = "sqs", queue = "destination-queue" }
        translator = "json"
        handler = "builtins:print"
        """
    )
    manager = Manager.from_config(service / "loafer.toml")

    code = manager.run(until_empty=20, sandbox=True, samples={"source": ['{"id": 1}', "{}"]})

    assert code == 0
    assert str(manager.accounts["source"]) == "2 received = 2 acked"
    assert str(manager.accounts["destination"]) == "2 received = 2 acked"
