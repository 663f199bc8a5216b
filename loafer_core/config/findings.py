"""Collecting what is wrong instead of stopping at the first, so that a user is told everything at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from loafer_core.api.errors import ConfigError, Finding

R = TypeVar("R")


class Findings:
    """The ConfigErrors so far: their findings, by ``order`` or else as they came, and what was raised behind them."""

    def __init__(self, order: Callable[[Finding], Any] = lambda _: 0) -> None:
        self.order = order
        self.errors: list[ConfigError] = []

    @property
    def findings(self) -> list[Finding]:
        return sorted((finding for error in self.errors for finding in error.findings), key=self.order)

    def add(self, findings: ConfigError | Finding | Iterable[Finding]) -> None:
        self.errors.append(findings if isinstance(findings, ConfigError) else ConfigError(findings))

    def attempt(self, call: Callable[..., R], *args: Any) -> R | None:
        """Give what ``call`` gives; where it raises ConfigError, None."""
        try:
            return call(*args)
        except ConfigError as error:
            self.add(error)
            return None

    def error(self) -> ConfigError:
        """All of it as one error. Its cause, for ``--traceback``, is what was raised: one, or several as a group."""
        gathered = ConfigError(self.findings)
        causes = [error.__cause__ for error in self.errors if error.__cause__ is not None]
        gathered.__cause__ = (
            causes[0] if len(causes) == 1 else BaseExceptionGroup("several", causes) if causes else None
        )
        return gathered

    def raise_if_any(self) -> None:
        if self.errors:
            raise self.error()
