"""What holds for every page: links lead somewhere, code is code, configurations are right, nothing is only ours."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from itertools import takewhile
from pathlib import Path

import click
import pytest

import loafer_core
from loafer_core import Manager, testing
from loafer_core.cli import main

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SOMEBODYS_MACHINE = re.compile(r"/(home|Users|root|work|tmp|var/folders)/|\b[A-Z]:\\")


def links(page) -> list[tuple[Path, str]]:
    """The pages that ``page`` points to, each with the anchor."""
    inner = [target for target in LINK.findall(page.prose) if "://" not in target]
    found = [target.partition("#") for target in inner]
    return [((page.path.parent / path).resolve() if path else page.path, anchor) for path, _, anchor in found]


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_to_a_page_and_a_heading_that_exist(page):
    for path, anchor in links(page):
        assert path.exists(), f"{page.name}: there is no {path.name}"
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), f"{page.name}: no #{anchor}"


def test_every_page_is_in_the_index_of_its_folder_or_of_the_one_above(page, pages):
    indexes = [pages[name] for name in ("README.md", "docs/README.md", "docs/decisions/README.md")]
    above = [index for index in indexes if index.path.parent in page.path.parents and index is not page]
    assert page.name == "README.md" or page.path in {target for target, _ in links(above[-1])}


def test_no_page_names_a_path_of_somebodys_machine(page):
    assert SOMEBODYS_MACHINE.search(page.text) is None


def test_python_on_a_page_is_python(python_block):
    assert ast.parse(python_block.text).body


def test_python_on_a_page_imports_only_what_the_doors_offer(python_block):
    doors = {"loafer_core": loafer_core.__all__, "loafer_core.testing": testing.__all__}
    for node in ast.walk(ast.parse(python_block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "loafer_core":
            assert {alias.name for alias in node.names} <= set(doors[node.module])


def test_a_configuration_on_a_page_can_be_run(toml_block, desk, put_stand_ins, pages):
    """With stand-ins for the user's code where the page itself does not show it."""
    folder = desk(pages[toml_block.page])
    configuration = tomllib.loads(toml_block.text)
    if toml_block.marks == "part":
        route = {"provider": {"name": "sqs", "queue": "orders"}, "handler": "shop:handle"}
        configuration.setdefault("routes", {"orders": route})
    put_stand_ins(folder, configuration)

    assert Manager.from_config(configuration)  # or it raises ConfigError


def test_a_mistake_on_a_page_is_reported_as_the_page_says(wrong_toml_block, pages, tmp_path, capsys):
    blocks = pages[wrong_toml_block.page].blocks
    said = blocks[blocks.index(wrong_toml_block) + 1].text
    (tmp_path / "loafer.toml").write_text(wrong_toml_block.text)

    with pytest.raises(SystemExit):
        main(["check", "-c", str(tmp_path / "loafer.toml")])

    assert capsys.readouterr().err == said


def test_every_loafer_command_on_a_page_is_one_that_the_command_line_takes(shell_block):
    for line in re.findall(r"^loafer .*(?:\\\n.*)*", shell_block.text, re.MULTILINE):
        take(main, [*takewhile(lambda word: word not in ("<", ">", "|", "&&"), shlex.split(line)[1:])])


def take(command: click.Command, words: list[str]) -> None:
    """Read the words as the command would, down to the last sub-command, and run nothing."""
    if isinstance(command, click.Group) and words:
        inner = command.get_command(click.Context(command), words[0])
        assert inner is not None, f"there is no command {words[0]!r}"
        take(inner, words[1:])
        return
    try:
        command.make_context(command.name, list(words))
    except click.BadParameter as error:
        if error.param is None or not isinstance(error.param.type, click.File):  # the reader's file, not ours
            raise


def test_a_decision_has_a_number_three_parts_and_a_handy_length(pages):
    decisions = [page for page in pages.values() if re.match(r"docs/decisions/\d", page.name)]
    assert len(decisions) >= 12
    for number, page in enumerate(decisions, 1):
        assert page.path.name.startswith(f"{number:04}-")
        assert page.text.startswith(f"# {number}. ")
        assert re.findall(r"^## (.+)$", page.text, re.MULTILINE) == ["Context", "Choice", "What we gave up"]
        assert 15 <= len(page.text.splitlines()) <= 25


def test_the_readme_can_be_read_in_one_go(pages):
    assert len(pages["README.md"].text.splitlines()) < 160


def test_the_readme_says_not_yet_of_no_command_that_is_there(pages, commands):
    not_yet = pages["README.md"].section("Not yet")
    assert [name for name in commands if f"`loafer {name}`" in not_yet] == []
