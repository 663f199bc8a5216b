"""``python -m bench.venvs [NAME]...``: makes .venvs/bench-NAME from bench/constraints-NAME.txt, unless it is there.

Without names: all. Standard library only. `loafer` is the core and its plugins from here, editable, with what the bench
itself needs; `node` is a folder of npm's; every other one is a peer, or the plots.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = [ROOT, ROOT / "plugins" / "loafer_json", ROOT / "plugins" / "loafer_sqs"]
NODE = ROOT / "bench" / "consumers" / "package.json"


def place(name: str) -> Path:
    return ROOT / ".venvs" / f"bench-{name}"


def python(name: str) -> Path:
    return place(name) / "bin" / "python"


def constraints(name: str) -> Path:
    return ROOT / "bench" / f"constraints-{name}.txt"


def known() -> list[str]:
    """Every name."""
    pinned = [
        path.stem.removeprefix("constraints-") for path in sorted(constraints("x").parent.glob("constraints-*.txt"))
    ]
    return [*pinned, "node"]


def is_there(name: str) -> bool:
    return _stamp(name).exists()


def make(name: str) -> None:
    """Raises CalledProcessError."""
    if is_there(name):
        return
    print(f"Making .venvs/bench-{name}. Once.", flush=True)
    shutil.rmtree(place(name), ignore_errors=True)
    if name == "node":
        place(name).mkdir(parents=True)
        shutil.copy(NODE, place(name))
        words = ["npm", "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund"]
        subprocess.run(words, cwd=place(name), check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", place(name)], check=True)
        subprocess.run([python(name), "-m", "pip", "install", "-qq", *_requirements(name)], cwd=ROOT, check=True)
    _stamp(name).touch()


def _requirements(name: str) -> list[str | Path]:
    listed: list[str | Path] = ["-r", constraints(name)]
    if name != "loafer":
        return listed
    return ["-c", ROOT / "constraints.txt", *listed, *(word for path in OURS for word in ("-e", path))]


def _stamp(name: str) -> Path:
    """Its name tells from what the folder was made, and where."""
    if name == "node":
        sources = [NODE]
    elif name == "loafer":
        sources = [constraints(name), ROOT / "constraints.txt", *(path / "pyproject.toml" for path in OURS)]
    else:
        sources = [constraints(name)]
    digest = hashlib.sha256(b"".join([str(ROOT).encode(), *(path.read_bytes() for path in sources)]))
    return place(name) / f".installed-{digest.hexdigest()[:16]}"


def main() -> None:
    """Of all, what cannot be made is left out and named; what was asked for by name must be there."""
    parser = argparse.ArgumentParser(prog="python -m bench.venvs", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(known())}; none: all")
    names = parser.parse_args().name
    if unknown := set(names) - set(known()):
        parser.error(f"there is no {', '.join(sorted(unknown))}: choose from {', '.join(known())}")
    for name in names or known():
        try:
            make(name)
        except (OSError, subprocess.CalledProcessError):
            if names:
                raise
            print(f"skipped: {name}, which could not be installed")


if __name__ == "__main__":
    main()
