"""For tests of services and plugins: a loop whose time is virtual."""

from __future__ import annotations

from loafer_core.testing.virtual import VirtualLoop, run_virtual

__all__ = ["VirtualLoop", "run_virtual"]
