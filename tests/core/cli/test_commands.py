"""Commands of plugins: listed unbuilt, called by name, and harmless to all others when they are broken."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from loafer_core.cli import main

COMMAND = """
from loafer_core import CommandSpec, LoaferError, hookimpl

LOAFER_API = 1

def _factory(options):
    import click

    @click.command()
    @click.argument("word")
    def command(word):
        if word == "wrong":
            raise LoaferError("that word is\\nnot known")
        click.echo("{distribution}: " + word)

    return command

@hookimpl
def loafer_commands():
    return [CommandSpec(name="{name}", summary="Says a word, for {distribution}", factory={factory})]
"""


@pytest.fixture
def plugin(install):
    def plugin(distribution: str, *, name: str = "say", point: str = "acme", factory: str = "_factory"):
        source = COMMAND.replace("{distribution}", distribution).replace("{name}", name)
        install(distribution, source.replace("{factory}", factory), point=point)

    return plugin


def call(*words: str):
    return CliRunner().invoke(main, words)


def completions(*words: str) -> dict[str, str]:
    items = ShellComplete(main, {}, "loafer", "_LOAFER_COMPLETE").get_completions([*words[:-1]], words[-1])
    return {item.value: item.help for item in items}


def test_a_command_of_a_plugin_is_listed_and_called(plugin):
    plugin("acme-words")

    assert "say      Says a word, for acme-words" in call("--help").stdout
    assert (call("say", "hello").exit_code, call("say", "hello").stdout) == (0, "acme-words: hello\n")
    assert call("acme-words/say", "hello").stdout == "acme-words: hello\n"
    assert "Usage: main say [OPTIONS] WORD" in call("say", "--help").stdout


def test_a_loafer_error_of_a_command_is_shown_without_a_traceback(plugin):
    plugin("acme-words")

    told = call("say", "wrong")

    assert (told.exit_code, told.stderr) == (1, "Error: that word is\\nnot known\n")


BROKEN = {
    "raises": ("lambda options: 1 / 0", "raised ZeroDivisionError: division by zero"),
    "exits": ("lambda options: exit(3)", "raised SystemExit: 3"),
    "is something else": ("lambda options: print", "is a builtin_function_or_method, not a click.Command"),
}


@pytest.mark.parametrize(("factory", "fault"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_command_is_named_when_it_is_called_and_breaks_nothing_else(plugin, factory, fault):
    plugin("acme-words", factory=factory)

    assert "Says a word" in call("--help").stdout
    assert "say" in completions("")
    assert call("plugins", "list").exit_code == 0
    told = call("say", "hello")
    assert (told.exit_code, told.stderr) == (1, f"Error: the plugin acme-words/acme: its command 'say' {fault}\n")


def test_a_name_that_two_plugins_share_is_an_error_that_names_both_and_each_has_its_full_name(plugin):
    plugin("acme-words")
    plugin("loafer-words", point="words")

    told = call("say", "hello")

    assert told.exit_code == 2
    assert (
        "command 'say' is offered by the plugins acme-words/acme and loafer-words/words; write 'acme-words/say' or "
        "'loafer-words/say', or put one of them into plugins.disable"
    ) in told.stderr
    assert call("loafer-words/say", "hello").stdout == "loafer-words: hello\n"
    listed = call("--help").stdout
    assert "acme-words/say" in listed
    assert "loafer-words/say" in listed


def test_the_cores_commands_keep_their_names(plugin):
    plugin("acme-words", name="schema")

    assert call("schema").stdout.startswith("{")
    assert call("acme-words/schema", "hello").stdout == "acme-words: hello\n"
    assert "'schema' is the core's command; write 'acme-words/schema' for this one" in call("plugins", "list").stdout


def test_a_command_that_is_not_there_is_explained_by_the_plugin_that_is_broken(install):
    install("acme-words", "import no_such_sdk", point="say")

    told = call("say", "hello")

    assert told.exit_code == 2
    assert "the plugin acme-words/say is broken: cannot import 'acme_words_plugin': ModuleNotFound" in told.stderr
    assert "No such command 'rnu'" in call("rnu").stderr


# What the shell offers


@pytest.fixture
def shop(tmp_path, monkeypatch):
    (tmp_path / "loafer.toml").write_text(
        '[routes.orders]\nprovider = "sqs"\nhandler = "no_such_module:f"\n[routes.others]\n[routes.parcels]\n'
    )
    (tmp_path / "other.toml").write_text("[routes.letters]\n")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["run", "--route", ""], ["orders", "others", "parcels"]),
        (["run", "--route", "o"], ["orders", "others"]),
        (["run", "--route", "orders", "--route", "o"], ["others"]),
        (["run", "-c", "other.toml", "--route", ""], ["letters"]),
        (["send", "pa"], ["parcels"]),
        (["run", "-c", "missing.toml", "--route", ""], []),
        (["plugins", "show", "js"], ["json"]),
        (["sch"], ["schema"]),
        (["run", "--sand"], ["--sandbox"]),
    ],
)
def test_the_shell_is_offered_routes_and_plugins_by_name(shop, words, offered):
    assert [*completions(*words)] == offered


def test_the_shell_is_offered_plugins_without_importing_one(install):
    install("acme-words", "raise AssertionError('imported')", point="acme")

    assert [*completions("plugins", "docs", "ac")] == ["acme"]


def test_the_shell_is_offered_the_commands_of_plugins_with_their_summaries(plugin):
    plugin("acme-words")

    assert completions("sa") == {"say": "Says a word, for acme-words"}
