"""Which plugins are installed: the one place that asks ``importlib-metadata``.

The backport and not the standard library: ``Distribution.origin`` (PEP 610, where a distribution came from) is not in
the standard library before Python 3.13. It is imported when first asked, as most commands never ask.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from importlib_metadata import IDistribution as Distribution

GROUP = "loafer"
"""The group of entry points that plugins are found by."""
CORE = "loafer-core"
"""The core's own distribution."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One entry point of the group ``loafer``, with what its distribution says about itself."""

    name: str
    module: str
    """As it was written, which need not be a module's name; ``""``: the distribution's entry points cannot be read."""
    distribution: str
    """In the one spelling of PEP 503: ``loafer-sqs`` for ``Loafer_SQS`` too."""
    version: str
    summary: str
    origin: str
    """Where the distribution was installed from, in a few words: ``editable /home/ada/loafer-acme``, ``wheel``."""

    @property
    def owner(self) -> str:
        """``distribution/entry-point``: what ``plugins.disable`` understands."""
        return f"{self.distribution}/{self.name}"


def canonical(distribution: str) -> str:
    """Spell a distribution's name as PEP 503 does."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def installed_plugins() -> tuple[Installed, ...]:
    """Give every installed plugin but the core's own, sorted by name and distribution. Imports none.

    The answer is kept for as long as ``sys.path`` stays the same.
    """
    return _scan(tuple(sys.path))


def core_plugin() -> Installed:
    """Describe the core's own plugin. It needs no entry point, so that it works from an unpacked source tree, too."""
    import importlib_metadata

    try:
        version, summary, origin = _facts(importlib_metadata.distribution(CORE))
    except importlib_metadata.PackageNotFoundError:
        version, summary, origin = "unknown", "", "not installed"
    return Installed("builtin", "loafer_core.discovery.builtin", CORE, version, summary, origin)


@cache
def _scan(path: tuple[str, ...]) -> tuple[Installed, ...]:
    import importlib_metadata

    found: dict[str, Distribution] = {}
    for distribution in importlib_metadata.distributions(path=list(path)):
        if name := _name_of_plugins_distribution(distribution):
            found.setdefault(name, distribution)  # of two copies, an import finds the one that comes first in the path
    entries = [entry for name, distribution in found.items() for entry in _entry_points(name, distribution)]
    return tuple(sorted(entries, key=lambda entry: (entry.name, entry.distribution)))


def _name_of_plugins_distribution(distribution: Distribution) -> str | None:
    """Name the distribution if it has plugins. What an interrupted uninstall left behind has no name."""
    try:
        if f"[{GROUP}]" in (distribution.read_text("entry_points.txt") or ""):
            return canonical(distribution.metadata.get("Name") or "")
    except Exception:  # a distribution that cannot be read must not hide the others
        return None
    return None


def _entry_points(name: str, distribution: Distribution) -> Iterator[Installed]:
    try:
        points = [(point.name, point.value) for point in distribution.entry_points.select(group=GROUP)]
    except Exception:  # the parser raises errors of many types
        # The loader then finds a broken plugin, and says so; without an entry it would find none.
        points = [(name, "")]
    for point, module in points:
        yield Installed(point, module, name, *_facts(distribution))


def _facts(distribution: Distribution) -> tuple[str, str, str]:
    metadata = distribution.metadata
    return metadata.get("Version") or "unknown", metadata.get("Summary") or "", _origin(distribution)


def _origin(distribution: Distribution) -> str:
    """Say in a few words where it was installed from, by PEP 610."""
    try:
        origin = distribution.origin
        if origin is not None:
            return _direct(origin)
    except (AttributeError, TypeError, ValueError):
        return "unknown"
    # Without an origin it came from a package index, or was put there by hand.
    return "wheel" if distribution.read_text("WHEEL") else f"directory {distribution.locate_file('')}"


def _direct(origin: Any) -> str:
    # The specification forbids a password in the URL, but it is the installer that has to keep to it.
    url = re.sub(r"//[^/@]*@", "//", origin.url)
    place = unquote(urlsplit(url).path) if url.startswith("file:") else url
    if hasattr(origin, "vcs_info"):
        return f"{origin.vcs_info.vcs} {place} at {origin.vcs_info.commit_id[:12]}"
    if hasattr(origin, "dir_info"):
        return f"{'editable' if getattr(origin.dir_info, 'editable', False) else 'directory'} {place}"
    return f"{'wheel' if place.endswith('.whl') else 'archive'} {place}"
