"""Loading plugins: each by itself, so that a broken one is named with its reason and no other notices."""

from __future__ import annotations

import importlib
import sys
import textwrap
from pathlib import Path

import pytest

from loafer_core.discovery import loader
from loafer_core.discovery.installed import canonical
from loafer_core.discovery.loader import Plugin, load, scan_only

PREAMBLE = """
from loafer_core import CommandSpec, ProviderSpec, SandboxSpec, TranslatorSpec, hookimpl

LOAFER_API = 1

def spec(spec_type, name="acme", summary="A component", factory=print):
    return spec_type(name=name, summary=summary, factory=factory)

"""

GOOD = """
@hookimpl
def loafer_providers():
    return [spec(ProviderSpec)]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a plugin as an installer would: a module, and the metadata of its distribution, on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def install(source: str = "", *, distribution="acme-queues", point="acme", module=None, preamble=PREAMBLE, at="."):
        module = module or f"{distribution}_{point}".replace("-", "_")
        site = tmp_path / at
        site.mkdir(exist_ok=True)
        (site / f"{module}.py").write_text(preamble + textwrap.dedent(source))
        metadata = site / f"{distribution}-1.0.dist-info"
        metadata.mkdir(exist_ok=True)
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nSummary: Acme\n"
        )
        points = metadata / "entry_points.txt"
        known = points.read_text() if points.exists() else "[loafer]\n"
        points.write_text(f"{known}{point} = {module}\n")
        importlib.invalidate_caches()
        return metadata

    yield install
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def loaded(owner: str = "acme-queues/acme", **switches) -> Plugin:
    plugins = load(env={}, **switches).plugins
    return next(plugin for plugin in plugins if plugin.owner == owner)


def test_a_plugin_is_ok_and_its_components_are_its_own(install):
    install(GOOD)

    plugins = load(env={})
    acme = next(plugin for plugin in plugins.plugins if plugin.plugin == "acme")

    assert (acme.state, acme.reason, acme.error) == ("ok", None, None)
    assert (acme.distribution, acme.version, acme.summary) == ("acme-queues", "1.0", "Acme")
    assert [(spec.kind, spec.name) for spec in acme.provides] == [("provider", "acme")]
    assert acme.load_seconds > 0
    assert plugins.registry.find("provider", "acme-queues/acme").owner == "acme-queues/acme"
    assert plugins.findings == []


def test_a_plugin_may_declare_in_a_tuple_and_in_several_hooks(install):
    install("""
        @hookimpl
        def loafer_translators():
            return ()

        @hookimpl
        def loafer_commands():
            return (spec(CommandSpec, "acme"),)

        @hookimpl
        def loafer_providers():
            return [spec(ProviderSpec, "acme"), spec(ProviderSpec, "acme-2")]
    """)

    assert [(spec.kind, spec.name) for spec in loaded().provides] == [
        ("provider", "acme"),
        ("provider", "acme-2"),
        ("command", "acme"),
    ]


def test_a_plugin_may_have_a_hook_of_a_later_core_when_it_says_that_it_is_optional(install):
    install(GOOD + "\n@hookimpl(optionalhook=True)\ndef loafer_wonders():\n    return []\n")

    assert loaded().state == "ok"


BROKEN = {
    "a syntax error": ("def :", "cannot import 'acme_queues_acme': SyntaxError: "),
    "an import that is not installed": (
        "import no_such_module",
        "cannot import 'acme_queues_acme': ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "an import that exits": ("raise SystemExit(3)", "cannot import 'acme_queues_acme': SystemExit: 3"),
    "no LOAFER_API": ("del LOAFER_API", "acme_queues_acme does not say LOAFER_API = 1"),
    "a LOAFER_API that is no number": ("LOAFER_API = True", "its LOAFER_API is True, which is no whole number such as"),
    "a LOAFER_API of a later core": (
        "LOAFER_API = 1000",
        "it was written for plugin API 1000, and this loafer-core loads 1: pip install -U loafer-core",
    ),
    "a LOAFER_API of an earlier core": (
        "LOAFER_API = 0",
        "it was written for plugin API 0, and this loafer-core loads 1: pip install -U acme-queues",
    ),
    "an import that an earlier or a later core has": (
        "from loafer_core import Horn",
        "; if it was written for another loafer-core: pip install -U loafer-core acme-queues",
    ),
    "an unknown hook": (
        "@hookimpl\ndef loafer_provider():\n    return []",
        "there is no hook 'loafer_provider'; did you mean 'loafer_providers'?",
    ),
    "an unmarked hook": ("def loafer_providers():\n    return []", "loafer_providers() is not marked with @hookimpl"),
    "a hook that wants arguments": (
        "@hookimpl\ndef loafer_providers(registry):\n    return []",
        "Argument(s) {'registry'} are declared in the hookimpl but can not be found in the hookspec",
    ),
    "a hook that raises": (
        "@hookimpl\ndef loafer_providers():\n    1 / 0",
        "loafer_providers() raised ZeroDivisionError: division by zero",
    ),
    "a hook that exits": ("@hookimpl\ndef loafer_providers():\n    exit(2)", "loafer_providers() raised SystemExit: 2"),
    "a hook that wraps": (
        "@hookimpl(wrapper=True)\ndef loafer_providers():\n    return (yield)",
        "loafer_providers() is a wrapper",
    ),
    "a coroutine function": (
        "@hookimpl\nasync def loafer_providers():\n    return []",
        "loafer_providers() is a coroutine function",
    ),
    "a generator": (
        "@hookimpl\ndef loafer_providers():\n    yield spec(ProviderSpec)",
        "loafer_providers() returned generator; it must return a list of ProviderSpec",
    ),
    "one declaration without a list": (
        "@hookimpl\ndef loafer_providers():\n    return spec(ProviderSpec)",
        "loafer_providers() returned ProviderSpec; it must return a list of ProviderSpec",
    ),
    "nothing": (
        "@hookimpl\ndef loafer_providers():\n    pass",
        "loafer_providers() returned NoneType; it must return a list of ProviderSpec",
    ),
    "a declaration that says it is of another kind": (
        "class Odd(ProviderSpec):\n    kind = 'odd'\n\n@hookimpl\ndef loafer_providers():\n    return [spec(Odd)]",
        "loafer_providers() returned a list with Odd in it; all must be ProviderSpec",
    ),
    "a declaration of another kind": (
        "@hookimpl\ndef loafer_providers():\n    return [spec(TranslatorSpec)]",
        "loafer_providers() returned a list with TranslatorSpec in it; all must be ProviderSpec",
    ),
    "a component name in capitals": (
        "@hookimpl\ndef loafer_providers():\n    return [spec(ProviderSpec, name='Acme')]",
        "the provider's name 'Acme' is not of the form [a-z]",
    ),
    "a component name that ends the line": (
        "@hookimpl\ndef loafer_providers():\n    return [spec(ProviderSpec, name='acme\\n')]",
        "the provider's name 'acme\\n' is not of the form [a-z]",
    ),
    "a component name that is no string": (
        "@hookimpl\ndef loafer_providers():\n    return [spec(ProviderSpec, name=7)]",
        "the provider's name 7 is not of the form [a-z]",
    ),
    "an empty summary": (
        "@hookimpl\ndef loafer_providers():\n    return [spec(ProviderSpec, summary=' ')]",
        "the provider 'acme' has no summary of one line",
    ),
    "a summary of two lines": (
        "@hookimpl\ndef loafer_providers():\n    return [spec(ProviderSpec, summary='a\\nb')]",
        "the provider 'acme' has no summary of one line",
    ),
    "a factory that cannot be called": (
        "@hookimpl\ndef loafer_providers():\n    return [spec(ProviderSpec, factory='acme:Provider')]",
        "the provider 'acme' has a factory that cannot be called",
    ),
    "one name twice": (
        "@hookimpl\ndef loafer_providers():\n    return [spec(ProviderSpec), spec(ProviderSpec)]",
        "loafer_providers() declares 'acme' twice",
    ),
    "a sandbox of another name": (
        "@hookimpl\ndef loafer_sandboxes():\n    return [spec(SandboxSpec, name='local')]",
        "the sandbox 'local' must have the name of the entry point, 'acme'",
    ),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_plugin_is_broken_with_a_reason_of_one_line_and_its_neighbours_are_not_when_it_has(install, source, reason):
    install(source)
    install(GOOD, distribution="before", point="aaa")
    install(GOOD, distribution="zebra", point="zebra")

    plugins = load(env={})

    acme = next(plugin for plugin in plugins.plugins if plugin.plugin == "acme")
    assert acme.state == "broken"
    assert reason in acme.reason
    assert "\n" not in acme.reason
    assert acme.provides == ()
    assert [plugin.state for plugin in plugins.plugins if plugin.plugin in ("aaa", "zebra")] == ["ok", "ok"]
    owners = {offer.owner for offer in plugins.registry.offers("provider")}
    assert {"before/aaa", "zebra/zebra"} <= owners
    assert "acme-queues/acme" not in owners


def test_a_core_loads_the_plugins_of_each_number_that_it_supports_and_no_other(install, monkeypatch):
    monkeypatch.setattr(loader, "APIS", {2: None, 4: None})
    for number in range(1, 6):
        install(f"LOAFER_API = {number}\n{GOOD}", distribution=f"queues-{number}")

    reasons = {number: loaded(f"queues-{number}/acme").reason for number in range(1, 6)}

    assert reasons == {
        1: "it was written for plugin API 1, and this loafer-core loads 2, 4: pip install -U queues-1",
        2: None,
        3: "it was written for plugin API 3, and this loafer-core loads 2, 4: pip install -U queues-3",
        4: None,
        5: "it was written for plugin API 5, and this loafer-core loads 2, 4: pip install -U loafer-core",
    }


def test_of_a_plugin_with_another_number_no_hook_is_called(install, tmp_path):
    witness = tmp_path / "called"
    install(
        f"LOAFER_API = 0\n@hookimpl\ndef loafer_providers():\n    open({str(witness)!r}, 'w').close()\n    return []"
    )

    assert loaded().state == "broken"
    assert not witness.exists()


def test_a_broken_plugin_keeps_its_own_exception_with_the_traceback(install):
    install("@hookimpl\ndef loafer_providers():\n    1 / 0\n")

    error = loaded().error

    assert isinstance(error, ZeroDivisionError)
    assert error.__traceback__ is not None


def test_a_broken_plugin_gives_nothing_when_only_its_last_hook_fails(install):
    install(GOOD + "\n@hookimpl\ndef loafer_translators():\n    raise ValueError('no')\n")

    plugins = load(env={})

    assert not [offer for offer in plugins.registry.offers() if offer.plugin == "acme"]


def test_a_plugin_that_is_interrupted_by_the_user_interrupts_the_loading(install):
    install("raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        load(env={})


@pytest.mark.parametrize("target", ["acme_queues_acme:plugin", "acme queues", ""])
def test_a_plugin_is_broken_when_its_entry_point_names_no_module(install, target):
    (install(GOOD) / "entry_points.txt").write_text(f"[loafer]\nacme = {target}\n")

    assert loaded().reason == f"its entry point names {target!r}, which is not a module"


def test_a_plugin_is_broken_when_its_entry_point_has_a_name_that_no_configuration_could_write(install):
    install(GOOD, point="Acme Queues", module="acme_plugin")

    assert "the entry point's name 'Acme Queues' is not of the form" in loaded("acme-queues/Acme Queues").reason


def test_a_plugin_is_broken_when_its_list_of_entry_points_cannot_be_read(install):
    (install(GOOD) / "entry_points.txt").write_text("[loafer]\nacme\n")

    assert loaded("acme-queues/acme-queues").state == "broken"


def test_a_module_cannot_be_two_plugins(install):
    install(GOOD, module="shared_plugin")
    install(GOOD, distribution="copycat", point="zz", module="shared_plugin")

    assert loaded().state == "ok"
    assert loaded("copycat/zz").reason == "its module shared_plugin is the plugin acme-queues/acme already"


def test_two_distributions_may_use_one_entry_point_name_and_one_distribution_may_have_several(install):
    install(GOOD)
    install(GOOD, distribution="other-queues")
    install(GOOD.replace("ProviderSpec", "ProviderSpec, 'more'"), point="more")

    owners = {offer.owner for offer in load(env={}).registry.offers("provider")}

    assert {"acme-queues/acme", "other-queues/acme", "acme-queues/more"} <= owners


def test_a_stranger_with_a_name_of_the_core_is_ok_and_there_is_a_warning_with_the_name_to_write(install):
    install(GOOD.replace("ProviderSpec", "TranslatorSpec, 'text'").replace("providers", "translators"))

    plugins = load(env={})

    assert plugins.registry.find("translator", "text").distribution == "loafer-core"
    assert plugins.registry.find("translator", "acme-queues/text").plugin == "acme"
    assert [(finding.where, finding.level) for finding in plugins.findings] == [("acme-queues/acme", "warning")]
    assert "write 'acme-queues/text'" in plugins.findings[0].message


@pytest.mark.parametrize(
    ("disable", "only", "env", "reason"),
    [
        (["acme"], [], {}, "plugins.disable names it"),
        (["Acme.Queues/acme"], [], {}, "plugins.disable names it"),
        ([], ["other"], {}, "plugins.only does not name it"),
        ([], [], {"LOAFER_PLUGINS_DISABLE": "json, acme"}, "LOAFER_PLUGINS_DISABLE names it"),
        ([], [], {"LOAFER_PLUGINS_ONLY": "other-queues/other"}, "LOAFER_PLUGINS_ONLY does not name it"),
        (["acme"], ["acme"], {}, "plugins.disable names it"),
        ([], ["acme"], {"LOAFER_PLUGINS_ONLY": "other"}, "LOAFER_PLUGINS_ONLY does not name it"),
    ],
)
def test_a_blocked_plugin_is_never_imported_whoever_objects(install, tmp_path, disable, only, env, reason):
    witness = tmp_path / "imported"
    install(f"open({str(witness)!r}, 'w').close()")
    install(GOOD, distribution="other-queues", point="other")

    plugins = load(disable, only, env=env)

    acme = next(plugin for plugin in plugins.plugins if plugin.plugin == "acme")
    assert (acme.state, acme.reason, acme.provides) == ("blocked", reason, ())
    assert not witness.exists()


@pytest.mark.parametrize("name", ["acme", "acme-queues/acme", "Acme_Queues/acme"])
def test_only_lets_through_what_it_names_and_the_cores_own(install, name):
    install(GOOD)

    states = {plugin.owner: plugin.state for plugin in load(only=[name], env={}).plugins}

    assert states.pop("acme-queues/acme") == "ok"
    assert states.pop("loafer-core/builtin") == "ok"
    assert set(states.values()) <= {"blocked"}


def test_a_plugin_of_another_distribution_is_not_meant_by_distribution_and_entry_point(install):
    install(GOOD)

    assert loaded(disable=["other-queues/acme"]).state == "ok"


def test_an_empty_environment_variable_switches_nothing(install):
    install(GOOD)

    plugins = load(env={"LOAFER_PLUGINS_ONLY": "", "LOAFER_PLUGINS_DISABLE": " , "})

    assert next(plugin.state for plugin in plugins.plugins if plugin.plugin == "acme") == "ok"
    assert plugins.findings == []


def test_a_switch_that_names_no_plugin_is_a_warning_with_the_nearest_name(install):
    install(GOOD)

    plugins = load(["acne"], env={"LOAFER_PLUGINS_DISABLE": "acme-queues"})

    assert list(map(str, plugins.findings)) == [
        "plugins.disable: no installed plugin is called 'acne'; did you mean 'acme'?",
        "LOAFER_PLUGINS_DISABLE: no installed plugin is called 'acme-queues'; did you mean 'acme-queues/acme'?",
    ]
    assert {finding.level for finding in plugins.findings} == {"warning"}


@pytest.mark.parametrize("name", ["builtin", "loafer-core/builtin"])
def test_the_cores_own_plugin_cannot_be_blocked(name):
    plugins = load([name], env={})

    assert (plugins.plugins[0].owner, plugins.plugins[0].state) == ("loafer-core/builtin", "ok")
    assert "cannot be blocked" in plugins.findings[0].message


def test_scan_only_lists_what_is_installed_and_imports_none_of_it(install, tmp_path):
    witness = tmp_path / "imported"
    install(f"open({str(witness)!r}, 'w').close()")

    acme = next(plugin for plugin in scan_only() if plugin.plugin == "acme")

    assert (acme.version, acme.state, acme.reason, acme.provides) == ("1.0", None, None, ())
    assert scan_only()[0].owner == "loafer-core/builtin"
    assert not witness.exists()


def test_plugins_come_by_name_and_distribution_whatever_the_order_of_the_directory(install):
    install(GOOD, distribution="zebra", point="acme")
    install(GOOD, distribution="acme-queues", point="acme")
    install(GOOD, distribution="zulu", point="aaa")

    ours = [p.owner for p in scan_only() if p.distribution in ("zebra", "acme-queues", "zulu")]

    assert ours == ["zulu/aaa", "acme-queues/acme", "zebra/acme"]


def test_a_second_copy_of_a_distribution_further_down_the_path_is_not_listed(install, tmp_path, monkeypatch):
    (install(GOOD, at="older") / "METADATA").write_text("Name: Acme.Queues\nVersion: 0.1\n")
    install(GOOD)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "older")])

    assert [plugin.version for plugin in scan_only() if plugin.plugin == "acme"] == ["1.0"]


def test_what_an_interrupted_uninstall_left_behind_is_no_plugin(install):
    (install(GOOD) / "METADATA").unlink()

    assert not [plugin for plugin in scan_only() if plugin.plugin == "acme"]


@pytest.mark.parametrize(
    ("direct_url", "origin"),
    [
        ('{"url": "file:///home/ann/acme%20q", "dir_info": {"editable": true}}', "editable /home/ann/acme q"),
        ('{"url": "file:///home/ann/acme", "dir_info": {}}', "directory /home/ann/acme"),
        (
            '{"url": "https://ann:secret@example.org/acme.git", "vcs_info": '
            '{"vcs": "git", "commit_id": "0123456789abcdef0123456789abcdef01234567"}}',
            "git https://example.org/acme.git at 0123456789ab",
        ),
        (
            '{"url": "file:///tmp/acme-1.0-py3-none-any.whl", "archive_info": {}}',
            "wheel /tmp/acme-1.0-py3-none-any.whl",
        ),
        ('{"url": "https://example.org/acme.tar.gz", "archive_info": {}}', "archive https://example.org/acme.tar.gz"),
        ('{"url": 7}', "unknown"),
        ("{", "unknown"),
    ],
)
def test_the_origin_of_a_plugin_is_told_from_pep_610_and_without_the_password(install, direct_url, origin):
    (install(GOOD) / "direct_url.json").write_text(direct_url)

    assert next(plugin.origin for plugin in scan_only() if plugin.plugin == "acme") == origin


def test_the_origin_of_a_plugin_without_pep_610_is_a_wheel_or_the_directory_where_it_lies(install, tmp_path):
    (install(GOOD) / "WHEEL").write_text("Wheel-Version: 1.0\n")
    install(GOOD, distribution="by-hand", point="by-hand")

    origins = {plugin.plugin: plugin.origin for plugin in scan_only()}

    assert origins["acme"] == "wheel"
    assert Path(origins["by-hand"].removeprefix("directory ")) == tmp_path


def test_distributions_have_one_spelling():
    assert canonical("Loafer_SQS") == canonical("loafer.-sqs") == "loafer-sqs"
