"""``plugins docs`` and the samples that ``plugins show`` and ``plugins check`` make up."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from loafer_core.cli import main
from loafer_core.config.validation import validate
from loafer_core.discovery.samples import required, toml

README = """# loafer-acme

Words of its author.

<!-- loafer plugins docs loafer-core/memory --table -->
| an old table |
<!-- end -->

More words.

<!-- loafer plugins docs loafer-core/log -->
<!-- end -->
"""


@pytest.fixture
def readme(tmp_path) -> Path:
    (tmp_path / "README.md").write_text(README)
    return tmp_path / "README.md"


def docs(*words: object):
    return CliRunner().invoke(main, ["plugins", "docs", *map(str, words)])


def test_docs_puts_below_each_mark_what_the_command_in_it_prints_and_leaves_the_rest(readme):
    assert docs("--into", readme).exit_code == 0

    table, log = docs("loafer-core/memory", "--table").stdout, docs("loafer-core/log").stdout
    assert "| `max_receives` |" in table
    assert log.startswith("## Error handler log\n")
    assert readme.read_text() == README.replace("| an old table |\n", table).replace(
        "docs loafer-core/log -->\n", f"docs loafer-core/log -->\n{log}"
    )


def test_docs_checks_a_file_and_writes_nothing(readme):
    told = docs("--into", readme, "--check")
    assert (told.exit_code, readme.read_text()) == (1, README)
    assert f"Error: {readme} is not current: loafer plugins docs --into {readme}" in told.stderr

    docs("--into", readme)
    assert docs("--into", readme, "--check").exit_code == 0


def test_docs_tells_of_one_kind_where_several_have_a_name():
    assert "wait_time_seconds" not in docs("loafer-sqs/sqs", "--kind", "handler").stdout
    assert docs("loafer-sqs/sqs", "--kind", "observer").exit_code == 2


@pytest.mark.parametrize("words", [[], ["--check"], ["memory", "--check"]])
def test_docs_says_what_it_needs(words):
    assert docs(*words).exit_code == 2


def test_a_mark_that_names_nothing_is_an_error(readme):
    readme.write_text("<!-- loafer plugins docs nobody -->\n<!-- end -->\n")

    told = docs("--into", readme)
    assert told.exit_code == 2
    assert "there is no plugin or component 'nobody'" in told.stderr


ACME = """
from typing import Annotated, Literal
from pydantic import Field, SecretStr
from loafer_core import MiddlewareSpec, Options, hookimpl
LOAFER_API = 1

class Account(Options):
    name: str
    region: Literal["eu", "us"]
    note: str = ""

class AcmeOptions(Options):
    topics: list[str] = Field(min_length=1)
    ports: Annotated[list[int], Field(min_length=2)]
    account: Account
    code: str = Field(min_length=8)
    share: float = Field(gt=5, lt=7)
    most: int = Field(le=0)
    arn: str = Field(pattern="^arn:", examples=["arn:acme:1"])
    token: SecretStr
    optional: str = "x"

def _middleware(options):
    async def middleware(message, call_next): ...
    return middleware

@hookimpl
def loafer_middlewares():
    return [MiddlewareSpec(name="acme", summary="Asks for everything", options=AcmeOptions, factory=_middleware)]
"""


def test_a_configuration_to_paste_has_a_value_for_whatever_must_be_given(install):
    install("loafer-acme", ACME, point="acme")

    told = CliRunner().invoke(main, ["plugins", "show", "acme"])
    pasted = "\n".join(line.strip() for line in told.stdout.splitlines() if line.startswith("    "))

    assert tomllib.loads(pasted)["routes"]["orders"]["middleware"] == {
        "name": "acme",
        "topics": ["topics"],
        "ports": [1, 1],
        "account": {"name": "name", "region": "eu"},
        "code": "code----",
        "share": 6.0,
        "most": 0,
        "arn": "arn:acme:1",
        "token": "${TOKEN}",
    }


def test_check_builds_what_needs_options(install):
    install("loafer-acme", ACME, point="acme")

    told = CliRunner().invoke(main, ["plugins", "check", "acme"])

    assert told.exit_code == 0
    assert "middleware acme: built in" in told.stdout


def test_a_sample_of_no_options_is_empty():
    assert required(None) == {}
    assert validate(None, required(None), "") == ({}, [])


@pytest.mark.parametrize("value", ['a"b\\c\n', {"a": [1, 2.5, True], "b": {}}, [], "ü"], ids=repr)
def test_a_sample_is_written_as_toml(value):
    assert tomllib.loads(f"value = {toml(value)}") == {"value": value}
