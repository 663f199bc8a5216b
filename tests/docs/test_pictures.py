"""What is drawn from the code shows the code of today."""

from __future__ import annotations

import difflib
import re
import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ADVICE = "the code has changed what it shows: make pictures"


def test_the_pictures_and_the_list_of_files_are_what_the_code_says_today():
    for path, content in runpy.run_path(str(ROOT / "docs" / "pictures.py"))["drawn"]().items():
        shown = path.read_text(encoding="utf-8")
        lines = difflib.unified_diff(shown.splitlines(), content.splitlines(), path.name, "the code", n=0, lineterm="")
        assert shown == content, "\n".join([f"{path.name}: {ADVICE}", *lines])


def test_every_file_of_the_core_is_in_the_list_of_files(pages):
    core = ROOT / "loafer_core"
    listed = re.findall(r"^\| `([\w/]+\.py)` \|", pages["docs/explanation/architecture.md"].section("Every file"), re.M)
    assert sorted(listed) == sorted(
        path.relative_to(core).as_posix()
        for path in core.rglob("*.py")
        if not path.name.startswith("__") and path.parent != core
    )
