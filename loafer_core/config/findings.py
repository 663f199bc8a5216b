"""Collecting everything that is wrong, instead of stopping at the first, so that a user is told all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from loafer_core.api.errors import ConfigError, Finding

R = TypeVar("R")


class Findings:
    """The ConfigErrors that were collected so far."""

    def __init__(self, order: Callable[[Finding], Any] = lambda _: 0) -> None:
        """Start with none. ``order``: a sort key; without one the findings stay in the order in which they came."""
        self.order = order
        self.errors: list[ConfigError] = []

    @property
    def findings(self) -> list[Finding]:
        """The findings of all errors, sorted."""
        return sorted((finding for error in self.errors for finding in error.findings), key=self.order)

    def add(self, findings: ConfigError | Finding | Iterable[Finding]) -> None:
        self.errors.append(findings if isinstance(findings, ConfigError) else ConfigError(findings))

    def attempt(self, function: Callable[..., R], *args: Any) -> R | None:
        """Call ``function``: what it returns, or None if it raises a ConfigError, which is collected."""
        try:
            return function(*args)
        except ConfigError as error:
            self.add(error)
            return None

    def error(self) -> ConfigError:
        """Make one error of all. Its cause, which ``--traceback`` shows, is theirs; several causes become a group."""
        whole = ConfigError(self.findings)
        causes = [error.__cause__ for error in self.errors if error.__cause__ is not None]
        if len(causes) == 1:
            whole.__cause__ = causes[0]
        elif causes:
            whole.__cause__ = BaseExceptionGroup("several", causes)
        return whole

    def raise_if_any(self) -> None:
        """Raise what was collected as one ConfigError, also if an error without findings is all there is."""
        if self.errors:
            raise self.error()
