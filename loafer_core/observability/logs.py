"""How ``loafer run`` writes its log to stderr: a record is one line, and no text in it can forge another one."""

from __future__ import annotations

import logging
import os

QUIET = ("botocore", "aiobotocore", "aiohttp", "urllib3", "boto3", "werkzeug")
"""Loggers of SDKs that write bodies and credentials at DEBUG; kept at WARNING unless LOAFER_DEBUG_AWS=1 is set."""


def printable(text: str) -> str:
    """Escape what would move the cursor or forge a line: control characters and Unicode's line separators."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class OneLine(logging.Formatter):
    """``12:00:00 INFO    message``; a traceback follows on lines of its own, indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:
        return _indented(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:
        return _indented(stack_info)


def _indented(text: str) -> str:
    return "\n".join("    " + printable(line) for line in text.split("\n"))


def set_up(level: str) -> None:
    """Log to stderr from ``level`` on."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    asked_for = os.environ.get("LOAFER_DEBUG_AWS") == "1"
    level_of_sdks = logging.DEBUG if asked_for else max(logging.WARNING, logging.getLevelName(level.upper()))
    for name in QUIET:
        logging.getLogger(name).setLevel(level_of_sdks)
