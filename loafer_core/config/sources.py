"""Where a configuration comes from: a file or a mapping, then ``--set`` overrides, then ``${VAR}`` interpolation."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loafer_core.api.errors import ConfigError, Finding
from loafer_core.api.kinds import kinds_in
from loafer_core.config.json_schema import Place
from loafer_core.config.wording import Hidden, Problem, dotted, shown

Keys = tuple[str, ...]

_STARTER = """\
To start with, write a loafer.toml:

[routes.orders]
provider = { name = "sqs", queue = "orders" }
translator = "json"
handler = "shop.handlers:handle_order"

or name another file with -c."""

_VARIABLE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>(?:(?!\$\{)[^}])*))?\})?")


class OverrideError(ConfigError):
    """A ``--set`` that cannot be read: a mistake on the command line, not in the file."""


def load(source: str | os.PathLike[str] | None, cwd: Path) -> tuple[dict[str, Any], list[Finding], Path]:
    """Read ``source``, or else what lies in ``cwd``: the mapping, what is odd about its file, and the file.

    Raises ConfigError if there is nothing to read.
    """
    if source is not None:
        path = cwd / source
        raw, findings = _read(path, os.fspath(source))
        if path.name != "pyproject.toml":
            return raw, findings, path
        if (table := _tool_loafer(raw)) is None:
            raise ConfigError(Finding(os.fspath(source), "there is no [tool.loafer] in it"))
        return table, findings, path
    if os.path.exists(path := cwd / "loafer.toml"):
        return *_read(path, path.name), path
    if os.path.exists(path := cwd / "pyproject.toml"):
        raw, findings = _read(path, path.name)
        if (table := _tool_loafer(raw)) is not None:
            return table, findings, path
    looked = f"neither loafer.toml nor a pyproject.toml with [tool.loafer] in {cwd}"
    raise ConfigError(Finding("", f"no configuration: {looked}.\n{_STARTER}"))


def _tool_loafer(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    tool = raw.get("tool")
    table = tool.get("loafer") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else None


def _read(path: Path, name: str) -> tuple[dict[str, Any], list[Finding]]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read().decode("utf-8-sig")
        raw = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(Finding(name, "there is no such file")) from None
    except OSError as error:
        raise ConfigError(Finding(name, f"cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError as error:
        raise ConfigError(Finding(name, f"is not UTF-8 (byte {error.start})")) from None
    except ValueError as error:
        raise ConfigError(Finding(name, f"is not TOML: {error}")) from None
    if os.name == "posix" and mode & stat.S_IWOTH:
        text = "every user of this machine may change it, and it names code to run; take that right away (chmod o-w)"
        return raw, [Finding(name, text, "warning")]
    return raw, []


Override = tuple[Keys, object]


def read_overrides(texts: Sequence[str]) -> list[Override]:
    """Read every ``KEY=VALUE``: a TOML key, and a TOML value or else a string.

    Raises OverrideError with all those that have another shape.
    """
    pairs = [(text, _split(text)) for text in texts]
    if malformed := [text for text, pair in pairs if pair is None]:
        wanted = "write KEY=VALUE, such as routes.orders.concurrency=50"
        keys = [text.partition("=")[0] for text in malformed]
        raise OverrideError(Finding("--set", f"cannot read {shown(key)}; {wanted}") for key in keys)
    return [pair for _, pair in pairs if pair]


def override(raw: Mapping[str, Any], pairs: Sequence[Override]) -> tuple[Mapping[str, Any], list[Problem]]:
    """Put every override over ``raw``, which stays as it is. A component's short form becomes a table on the way."""
    problems = []
    for keys, value in pairs:
        raw, problem = _put(raw, keys, value)
        problems += [problem] if problem else []
    return raw, problems


def _split(text: str) -> Override | None:
    for equals in re.finditer("=", text):
        keys: list[str] = []
        table: Any = _parsed(f"{text[: equals.start()]} = 0")
        while isinstance(table, dict) and len(table) == 1:
            [(key, table)] = table.items()
            keys.append(key)
        if table == 0 and "\n" not in text[: equals.start()]:
            value = text[equals.end() :]
            read = _parsed(f"value = {value}")
            return tuple(keys), read["value"] if read and read.keys() == {"value"} else value
    return None


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except ValueError:
        return None


def _put(
    table: Mapping[str, Any], keys: Keys, value: object, above: Keys = ()
) -> tuple[Mapping[str, Any], Problem | None]:
    key, rest = keys[0], keys[1:]
    if not rest:
        return {**table, key: value}, None
    place = (*above, key)
    inner = table.get(key, {})
    if isinstance(inner, str) and _is_component(place):
        inner = {"name": inner}
    if not isinstance(inner, Mapping):
        into = ".".join(rest)
        text = f"--set cannot reach {into!r} in {shown(inner, hide=True)}; set {dotted(*place)} as a whole"
        return table, Problem(place, text)
    changed, problem = _put(inner, rest, value, place)
    return {**table, key: changed}, problem


def _is_component(place: Keys) -> bool:
    match place:
        case ("routes" as section, _, key) | ("loafer" as section, key):
            return any(kind.key == key for kind in kinds_in(section))
        case _:
            return False


def interpolate(value: Any, env: Mapping[str, str], path: Place = ()) -> tuple[Any, list[Problem]]:
    """Fill ``${VAR}`` and ``${VAR:-default}`` (if unset or empty) in every string; ``$${`` is a literal ``${``.

    What came from the environment is ``Hidden`` from there on, and so is the empty string that stands in for what did
    not. Objects that came from Python stay the objects they are.
    """
    problems: list[Problem] = []
    if isinstance(value, str) and "${" in value:
        return _filled(value, env, path)
    if isinstance(value, Mapping):
        filled = {}
        for name, inner in value.items():
            filled[name], found = interpolate(inner, env, (*path, name))
            problems += found
        return filled, problems
    if type(value) in (list, tuple):
        items = [interpolate(inner, env, (*path, at)) for at, inner in enumerate(value)]
        return type(value)(item for item, _ in items), [problem for _, found in items for problem in found]
    return value, problems


def _filled(text: str, env: Mapping[str, str], path: Place) -> tuple[str, list[Problem]]:
    matches = list(_VARIABLE.finditer(text))
    if any(match[0] == "${" for match in matches):
        form = "write ${VAR} or ${VAR:-default}; a literal ${ is written $${"
        return Hidden(), [Problem(path, f"malformed ${{: {form}")]
    unset = [match["name"] for match in matches if match["name"] not in env and match["default"] is None]
    if missing := [name for name in unset if name]:
        return Hidden(), [Problem(path, f"the environment variable {name} is not set") for name in missing]

    def fill(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "${"
        return env.get(match["name"], "") or match["default"] or ""

    filled = _VARIABLE.sub(fill, text)
    return (Hidden(filled) if any(env.get(match["name"] or "") for match in matches) else filled), []
