"""A real process around one coroutine: what its signals ask for, and that it always comes to an end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import types

import pytest

from loafer_core.app import runner

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)


class Process:
    """A Python process that says line by line how far it is."""

    def __init__(self, source):
        source = (
            "import asyncio, logging, sys, threading, time\nfrom loafer_core.app import runner\n"
            + textwrap.dedent(source)
        )
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def says(self, line):
        said = self._process.stdout.readline().strip()
        assert said == line, said or self._process.stderr.read()

    def send(self, number):
        self._process.send_signal(number)

    def runs(self):
        try:
            self._process.wait(0.02)
        except subprocess.TimeoutExpired:
            return True
        return False

    def ends(self):
        """Give its exit code and what it still printed; its stderr is kept."""
        out, self.err = self._process.communicate(timeout=30)
        return self._process.returncode, out.strip()

    def kill(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def process():
    started = []

    def start(source):
        started.append(Process(source))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def test_the_exit_code_is_what_the_coroutine_gives(process):
    assert process(
        """
        async def serve(stop):
            return 3

        sys.exit(runner.run(serve))
        """
    ).ends() == (3, "")


@BOTH
def test_the_first_signal_asks_for_a_stop_and_is_named(process, number):
    serving = process(
        """
        async def serve(stop):
            print("ready")
            await stop.requested.wait()
            print(stop.reason, stop.hurry.is_set())
            return 0

        sys.exit(runner.run(serve))
        """
    )
    serving.says("ready")
    serving.send(number)

    assert serving.ends() == (0, f"{number.name} False")


@pytest.mark.parametrize("masked", [(), runner.SIGNALS], ids=["interrupting", "given to another thread"])
@BOTH
def test_the_second_signal_hurries_and_the_third_ends_the_process_at_once(process, number, masked):
    """Given to another thread: as when it comes just before the loop goes to sleep, it interrupts nothing."""
    serving = process(
        f"""
        import signal

        async def serve(stop):
            threading.Thread(target=time.sleep, args=[600], daemon=True).start()
            signal.pthread_sigmask(signal.SIG_BLOCK, {[*map(int, masked)]})
            print("ready")
            await stop.requested.wait()
            print("stopping")
            await stop.hurry.wait()
            print("hurrying")
            await asyncio.Event().wait()

        sys.exit(runner.run(serve))
        """
    )
    for said in ("ready", "stopping", "hurrying"):
        serving.says(said)
        serving.send(number)

    assert serving.ends() == (128 + number, "")


def test_signals_of_both_kinds_add_up_and_the_first_is_the_reason(process):
    serving = process(
        """
        async def serve(stop):
            print("ready")
            await stop.requested.wait()
            print("stopping")
            await stop.hurry.wait()
            print(stop.reason)
            return 0

        sys.exit(runner.run(serve))
        """
    )
    serving.says("ready")
    serving.send(signal.SIGINT)
    serving.says("stopping")
    serving.send(signal.SIGTERM)

    assert serving.ends() == (0, "SIGINT")


def test_the_third_signal_ends_a_process_whose_loop_is_blocked(process):
    serving = process(
        """
        async def serve(stop):
            print("ready")
            while True:
                time.sleep(0.01)  # what an async handler should not do

        sys.exit(runner.run(serve))
        """
    )
    serving.says("ready")
    while serving.runs():  # one that is still pending swallows the next of its kind, so three may not be enough
        serving.send(signal.SIGTERM)

    assert serving.ends() == (128 + signal.SIGTERM, "")


def test_a_process_whose_thread_is_stuck_ends_all_the_same_with_everything_written(process):
    assert process(
        """
        class Slow(logging.Handler):
            def emit(self, record):
                self.message = record.getMessage()

            def flush(self):
                time.sleep(0.2)
                print(self.message, file=out)

        threading.Thread(target=time.sleep, args=[600]).start()
        sys.stdout = out = open(1, "w", buffering=1000, closefd=False)
        logging.getLogger().addHandler(Slow())

        async def serve(stop):
            logging.error("the last words")
            return 75

        runner.run(serve, is_stuck=lambda: True)
        """
    ).ends() == (75, "the last words")


def test_a_process_that_is_not_stuck_ends_as_any_other(process):
    assert process(
        """
        import atexit
        atexit.register(print, "at exit")

        async def serve(stop):
            return 4

        sys.exit(runner.run(serve, is_stuck=lambda: False))
        """
    ).ends() == (4, "at exit")


def test_a_thread_that_a_handler_left_in_asyncios_own_executor_does_not_keep_the_process(process):
    assert (
        process(
            """
        async def serve(stop):
            asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
            return 5

        sys.exit(runner.run(serve))
        """
        ).ends()[0]
        == 5
    )


def test_a_program_that_goes_on_after_running_is_left_alone(process):
    assert process(
        """
        runner.PATIENCE = 0.05

        async def serve(stop):
            return 8

        code = runner.run(serve)
        time.sleep(0.5)
        sys.exit(code + 1)
        """
    ).ends() == (9, "")


def test_t36_logs_that_cannot_be_written_do_not_keep_the_process(process):
    assert (
        process(
            """
        handler = logging.StreamHandler()
        logging.getLogger().addHandler(handler)
        held = threading.Event()

        def block():
            handler.acquire()  # as when the pipe behind it is full
            held.set()
            time.sleep(600)

        threading.Thread(target=block).start()

        async def serve(stop):
            held.wait(30)
            return 6

        runner.run(serve, is_stuck=lambda: True)
        """
        ).ends()[0]
        == 6
    )


def test_what_the_coroutine_raises_comes_out_and_the_signals_are_the_programs_own_again():
    before = [signal.getsignal(number) for number in runner.SIGNALS]
    during = []

    async def serve(stop):
        during.extend(signal.getsignal(number) for number in runner.SIGNALS)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        runner.run(serve)

    assert [signal.getsignal(number) for number in runner.SIGNALS] == before
    assert not set(during) & set(before)


def test_a_program_may_run_again_after_it_was_stopped():
    async def serve(stop):
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
        await stop.requested.wait()
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
        await stop.hurry.wait()
        return 7

    assert [runner.run(serve), runner.run(serve)] == [7, 7]


def test_each_signal_is_logged_with_what_it_leads_to(caplog):
    caplog.set_level("INFO")

    async def serve(stop):
        stop(signal.SIGTERM)
        stop(signal.SIGINT)
        return 0

    runner.run(serve)

    assert caplog.messages == [
        "SIGTERM: stopping; once more hurries, a third time ends at once",
        "SIGINT again: cancelling what still runs",
    ]


def test_uvloop_makes_the_loop_where_it_is_installed(monkeypatch):
    made = []

    def new_event_loop():
        made.append(asyncio.new_event_loop())
        return made[-1]

    async def serve(stop):
        return int(asyncio.get_running_loop() is not made[0])

    monkeypatch.setitem(sys.modules, "uvloop", types.SimpleNamespace(new_event_loop=new_event_loop))
    assert runner.run(serve) == 0


def test_without_uvloop_asyncios_own_loop_runs(monkeypatch):
    async def serve(stop):
        return int(not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop))

    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert runner.run(serve) == 0
