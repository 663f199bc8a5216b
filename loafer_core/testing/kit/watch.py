"""Sees what code does to the world outside: sockets, files, processes. By audit events, which nothing escapes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_IO = {"open", "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen"} | {
    "sqlite3.connect",
    "os.mkdir",
    "os.remove",
    "os.rename",
}
_watched = threading.local()
_hooks: list[Callable[[str, tuple[object, ...]], None]] = []


def _hook(event: str, args: tuple[object, ...]) -> None:
    seen: list[str] | None = getattr(_watched, "seen", None)
    if seen is not None and event in _IO:
        seen.append(f"{event} {args[0]!r}" if event != "socket.connect" else f"{event} {args[1]!r}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """Give what this thread does meanwhile, one line for each. Importing counts: do it once before."""
    if not _hooks:
        _hooks.append(_hook)
        sys.addaudithook(_hook)  # for the rest of the process: there is no way to take one back
    seen: list[str] = []
    _watched.seen = seen
    try:
        yield seen
    finally:
        _watched.seen = None
