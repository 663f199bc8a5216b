"""The programs on the pages: each is run, and does what its page says."""

from __future__ import annotations

import asyncio
import inspect
import tomllib
from types import SimpleNamespace
from typing import Any

import pytest

from loafer_core import Manager, Settled, SourceConfigError
from loafer_core.plugins import load
from loafer_core.testing.virtual import run_virtual


def test_a_program_prints_what_its_page_says(program, desk, capsys):
    desk(program)

    async def a_minute():
        async with Manager.from_config("loafer.toml") as manager:
            await asyncio.sleep(60)
        return manager.accounts

    accounts = run_virtual(a_minute(), grace=0.02)

    said = [f"account of {route}: {account}" for route, account in accounts.items()]
    printed = capsys.readouterr().out.splitlines()
    assert sorted([*printed, *said]) == sorted(program.one("prints").text.splitlines())


def test_the_python_of_a_page_runs_and_so_do_the_tests_in_it(script, desk):
    desk(script)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in script.blocks:
        if block.marks == "run":
            exec(compile("\n" * (block.line - 1) + block.text, script.path, "exec"), names)
    for name, test in names.items():
        if name.startswith("test_") and not inspect.iscoroutinefunction(test):
            test()


async def test_the_provider_on_its_page_keeps_the_contract(pages, desk):
    page = pages["docs/howto/write-a-provider.md"]
    desk(page)
    exec(page.one("run").text, {})
    from loafer_table import TableOptions, TableProvider

    def provider():
        return TableProvider(TableOptions(file="letters.db", lease=1.0, poll=30.0))

    one, other = provider(), provider()
    await one.open(SimpleNamespace(max_wait=30.0))
    await other.open(SimpleNamespace(max_wait=30.0))
    try:
        mine = await one.receive(1)
        theirs = await other.receive(10)
        assert [m.body for m in (*mine, *theirs)] == ["to Ada", "to the moon"]
        assert await one.extend(mine) == {mine[0]: Settled.DONE}
        assert await other.release(theirs) == {theirs[0]: Settled.DONE}
        again = await one.receive(10)
        assert [(m.id, m.receive_count) for m in again] == [(theirs[0].id, 2)]
        assert await other.ack(theirs) == {theirs[0]: Settled.LOST}
        assert await other.extend(theirs) == {theirs[0]: Settled.LOST}
        assert await other.nack({theirs[0]: 0.0}) == {theirs[0]: Settled.LOST}
        assert set((await one.ack([*mine, *again])).values()) == {Settled.DONE}
        waiting = asyncio.create_task(one.receive(10))
        await one.stop()
        async with asyncio.timeout(10):
            assert await waiting == []
    finally:
        await one.close()
        await one.close()
        await other.close()


async def test_the_provider_on_its_page_says_what_is_missing(desk, pages):
    desk(pages["docs/howto/write-a-provider.md"])
    from loafer_table import TableOptions, TableProvider

    with pytest.raises(SourceConfigError, match=r"there is no file .*letters\.db"):
        await TableProvider(TableOptions(file="letters.db")).open(SimpleNamespace(max_wait=1.0))


def test_a_plugin_on_a_page_is_found_and_whole(plugin_page, desk):
    points = tomllib.loads(plugin_page.one("file=plugin.toml").text)["project"]["entry-points"]["loafer"]
    desk(plugin_page)
    found = {plugin.plugin: (plugin.state, plugin.reason) for plugin in load(env={}).plugins}
    assert {point: found[point] for point in points} == dict.fromkeys(points, ("ok", None))


def test_the_plugin_on_the_readme_is_found_and_works(pages, desk):
    desk(pages["README.md"])
    got: list[object] = []

    async def story():
        provider = {"name": "memory", "messages": ["a,b", "c"]}
        route = {"provider": provider, "translator": "csv", "handler": got.append}
        async with Manager.from_config({"routes": {"lines": route}}):
            await asyncio.sleep(10)

    run_virtual(story(), grace=0.02)
    assert got == [["a", "b"], ["c"]]
