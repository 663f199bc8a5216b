"""Handlers for `loafer run`: an attribute for each route, by the name of its queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from marks import ROUTES


def __getattr__(name: str) -> Callable[[dict[str, Any]], Any]:
    if name not in ROUTES:
        raise AttributeError(name)
    route = ROUTES[name]

    async def handle(payload: dict[str, Any]) -> None:
        await route.handle(payload)

    return handle
