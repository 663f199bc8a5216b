"""What a check can find: the contract is kept, it is broken, or there is nothing to check."""

from __future__ import annotations


class Broken(Exception):
    """The contract is not kept. The text says what was seen."""


class Absent(Exception):
    """The source, the provider or the harness has no such ability. The check is skipped, and named by the ability."""


def expect(kept: object, seen: str) -> None:
    """Raise Broken, with what was seen, where the contract is not kept."""
    if not kept:
        raise Broken(seen)
