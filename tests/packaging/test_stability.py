"""What others build on does not change by accident."""

from __future__ import annotations

import difflib
import runpy
from pathlib import Path

HERE = Path(__file__).parent


def test_the_public_surface_is_what_was_written_down():
    written = (HERE / "surface.txt").read_text()
    found = runpy.run_path(str(HERE / "surface.py"))["surface"]()

    lines = difflib.unified_diff(written.splitlines(), found.splitlines(), "written", "found", n=0, lineterm="")
    advice = "the public surface changed; docs/reference/stability.md says what may. If it is meant: make surface"
    assert found == written, "\n".join([advice, *lines])
