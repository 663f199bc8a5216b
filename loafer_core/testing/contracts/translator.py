"""The translator contract: pure, quick, and TranslationError for whatever cannot be read."""

from __future__ import annotations

import asyncio
import copy
import json
import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from loafer_core.api.components import Translation
from loafer_core.api.errors import TranslationError
from loafer_core.api.message import Message
from loafer_core.api.outcomes import Settle
from loafer_core.testing.contracts.component import ComponentChecks
from loafer_core.testing.kit.checks import check
from loafer_core.testing.kit.component_rig import ComponentRig, as_message
from loafer_core.testing.kit.harness import Body
from loafer_core.testing.kit.verdict import Absent, expect

MOST_SECONDS = 2.0
"""Seconds that one large body may take."""
ROUNDS = 300
"""How many damaged copies are made of each good body."""


class TranslatorContract(ComponentChecks):
    """Inherit it, name the component, and say what it reads and what it does not::

    class TestTranslator(TranslatorContract):
        component = "acme"
        good = ["<order/>"]
        bad = ["no xml"]
    """

    kind: ClassVar[str] = "translator"
    good: ClassVar[Sequence[Body | Message]] = ()
    """Bodies, or Messages, that it reads; at least one."""
    bad: ClassVar[Sequence[Body | Message]] = ()
    """Bodies that are not what it reads."""
    falsy: ClassVar[Mapping[Body, object]] = {}
    """Bodies whose payload is false in Python, and that payload: ``{"0": 0, "[]": []}``."""

    @check(
        contract="translate is pure: the same message gives the same payload, and is left as it was.",
        usually="something is remembered between two messages, or popped from the message's own dicts",
    )
    async def test_t1_it_is_pure(self, rig: ComponentRig) -> None:
        translator = await rig.open()
        expect(self.good, "the contract's class names no good body")
        for message in map(as_message, self.good):
            before = [copy.deepcopy(dict(facts)) for facts in (message.attributes, message.metadata)]
            first, second = translator.translate(message), translator.translate(message)
            same = (first.payload, first.metadata) == (second.payload, second.metadata)
            expect(same, f"two translations of one message differ: {first!r} and {second!r}")
            after = [dict(facts) for facts in (message.attributes, message.metadata)]
            expect(before == after, "the message's attributes or metadata are not what they were")

    @check(
        contract="0, '', [], {}, false and null are content like any other.",
        usually="`if not payload: raise ...`",
    )
    async def test_t2_false_content_is_content(self, rig: ComponentRig) -> None:
        if not self.falsy:
            raise Absent("falsy bodies")
        translator = await rig.open()
        for body, payload in self.falsy.items():
            translated = translator.translate(as_message(body)).payload
            same = translated == payload and type(translated) is type(payload)
            expect(same, f"the payload of the body {body!r} is {translated!r}, not {payload!r}")

    @check(
        contract="What cannot be read is a TranslationError. Its text never shows the payload.",
        usually="a KeyError or a decoder's error comes out; or the error's text quotes what it choked on",
    )
    async def test_t3_a_bad_body_is_a_translation_error_that_does_not_show_it(self, rig: ComponentRig) -> None:
        if not self.bad:
            raise Absent("bad bodies")
        translator = await rig.open()
        for message in map(as_message, self.bad):
            try:
                translator.translate(message)
            except TranslationError as error:
                shown = [word for word in _words(message.body) if word in _texts(error)]
                expect(not shown, f"the error's text shows {shown[:1]} of the body")
            except Exception as error:
                expect(False, f"a bad body raised {type(error).__name__}: {error}")
            else:
                expect(False, f"a bad body was read: {message.body[:80]!r}")

    @check(
        contract="translate returns Translation(payload, metadata={}); its facts go under its name in metadata.",
        usually="the payload itself, or a tuple, is returned; or the facts are no mapping of names",
    )
    async def test_t4_it_gives_a_translation(self, rig: ComponentRig) -> None:
        translator = await rig.open()
        for message in map(as_message, self.good):
            translation: Any = translator.translate(message)
            expect(isinstance(translation, Translation), f"translate() gave a {type(translation).__name__}")
            facts = translation.metadata
            fine = isinstance(facts, Mapping) and all(isinstance(name, str) for name in facts)
            expect(fine, f"its metadata is {facts!r}, not a mapping of names")

    @check(
        contract="translate runs on the loop: it may be called from anywhere, and never blocks.",
        usually="a parser that is kept and not safe to share; a network call; an algorithm that is quadratic",
    )
    async def test_t5_it_is_quick_and_may_be_called_side_by_side(self, rig: ComponentRig) -> None:
        translator = await rig.open()
        messages = [as_message(body, number) for number, body in enumerate([*self.good] * 20)]
        alone = [translator.translate(message).payload for message in messages]
        with ThreadPoolExecutor(4) as threads:
            together = [one.payload for one in threads.map(translator.translate, messages)]
        expect(alone == together, "translations in four threads differ from those one after the other")
        large = json.dumps({"text": "0123456789abcdef" * 16_384})
        began = time.monotonic()
        try:
            translator.translate(as_message(large))
        except (TranslationError, Settle):
            pass
        took = time.monotonic() - began
        expect(took < MOST_SECONDS, f"256 KiB took {took:.1f} s, and every route waits meanwhile")

    @check(
        contract="translate raises TranslationError (or Settle) and nothing else, whatever bytes come.",
        usually="UnicodeDecodeError, RecursionError, KeyError or AttributeError of a decoder that trusts its input",
    )
    async def test_t6_no_bytes_raise_anything_else(self, rig: ComponentRig) -> None:
        translator = await rig.open()
        for body in _odd_bodies([as_message(good).body for good in self.good]):
            try:
                translator.translate(as_message(body))
            except (TranslationError, Settle):
                pass
            except Exception as error:
                expect(False, f"{type(error).__name__} for the body {_short(body)}: {str(error)[:100]}")
        await asyncio.sleep(0)


def _odd_bodies(good: Sequence[Body]) -> Iterator[Body]:
    """Bytes and text of all kinds, the same ones every time."""
    yield from ("", b"", "\ud800", "\x00", b"\xff\xfe", "\ufeff{}", "9" * 5000, "-", "nan", "1e999", '"\\ud800"')
    yield from ("[" * 100_000, '{"a":' * 20_000, "null", "[]", "{}", '{"Records": {}}', '{"Type": "Notification"}')
    dice = random.Random(5)
    for _ in range(ROUNDS):
        yield dice.randbytes(dice.randrange(1, 60))
    for body in good:
        encoded = body.encode() if isinstance(body, str) else body
        for _ in range(ROUNDS):
            bits = bytearray(encoded)
            at = dice.randrange(max(1, len(encoded)))
            match dice.randrange(4):
                case 0:
                    del bits[at:]
                case 1:
                    bits[at : at + 1] = dice.randbytes(1)
                case 2:
                    bits[at:at] = dice.choice([b"null", b"{", b"[1]", b'"', b"\\u", b"-1", b"\xc3"])
                case 3:
                    del bits[at : at + dice.randrange(1, 8)]
            yield bytes(bits)


def _words(body: Body) -> list[str]:
    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    return [word for word in re.findall(r"[\w-]{8,}", text) if not word.isalpha()]


def _texts(error: BaseException | None) -> str:
    texts: list[str] = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(texts)


def _short(body: Body) -> str:
    return repr(body) if len(body) <= 60 else f"{body[:60]!r}... ({len(body)} long)"
