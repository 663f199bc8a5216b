"""A distribution of somebody else's, as pip would leave it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping

import pytest

PLUGIN = """
from pydantic import Field, SecretStr
from loafer_core import Options, TranslatorSpec, hookimpl

LOAFER_API = 1


class LetterOptions(Options):
    upper: bool = Field(False, description="In capitals")
    most: int = Field(80, ge=1, le=1000, description="Most letters")
    api_key: SecretStr | None = Field(None, description="Key of the foundry")


def _letters(options):
    from loafer_letters.letters import Letters
    return Letters(options)


@hookimpl
def loafer_translators():
    return [TranslatorSpec(name="letters", summary="Letter by letter", options=LetterOptions, factory=_letters)]
"""

LETTERS = """
from loafer_core import Translation


class Letters:
    def __init__(self, options):
        self.options = options

    def __repr__(self):
        return "<Letters>"

    def translate(self, message):
        return Translation(list(message.body))
"""

FILES = {
    "loafer_letters/__init__.py": "",
    "loafer_letters/py.typed": "",
    "loafer_letters/plugin.py": PLUGIN,
    "loafer_letters/letters.py": LETTERS,
    "heavylib.py": "",
    "README.md": "Options: `upper`, `most` and `api_key`.\n",
    "pyproject.toml": "",
    "loafer_letters-1.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: loafer-letters\nVersion: 1.0\nSummary: Letters\n"
        "Requires-Dist: loafer-core>=0.1\nRequires-Dist: loafer-core[testing]; extra == 'testing'\n"
    ),
    "loafer_letters-1.0.dist-info/entry_points.txt": "[loafer]\nletters = loafer_letters.plugin\n",
}


@pytest.fixture
def install_letters(tmp_path, monkeypatch) -> Iterator[Callable[[Mapping[str, tuple[str, str] | None]], None]]:
    """``install_letters({"README.md": (old, new)})``: loafer-letters with these texts replaced; None = no such file."""

    def install(changes: Mapping[str, tuple[str, str] | None]) -> None:
        for name, text in FILES.items():
            change = changes.get(name, ("", ""))
            if change is None:
                continue
            old, new = change
            assert old in text, f"{old!r} is not in {name}"
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace(old, new) if old else text)

    monkeypatch.syspath_prepend(str(tmp_path))
    yield install
    for name in [name for name in sys.modules if name.partition(".")[0] in ("loafer_letters", "heavylib")]:
        del sys.modules[name]
