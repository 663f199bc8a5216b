"""The programs on the pages: each is run, and does what its page says."""

from __future__ import annotations

import asyncio
import inspect
import socket
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loafer_core import Manager
from loafer_core.cli import main
from loafer_core.cli.new import package
from loafer_core.discovery.loader import load
from loafer_core.testing import run_virtual

ROOT = Path(__file__).resolve().parents[2]


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


def test_an_excerpt_on_a_page_is_what_its_source_says(excerpt):
    kind, _, place = excerpt.marks.partition("=")
    if kind == "from":
        source = (ROOT / place).read_text()
    else:
        made, _, path = place.partition(":")
        source = dict(package("acme", made))[Path(path)]

    for lines in (excerpt.text, *(textwrap.indent(excerpt.text, indent) for indent in ("    ", "        "))):
        if lines in source:
            break
    else:
        pytest.fail(f"{excerpt.page}:{excerpt.line} quotes what {place} does not say")


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


def test_the_tests_on_the_testing_page_pass_as_a_project_of_its_reader(pages, desk):
    folder = desk(pages["docs/howto/testing-your-handlers.md"])
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    told = subprocess.run([*command, str(folder)], cwd=folder, capture_output=True, text=True, timeout=50)
    assert (told.returncode, told.stderr) == (0, ""), told.stdout
    assert "5 passed" in told.stdout


def test_a_command_on_a_page_prints_what_the_page_says(desk, put_stand_ins, pages):
    for page in pages.values():
        for block in page.blocks:
            if block.marks.startswith("of="):
                put_stand_ins(desk(page), tomllib.loads(page.one("file=loafer.toml").text))
                told = CliRunner().invoke(main, block.marks.removeprefix("of=").split())
                assert (told.exit_code, told.stdout, told.stderr) == (0, block.text, "")


@pytest.mark.parametrize("name", [{"name": "watch:Statsd"}, {"name": "statsd"}], ids=["by-reference", "as-a-plugin"])
def test_the_observer_on_its_page_sends_what_the_page_says(name, desk, put_stand_ins, pages):
    page = pages["docs/howto/observers.md"]
    configuration = tomllib.loads(page.one("file=loafer.toml").text)
    put_stand_ins(desk(page), configuration)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(10)
        configuration["loafer"]["observers"] = [name | {"port": agent.getsockname()[1]}]

        async def eleven_seconds():
            async with Manager.from_config(configuration):
                await asyncio.sleep(11)

        run_virtual(eleven_seconds(), grace=0.02)
        lines = page.one("sent").text.splitlines()
        assert sorted(agent.recv(1000).decode() for _ in lines) == sorted(lines)
