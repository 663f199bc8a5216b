"""Sees the files, sockets and processes that code uses: Python reports each by an audit event, which none escapes."""

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
"""Names of the audit events that are I/O."""
_watched = threading.local()
"""``seen``: the lines of a thread that is watched now."""
_hooks: list[Callable[[str, tuple[object, ...]], None]] = []


def _hook(event: str, args: tuple[object, ...]) -> None:
    seen: list[str] | None = getattr(_watched, "seen", None)
    if seen is not None and event in _IO:
        # The first argument says what is used; of a connect it is the socket, and the second says where to.
        seen.append(f"{event} {args[1 if event == 'socket.connect' else 0]!r}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """Give a list that fills, while the context lasts, with a line for each thing that this thread uses.

    Importing a module opens files, too: do it once before.
    """
    if not _hooks:
        # Once, as no audit hook can be taken back.
        _hooks.append(_hook)
        sys.addaudithook(_hook)
    seen: list[str] = []
    _watched.seen = seen
    try:
        yield seen
    finally:
        _watched.seen = None
