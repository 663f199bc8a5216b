"""The plugin contract: what holds for a distribution that Loafer finds by itself."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from loafer_core.api.errors import ConfigError
from loafer_core.config.json_schema import Schema
from loafer_core.config.validation import fields, validate
from loafer_core.discovery.installed import canonical
from loafer_core.discovery.loader import Plugin, Plugins, load
from loafer_core.discovery.registry import Offer
from loafer_core.testing.contracts.options import SECRET
from loafer_core.testing.kit.building import build
from loafer_core.testing.kit.checks import Contract, check
from loafer_core.testing.kit.verdict import Absent, expect

OLDEST = "say which core is the oldest that it works with, such as 'loafer-core>=0.1'"
NO_NEWEST = (
    "no later core could be installed beside it, though it may well work there. Say the oldest only, such as "
    "'loafer-core>=0.1': a core that cannot load it tells by its LOAFER_API"
)


class PluginContract(Contract):
    """Inherit it, and name the distribution::

    class TestPlugin(PluginContract):
        distribution = "loafer-acme"
    """

    distribution: str = ""
    """As it is installed."""
    readme: Path | None = None
    """Where the README is; None: beside the pyproject.toml above the package."""

    def subject(self) -> str:
        return f"{type(self).__name__}({self.distribution})"

    @check(
        contract="One entry point per plugin in the group 'loafer', naming a module that can be imported.",
        usually="the project was not installed again since the entry point was written (pip install -e .)",
    )
    def test_g1_its_entry_point_names_a_module_that_imports_in_a_fresh_process(self) -> None:
        expect(self._points(), f"{self.distribution} has no entry point in the group 'loafer'")
        for point in self._points():
            code = f"import importlib; importlib.import_module({point.value!r})"
            done = _python(code)
            expect(done.returncode == 0, f"importing {point.value} failed: {done.stderr.strip().splitlines()[-1:]}")

    @check(
        contract="The manifest module is light: standard library and loafer_core only.",
        usually="the client library is imported at the top of the module, or by the package's __init__",
    )
    def test_g2_declaring_imports_nothing_heavy(self) -> None:
        for plugin in self._plugins():
            strange = _imported_by(plugin.owner, tuple(sys.path)) - {
                point.value.split(".")[0] for point in self._points()
            }
            expect(not strange, f"listing the plugin {plugin.owner} imports {', '.join(sorted(strange))}")

    @check(
        contract="LOAFER_API is a number that this core loads, every hook exists, every declaration is one.",
        usually="a hook's name is misspelt, or it lacks @hookimpl",
    )
    def test_g3_it_loads(self) -> None:
        for plugin in self._plugins():
            expect(plugin.state == "ok", f"the plugin {plugin.owner} is {plugin.state}: {plugin.reason}")

    @check(
        contract="Names are [a-z][a-z0-9_-]*; those of the core's own components are reserved.",
        usually="a component is called after what it does, and the core has one of that name",
    )
    def test_g4_its_names_are_its_own(self) -> None:
        owners = {plugin.owner for plugin in self._plugins()}
        core = {
            (offer.spec.kind, offer.spec.name) for offer in _loaded().registry.offers() if offer.owner not in owners
        }
        taken = [o for o in self._offers() if (o.spec.kind, o.spec.name) in core]
        expect(not taken, f"offered by another installed plugin, too: {', '.join(offer.full_name for offer in taken)}")

    @check(
        contract="Options are the only schema there is: every field described, its default valid, secrets marked.",
        usually="Field(description=...) is missing, or a default that its own limits refuse; or str, not SecretStr",
    )
    def test_g5_its_options_are_documented(self) -> None:
        for offer in self._offers():
            kind = offer.spec.options
            name = f"{offer.spec.kind} {offer.spec.name}"
            if kind is None:
                continue
            try:
                json.dumps(TypeAdapter(kind).json_schema())
            except Exception as error:
                expect(False, f"{name}: its options have no JSON schema ({type(error).__name__}: {error})")
            for wrong in _undocumented(kind):
                expect(False, f"{name}: {wrong}")

    @check(
        contract="A factory takes the options and returns the component: a plain function, lazy and typed.",
        usually="the factory is async, takes keywords, or returns the class",
    )
    def test_g6_its_factories_take_options_and_give_components(self) -> None:
        for offer in self._offers():
            factory = offer.spec.factory
            name = f"{offer.spec.kind} {offer.spec.name}"
            expect(not inspect.iscoroutinefunction(factory), f"the factory of the {name} is async")
            try:
                inspect.signature(factory).bind(None)
            except TypeError as error:
                expect(False, f"the factory of the {name} cannot be called with options: {error}")
            if offer.kind.place and not any(field.required for field in fields(offer.spec.options)):
                made = self._built(offer)
                expect(made is not None and not inspect.isclass(made), f"the factory of the {name} gave {made!r}")

    @check(
        contract="The README tells every option; between its marks it says what `loafer plugins docs` says.",
        usually="an option was added: paste what `loafer plugins docs NAME` prints",
    )
    def test_g7_its_readme_is_current(self) -> None:
        from loafer_core.discovery.describe import markdown

        offers = self._offers()
        text = self._readme()
        options = {field.name: offer for offer in offers for field in fields(offer.spec.options)}
        missing = [name for name in options if f"`{name}`" not in text]
        expect(not missing, f"the README does not mention {', '.join(missing)}")
        for marked in re.finditer(r"<!-- loafer plugins docs (\S+) -->\n(.*?)(?=<!--|\Z)", text, re.DOTALL):
            meant = [o for o in offers if marked[1] in (o.spec.name, o.plugin, o.distribution)]
            current = "\n".join(markdown(meant)).strip()
            expect(marked[2].strip() == current, f"what stands behind the mark for {marked[1]!r} is not current")

    @check(
        contract="The distribution has py.typed, a summary, and the oldest loafer-core it works with; no newest.",
        usually="an empty file py.typed is missing in the package; or '>=0.1,<0.2', where '>=0.1' will do",
    )
    def test_g8_its_distribution_says_what_it_is(self) -> None:
        facts = metadata.metadata(self._installed())
        summary = facts["Summary"].strip() if "Summary" in facts else ""
        expect(summary not in ("", "UNKNOWN"), "it has no description of one line")
        needs = [
            line
            for line in metadata.requires(self._installed()) or ()
            if re.match(r"loafer[-_.]core(?![\w.-])", line, re.I)
        ]
        always = [line for line in needs if not re.search(r";.*\bextra\b", line)]
        expect(always, "it does not depend on loafer-core")
        for line in needs:
            expect(not re.search(r"~=|==|<", line.partition(";")[0]), f"it depends on {line!r}: {NO_NEWEST}")
        expect(any(">" in line.partition(";")[0] for line in always), f"it depends on {always[0]!r}: {OLDEST}")
        for package in self._packages():
            expect((package / "py.typed").is_file(), f"there is no py.typed in {package.name}")

    # --- what is looked at

    def _installed(self) -> str:
        try:
            return metadata.metadata(self.distribution)["Name"]
        except metadata.PackageNotFoundError:
            raise AssertionError(f"no distribution {self.distribution!r} is installed here") from None

    def _points(self) -> list[metadata.EntryPoint]:
        return list(metadata.distribution(self._installed()).entry_points.select(group="loafer"))

    def _plugins(self) -> list[Plugin]:
        wanted = canonical(self.distribution)
        return [plugin for plugin in _loaded().plugins if plugin.distribution == wanted] or _absent("entry point")

    def _offers(self) -> list[Offer]:
        owners = {plugin.owner for plugin in self._plugins() if plugin.state == "ok"} or _absent("plugin that loads")
        return [offer for offer in _loaded().registry.offers() if offer.owner in owners]

    def _built(self, offer: Offer) -> Any:
        try:
            return build(offer.spec.kind, offer.full_name, {})
        except ConfigError as error:
            return expect(False, f"the {offer.spec.kind} {offer.spec.name} cannot be built without options: {error}")

    def _packages(self) -> Iterator[Path]:
        for point in self._points():
            spec = find_spec(point.value.split(".")[0])
            yield from map(Path, (spec and spec.submodule_search_locations) or ())

    def _readme(self) -> str:
        if self.readme is not None:
            return self.readme.read_text(encoding="utf-8")
        for package in self._packages():
            for folder in package.parents[:4]:
                if (folder / "pyproject.toml").is_file() and (folder / "README.md").is_file():
                    return (folder / "README.md").read_text(encoding="utf-8")
        return str(metadata.metadata(self._installed()))


def _undocumented(kind: Any) -> Iterator[str]:
    schema = Schema(TypeAdapter(kind))
    for field in fields(kind):
        if not field.description:
            yield f"its option {field.name!r} has no description"
    for name, node in schema.names(()).items():
        if node.get("default") is not None:
            _, findings = validate(kind, {name: node["default"]}, "")
            wrong = [finding.message for finding in findings if finding.where == name]
            if wrong:
                yield f"the default of its option {name!r} is not valid: {wrong[0]}"
        leaves = schema.leaves(node)
        text = any(leaf.get("type") == "string" for leaf in leaves)
        marked = any(leaf.get("writeOnly") or leaf.get("format") == "password" for leaf in leaves)
        if text and SECRET.search(name) and not marked and _in_repr(kind, name):
            yield f"its option {name!r} looks like a secret, and its type is not pydantic's SecretStr"


def _in_repr(kind: Any, name: str) -> bool:
    declared = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", {})
    return bool(getattr(declared.get(name), "repr", True))


def _loaded() -> Plugins:
    return _load(tuple(sys.path))


@cache
def _load(path: tuple[str, ...]) -> Plugins:
    """Load the plugins once. ``path`` is ``sys.path``: with another one, other plugins are installed."""
    return load(env={})


@cache
def _imported_by(owner: str, path: tuple[str, ...]) -> set[str]:
    """Names of the packages that loading the plugin brings in, the core's and the standard library's left out."""
    code = (
        "import json, sys\n"
        "from loafer_core.api import options\n"
        "from loafer_core.discovery.loader import load\n"
        "load(only=['loafer-core/builtin'])\n"
        f"before = set(sys.modules); load(only=[{owner!r}])\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(json.dumps(sorted(new - {name.partition('.')[0] for name in before} - set(sys.stdlib_module_names))))"
    )
    done = _python(code)
    expect(done.returncode == 0, f"loading the plugin {owner} in a fresh process failed: {done.stderr[-300:]}")
    return set(json.loads(done.stdout.splitlines()[-1]))


def _python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh process that finds what this one finds."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603


def _absent(what: str) -> Any:
    raise Absent(what)
