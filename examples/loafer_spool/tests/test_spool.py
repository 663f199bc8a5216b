"""What the spool promises beyond the contract: its file outlives processes, fences them off, and is nobody else's."""

from __future__ import annotations

import asyncio
import signal
import stat
import subprocess
import sys

import pytest

from loafer_core import Manager, Route, Settled, SourceConfigError, Unavailable
from loafer_spool.options import SpoolOptions
from loafer_spool.provider import SpoolProvider
from loafer_spool.publish import PublishOptions, SpoolPublisher
from loafer_spool.store import opened

CONFIG = """
[routes.letters]
provider = { name = "spool", file = "post.db", lease = 1, dead_letter = "undeliverable", max_receives = 3 }
handler = "post:deliver"
retry = { base = 0.2, cap = 0.5 }
"""
HANDLER = """
import os, pathlib, signal

async def deliver(letter, metadata):
    if letter == "deadly" and metadata["receive_count"] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if letter == "bad":
        raise ValueError(letter)
    with pathlib.Path("delivered").open("a") as file:
        file.write(letter + "\\n")
"""


class Desk:
    """The least of a context that a provider needs to be opened by hand."""

    max_wait = 1.0

    async def shared(self, key, open):
        self.file = open()
        return await self.file.__aenter__()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "post.db"


async def provider(file, **options):
    one = SpoolProvider(SpoolOptions(file=file, **options))
    one.desk = Desk()
    await one.open(one.desk)
    return one


async def closed(*providers):
    for one in providers:
        await one.close()
        await one.desk.file.__aexit__(None, None, None)


async def bodies(file, queue):
    one = await provider(file, queue=queue)
    found = [message.body for message in await one.receive(100)]
    await closed(one)
    return found


async def test_what_was_put_in_outlives_who_put_it_there(file):
    one = await provider(file)
    id_ = await one.publish("to Ada", {"stamp": "red", "seal": b"\x00\xff"})
    await closed(one)

    other = await provider(file)
    [message] = await other.receive(10)
    assert (message.id, message.body) == (id_, "to Ada")
    assert message.attributes == {"stamp": "red", "seal": b"\x00\xff"}
    await closed(other)


async def test_a_process_that_lost_its_lease_can_neither_settle_nor_steal_back(file):
    slow, quick = await provider(file, lease=0.3), await provider(file, lease=30)
    await slow.publish("to Ada")
    [mine] = await slow.receive(1)
    [theirs] = await quick.receive(1)  # waits for the end of the first lease

    assert (theirs.id, theirs.receive_count) == (mine.id, 2)
    for answer in (slow.extend([mine]), slow.nack({mine: 0.0}), slow.release([mine]), slow.ack([mine])):
        assert await answer == {mine: Settled.LOST}
    assert await quick.ack([theirs]) == {theirs: Settled.DONE}
    await closed(slow, quick)


async def test_an_ack_that_comes_late_counts_as_long_as_nobody_has_the_message(file):
    one = await provider(file, lease=0.05)
    await one.publish("to Ada")
    [message] = await one.receive(1)
    await asyncio.sleep(0.06)  # the lease, on the wall clock that the file goes by
    assert await one.extend([message]) == {message: Settled.LOST}
    assert await one.ack([message]) == {message: Settled.DONE}
    await closed(one)


async def test_two_routes_of_a_process_share_the_file_and_wake_each_other(file, tmp_path):
    seen = []

    async def keep(letter: str):
        seen.append(letter)
        arrived.set()

    arrived = asyncio.Event()
    inbox = SpoolProvider(SpoolOptions(file=file, queue="in"))
    outbox = SpoolProvider(SpoolOptions(file=file, queue="out", poll=20))  # too slow, were it not woken
    routes = [
        Route("in", provider=inbox, handler=SpoolPublisher(PublishOptions(file=file, queue="out"))),
        Route("out", provider=outbox, handler=keep),
    ]
    async with Manager(routes):
        await inbox.publish("to Ada")
        async with asyncio.timeout(15):
            await arrived.wait()
    assert seen == ["to Ada"]


async def test_a_payload_that_is_neither_text_nor_bytes_is_stored_as_json(file):
    publisher = SpoolPublisher(PublishOptions(file=file))
    desk = Desk()
    await publisher.open(desk)
    assert await publisher.handle({"to": "Ada"}, {"attributes": {}})
    await publisher.close()
    await desk.file.__aexit__(None, None, None)
    assert await bodies(file, "default") == ['{"to": "Ada"}']


async def test_text_that_is_no_unicode_is_refused_and_nothing_is_stored(file):
    one = await provider(file)
    with pytest.raises(ValueError, match="surrogates"):
        await one.publish("\ud800")
    assert (await one.measure())["depth"] == 0
    await closed(one)


async def test_a_file_that_is_none_of_ours_is_named_and_left_alone(file):
    file.write_bytes(b"Dear Ada, " * 500)
    with pytest.raises(SourceConfigError, match=r"post\.db cannot be used as a spool: file is not a database"):
        async with opened(file):
            pass
    assert file.read_bytes() == b"Dear Ada, " * 500
    with pytest.raises(SourceConfigError, match=r"No such file or directory$"):
        async with opened(file.parent / "no" / "folder" / "post.db"):
            pass


async def test_only_its_owner_can_read_the_file(file):
    await closed(await provider(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_provider_that_is_not_open_says_so(file):
    with pytest.raises(Unavailable, match="not open"):
        await SpoolProvider(SpoolOptions(file=file)).publish("to Ada")


async def test_a_killed_process_loses_nothing_and_poison_ends_in_the_dead_letters(tmp_path, file):
    (tmp_path / "loafer.toml").write_text(CONFIG)
    (tmp_path / "post.py").write_text(HANDLER)
    one = await provider(file)
    for letter in ("to Ada", "deadly", "bad"):
        await one.publish(letter)
    await closed(one)

    def run():
        command = [sys.executable, "-m", "loafer_core", "run", "--until-empty=60"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90)

    first = await asyncio.to_thread(run)
    second = await asyncio.to_thread(run)

    assert first.returncode == -signal.SIGKILL
    assert second.returncode == 1, second.stderr  # something was neither acked nor rejected by us
    delivered = (tmp_path / "delivered").read_text().split("\n")
    assert {"to Ada", "deadly"} <= set(delivered)
    assert await bodies(file, "undeliverable") == ["bad"]
