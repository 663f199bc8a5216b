"""One JSON text in, one Python value out.

JSON is what RFC 8259 says and no more: UTF-8, no NaN, no Infinity, no lone surrogate, no control character in a string.
Where the RFC leaves a choice: a leading byte order mark is skipped (§8.1), the last of duplicate names wins (§4), a
number must lie within the range of a double (§6), and arrays and objects nest at most 200 deep (§9).
"""

from __future__ import annotations

import codecs
import json
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from loafer_core import TranslationError
from loafer_json.adapter import words_of

_SHOWN = 5
"""Misfits that an error names."""
_LISTED = 1000
"""Misfits beyond which none is named: pydantic can only list all of them, at some 4 µs each."""
_NUMBER_SHAPES = bytes.maketrans(b"123456789E", b"000000000e")


class Decoder:
    """Decodes JSON into one type.

    Args:
        adapter: of the type; None = whatever JSON can say, as plain values.
        name: what users call the type. Errors show it.
        max_bytes: longest text that is read, bytes of UTF-8.
    """

    def __init__(self, max_bytes: int, adapter: TypeAdapter[Any] | None = None, name: str = "") -> None:
        self._max_bytes, self._name = max_bytes, name
        adapter = adapter or TypeAdapter(Any)
        self._validate, self._words = adapter.validator.validate_json, words_of(adapter)

    def decode(self, body: str | bytes) -> Any:
        """Raise TranslationError, whose text has places and kinds of error, and nothing of the body.

        What a validator of the type raises beside ValueError and AssertionError passes as it is: a bug or a Settle of
        the user's, not a fault of the message.
        """
        raw = self.encode(body).removeprefix(codecs.BOM_UTF8)
        try:
            value = self._validate(raw)
            if _may_hold_forbidden_number(raw):
                json.loads(raw, parse_constant=_refuse_constant, parse_float=_check_range, parse_int=_check_range)
            return value
        except ValidationError as error:
            fault = self._describe(error)
        except RecursionError:
            fault = "nested too deep"
        except _Refused as error:
            fault = str(error)
        # Raised out here, so that no __context__ keeps the body within a logger's or a reporter's reach.
        raise TranslationError(fault)

    def encode(self, body: str | bytes) -> bytes:
        """Give the bytes that ``decode`` reads. Raises TranslationError: too many, or a lone surrogate."""
        try:
            raw = body.encode() if isinstance(body, str) else body
        except UnicodeEncodeError:
            raw = None
        if raw is None:
            raise TranslationError("not JSON: a lone surrogate")
        if len(raw) > self._max_bytes:
            raise TranslationError(f"{len(raw)} bytes are more than max_bytes = {self._max_bytes}")
        return raw

    def _describe(self, error: ValidationError) -> str:
        count = error.error_count()
        if count > _LISTED:
            return f"does not fit {self._name}: {count} errors"
        details = error.errors(include_url=False, include_input=False)
        if details[0]["type"] == "json_invalid" and not details[0]["loc"]:
            return f"not JSON: {details[0]['ctx']['error']}"
        named = [f"{self._place(detail['loc'])} ({detail['type']})" for detail in details[:_SHOWN]]
        more = f" and {count - _SHOWN} more" if count > _SHOWN else ""
        return f"does not fit {self._name}: {', '.join(named)}{more}"

    def _place(self, loc: tuple[int | str, ...]) -> str:
        """Give the path of a misfit. A part that is no word of the type is a key that the sender chose: not shown."""
        return ".".join(str(part) if isinstance(part, int) or part in self._words else "*" for part in loc) or "it"


class _Refused(Exception):
    """Why a body is not read. Says nothing of what is in it."""


def _may_hold_forbidden_number(raw: bytes) -> bool:
    """Tell, at the price of a scan, the few bodies that need a second reading: pydantic lets these numbers pass.

    A double overflows with an exponent of three digits, or with more integer digits than an exponent of two adds.
    """
    shape = raw.translate(_NUMBER_SHAPES, b"+")
    return b"e000" in shape or b"0" * 200 in shape or b"NaN" in raw or b"Infinity" in raw


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(f"not JSON: {name} is no number")


def _check_range(digits: str) -> None:
    if float(digits) in (float("inf"), float("-inf")):
        raise _Refused("a number beyond the range of a double")
