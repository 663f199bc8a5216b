"""``python -m bench.server``: the first line that it prints is its URL. It ends when its standard input does."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from collections.abc import Callable
from typing import Any

from bench.server.actions import Service
from bench.server.connection import Connection, Server


async def main(latency: float, queues: list[str]) -> None:
    """``latency``: seconds added to every answer."""
    loop = asyncio.get_running_loop()
    service = Service(loop)
    for name in queues:
        service.ensure(name)
    server = Server(service, latency)
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=2048)
    host, port = listener.sockets[0].getsockname()
    service.url = f"http://{host}:{port}"
    # Whole collections take long among many messages, and nothing here is a cycle.
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    print(service.url, flush=True)
    orphaned = asyncio.Event()
    loop.add_reader(sys.stdin, orphaned.set)
    await orphaned.wait()
    listener.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--queue", action="append", default=[])
    arguments = parser.parse_args()
    run: Callable[..., Any] = asyncio.run
    try:
        import uvloop

        run = uvloop.run
    except ImportError:
        pass
    run(main(arguments.latency, arguments.queue))
