"""Every error that Loafer raises, on one page.

::

    LoaferError
    ├── ConfigError            what the user wrote cannot be run; carries findings
    ├── PluginError            a plugin broke its word; carries the plugin's name
    ├── ProviderError          what a provider raises; anything else counts as Unavailable
    │   ├── Throttled          slower, please
    │   ├── Unavailable        down or out of reach; try again
    │   ├── CredentialError    who we are was not accepted
    │   └── SourceConfigError  it answered: there is no such source, or not for us
    ├── TranslationError       a translator cannot read this message
    ├── OutcomeError           a handler or middleware answered something that is no outcome
    └── RouteFailed            a route ended by itself; carries the route's name
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or odd: its place, and in one text what is wrong and the way out of it."""

    where: str
    """A dotted path (``routes.orders.provider.queue``), a plugin's name, or ``""``."""
    message: str
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class LoaferError(Exception):
    """Base of every error of Loafer. Shown to users without a traceback."""


class ConfigError(LoaferError):
    """What the user wrote cannot be run. ``findings`` has everything that is wrong, not only the first."""

    def __init__(self, findings: Finding | Iterable[Finding]) -> None:
        self.findings: tuple[Finding, ...] = (findings,) if isinstance(findings, Finding) else tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


class PluginError(LoaferError):
    """A plugin cannot be used. ``plugin`` names it as distribution/entry-point."""

    def __init__(self, plugin: str, message: str) -> None:
        super().__init__(f"plugin {plugin}: {message}")
        self.plugin = plugin


class ProviderError(LoaferError):
    """Base of the four errors that a provider raises. Any other error of a provider counts as Unavailable."""


class Throttled(ProviderError):
    """The source wants fewer requests: back off from 1 s, at most 30 s."""


class Unavailable(ProviderError):
    """The source is down or out of reach, or answered nonsense: back off from 0.25 s, at most 20 s.

    A handler may raise it too, to say that what it depends on is down (the breaker counts it).
    """


class CredentialError(ProviderError):
    """The credentials were missing, expired or refused: back off up to 60 s, reopen the provider after three."""


class SourceConfigError(ProviderError):
    """The source does not exist or is not for us. Ends the start; at run time it degrades its route only."""


class TranslationError(LoaferError):
    """The translator cannot read this message. Its text never shows the payload."""


class OutcomeError(LoaferError):
    """A handler (``returns = "strict"``) or a middleware answered something that is no outcome."""


class RouteFailed(LoaferError):
    """A route ended by itself; the cause is chained."""

    def __init__(self, route: str, message: str) -> None:
        super().__init__(f"route {route!r}: {message}")
        self.route = route
