"""Taking a message's own words out of a text: exceptions like to quote what they choked on."""

from __future__ import annotations

import json
from collections.abc import Iterator

REDACTED = "[redacted]"
LEAST = 4
"""Characters of the shortest value that is looked for; shorter ones would hit innocent words."""
MOST = 65_536
"""Bytes of the largest body that is taken apart; of a larger one, every text is withheld whole."""


class Redaction:
    """Knows the body of one message, and every text and number in it if it is JSON."""

    def __init__(self, body: str | bytes) -> None:
        self._withhold = len(body) > MOST
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        found = set() if self._withhold else set(_fragments(text))
        self._fragments = sorted(found, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Give ``text`` without anything that stands in the body."""
        if self._withhold:
            return REDACTED
        for fragment in self._fragments:
            text = text.replace(fragment, REDACTED)
        return text


def _fragments(text: str) -> Iterator[str]:
    pieces = [text, text.strip()]
    try:
        pieces += _leaves(json.loads(text))
    except (ValueError, RecursionError):
        pieces += text.split()
    for piece in pieces:
        if len(piece) >= LEAST:
            yield piece
            yield repr(piece)[1:-1]
            yield json.dumps(piece)[1:-1]


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():  # the names of fields are the schema's, and tell where it hurts
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
