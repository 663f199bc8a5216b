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
"""What to do for who has no configuration yet."""

_VARIABLE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>(?:(?!\$\{)[^}])*))?\})?")
"""``$${``, ``${NAME}``, ``${NAME:-default}``, or a ``${`` that begins neither. No ``${`` or ``}`` is in a default."""


class OverrideError(ConfigError):
    """A ``--set`` that cannot be read: a mistake on the command line, not in the file."""


def load(source: str | os.PathLike[str] | None, cwd: Path) -> tuple[dict[str, Any], list[Finding], Path]:
    """Read the file ``source``, or else ./loafer.toml or ./pyproject.toml in ``cwd``.

    Returns:
        What the file says, warnings about the file, and where it is.

    Raises:
        ConfigError: there is no such file, or it cannot be read.
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
"""The keys that lead to a value, and the value that is to stand there."""


def read_overrides(texts: Sequence[str]) -> list[Override]:
    """Read every ``KEY=VALUE``: a TOML key, and a TOML value or else a string.

    Raises OverrideError with a finding for each that has another shape.
    """
    overrides: list[Override] = []
    malformed: list[Finding] = []
    for text in texts:
        if (pair := _split(text)) is not None:
            overrides.append(pair)
        else:
            key = text.partition("=")[0]  # of what stands behind it nothing is shown: it may be a secret
            wanted = "write KEY=VALUE, such as routes.orders.concurrency=50"
            malformed.append(Finding("--set", f"cannot read {shown(key)}; {wanted}"))
    if malformed:
        raise OverrideError(malformed)
    return overrides


def override(raw: Mapping[str, Any], pairs: Sequence[Override]) -> tuple[Mapping[str, Any], list[Problem]]:
    """Put every override over a copy of ``raw``: the copy, and a problem for each that leads through no table.

    A component that is written as a string becomes a table where an override sets one of its options.
    """
    problems = []
    for keys, value in pairs:
        raw, problem = _put(raw, keys, value)
        problems += [problem] if problem else []
    return raw, problems


def _split(text: str) -> Override | None:
    """Split at the first ``=`` that has a TOML key before it: a quoted key may have others in it."""
    for equals in re.finditer("=", text):
        if (keys := _keys(text[: equals.start()])) is not None:
            return keys, _value(text[equals.end() :])
    return None


def _keys(text: str) -> Keys | None:
    """Read a dotted TOML key; None: it is none."""
    keys: list[str] = []
    inner: Any = _parsed(f"{text} = 0")
    while isinstance(inner, dict) and len(inner) == 1:
        [(key, inner)] = inner.items()
        keys.append(key)
    return tuple(keys) if inner == 0 and "\n" not in text else None


def _value(text: str) -> object:
    """Read a TOML value; what is none is the string itself."""
    table = _parsed(f"value = {text}")
    return table["value"] if table is not None and table.keys() == {"value"} else text


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except ValueError:
        return None


def _put(
    table: Mapping[str, Any], keys: Keys, value: object, above: Keys = ()
) -> tuple[Mapping[str, Any], Problem | None]:
    """Put ``value`` where ``keys`` lead in a copy of ``table``, which itself stands at ``above``."""
    key, *rest = keys
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
    changed, problem = _put(inner, tuple(rest), value, place)
    return {**table, key: changed}, problem


def _is_component(place: Keys) -> bool:
    """Tell whether a component stands at ``place``."""
    match place:
        case ("routes" as section, _, key) | ("loafer" as section, key):
            return any(kind.key == key for kind in kinds_in(section))
        case _:
            return False


def interpolate(value: Any, env: Mapping[str, str], path: Place = ()) -> tuple[Any, list[Problem]]:
    """Fill ``${VAR}`` in every string of ``value``; ``${VAR:-default}`` if it is unset or empty; ``$${`` means ``${``.

    A string with something from the environment in it becomes ``Hidden``. One that cannot be filled becomes an empty
    ``Hidden``, and a problem. Objects that were given in Python stay the objects they are.
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
    is_malformed = any(match[0] == "${" for match in matches)
    if is_malformed:
        form = "write ${VAR} or ${VAR:-default}; a literal ${ is written $${"
        return Hidden(), [Problem(path, f"malformed ${{: {form}")]
    unset = [match["name"] for match in matches if match["name"] not in env and match["default"] is None]
    if missing := [name for name in unset if name]:
        return Hidden(), [Problem(path, f"the environment variable {name} is not set") for name in missing]

    def fill(match: re.Match[str]) -> str:
        if match["name"] is None:  # it is $${
            return "${"
        return env.get(match["name"], "") or match["default"] or ""

    filled = _VARIABLE.sub(fill, text)
    is_from_environment = any(env.get(match["name"] or "") for match in matches)
    return (Hidden(filled) if is_from_environment else filled), []
