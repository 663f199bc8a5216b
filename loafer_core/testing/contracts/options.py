"""The options of a component: read before anything else happens, refused by their path, secrets kept to themselves."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from pydantic import TypeAdapter

from loafer_core.api.errors import ConfigError
from loafer_core.api.kinds import KINDS
from loafer_core.config.json_schema import Node, Schema
from loafer_core.testing.kit.building import WHERE, build, objection, offer_of, resolve
from loafer_core.testing.kit.checks import Contract, check
from loafer_core.testing.kit.verdict import Absent, expect
from loafer_core.testing.kit.watch import watched

CANARY = "contract-kit-canary"
"""A value that no error may show."""
SECRET = re.compile(r"secret|token|passw|passphrase|dsn|credential|(api|access|private)_?key", re.IGNORECASE)
"""Names of options that are likely to be secrets."""
Options = Mapping[str, object]


class OptionsChecks(Contract):
    """What holds for every kind of component. ``options`` of the harness are valid ones."""

    kind: ClassVar[str]

    @check(
        contract="A component is built from valid options, and is what its kind is.",
        usually="the factory returns a class, or None; a method of the protocol has another name",
    )
    async def test_o1_valid_options_build_a_component(self, rig: Any) -> None:
        wrong = objection(self.kind, self.make(await rig.options()))
        expect(wrong is None, f"the factory gave no {KINDS[self.kind].label}: {wrong}")

    @check(
        contract="Wrong options are refused before anything happens, each by its path.",
        usually="options are a plain dict, or extra='ignore'; types and limits are checked in the constructor",
    )
    async def test_o2_wrong_options_are_refused_by_their_path(self, rig: Any) -> None:
        options = await rig.options()
        for name, wrong in self._wrong(options):
            with watched() as seen:
                findings = self._refused(wrong)
            expect(findings, f"{_shown(wrong, name)} was accepted")
            places = [where for where, _ in findings]
            right = any(where == WHERE or where.startswith(f"{WHERE}.{name}") for where in places)
            expect(right, f"{_shown(wrong, name)} was refused, but as a problem of {', '.join(places)}")
            expect(not seen, f"{_shown(wrong, name)} was refused only after {'; '.join(seen)}")

    @check(
        contract="Constructor and factory: no I/O, no running loop.",
        usually="a client, a connection or an asyncio.Event is made in __init__: make it in open()",
    )
    async def test_o3_building_does_no_io_and_needs_no_loop(self, rig: Any) -> None:
        options = await rig.options()
        seen: list[str] = []
        self.make(options)  # So that what is heavy is imported already: imports open files.

        def elsewhere() -> None:
            with watched() as used:
                try:
                    self.make(options)
                except Exception as error:
                    seen.append(f"it raised {type(error).__name__}: {error}")
            seen.extend(used)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        expect(not seen, f"built in a thread without a loop: {'; '.join(seen)}")

    @check(
        contract="Secrets are in no repr and in no error.",
        usually="str where pydantic's SecretStr is meant, or a repr that shows the options",
    )
    async def test_o4_secrets_are_never_shown(self, rig: Any) -> None:
        options = await rig.options()
        schema = self._schema()
        hidden = [name for name in schema.names(()) if schema.secret((name,))]
        secrets = {name: str(options[name]) for name in hidden if len(str(options.get(name, ""))) > 5}
        if not hidden:
            raise Absent("secrets")
        self._show_nothing(secrets, repr(self.make(options)), "the component's repr shows")
        declared = resolve(self.kind, self.component, options).options
        self._show_nothing(secrets, f"{declared!r} {declared}", "the repr of its options shows")
        for name in hidden:
            text = " ".join(what for _, what in self._refused({**options, name: [CANARY]}))
            expect(CANARY not in text, f"the error about a wrong {name} shows what was written: {text}")
        text = " ".join(what for _, what in self._refused({**options, f"{CANARY[:8]}-unknown": 1}))
        self._show_nothing(secrets, text, "the error about another option shows")

    def make(self, options: Options) -> Any:
        """Build the component under test."""
        return build(self.kind, self.component, options)

    def _show_nothing(self, secrets: Mapping[str, str], text: str, what: str) -> None:
        for name, secret in secrets.items():
            expect(secret not in text, f"{what} the value of {name}")

    def _schema(self) -> Schema:
        offer = offer_of(self.kind, self.component)
        if offer is None or offer.spec.options is None:
            raise Absent("declared options")
        return Schema(TypeAdapter(offer.spec.options))

    def _refused(self, options: Options) -> list[tuple[str, str]]:
        """Give place and text of each finding; nothing if the options were accepted."""
        try:
            resolve(self.kind, self.component, options)
        except ConfigError as error:
            return [(finding.where, finding.message) for finding in error.findings]
        return []

    def _wrong(self, options: Options) -> Iterator[tuple[str, Options]]:
        """Each way to be wrong that the schema tells, with the option that it is about."""
        schema = self._schema()
        yield "no_such_option", {**options, "no_such_option": 1}
        required = {name for node in schema.at(()) for name in node.get("required", ())}
        for name, node in schema.names(()).items():
            leaves = schema.leaves(node)
            if name in required:
                yield name, {key: value for key, value in options.items() if key != name}
            for value in (*_wrong_type(leaves), *_out_of_range(leaves)):
                yield name, {**options, name: value}


def _wrong_type(leaves: list[Node]) -> Iterator[object]:
    kinds = {leaf.get("type") for leaf in leaves}
    if kinds <= {"string", "integer", "number", "boolean", "null"}:
        yield {"no": "such table"}
    if kinds <= {"integer", "number", "null"}:
        yield from ("no number", True)


def _out_of_range(leaves: list[Node]) -> Iterator[object]:
    if len([leaf for leaf in leaves if leaf.get("type") in ("integer", "number")]) != 1 or len(leaves) > 2:
        return
    bounds: list[tuple[str, Callable[[Any], Any]]] = [
        ("minimum", lambda low: low - 1),
        ("exclusiveMinimum", lambda low: low),
        ("maximum", lambda high: high + 1),
        ("exclusiveMaximum", lambda high: high),
    ]
    for leaf in leaves:
        yield from (beyond(leaf[key]) for key, beyond in bounds if key in leaf)


def _shown(options: Options, name: str) -> str:
    return f"{name} = {options[name]!r}" if name in options else f"no {name}"
