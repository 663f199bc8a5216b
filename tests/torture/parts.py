"""Scripts that do several things, all of them unless somebody names some."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def add_parts(parser: argparse.ArgumentParser, parts: Sequence[str]) -> None:
    # Not `choices`: argparse would hold the default, all of them, against each.
    def part(text: str) -> str:
        if text not in parts:
            raise argparse.ArgumentTypeError(f"there is no part {text!r}, only {', '.join(parts)}")
        return text

    words = f"of {', '.join(parts)} (default: all)"
    parser.add_argument("parts", nargs="*", type=part, default=parts, metavar="part", help=words)
