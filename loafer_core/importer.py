"""``"module:attribute"`` -> the object, with errors that tell a missing module from a module that fails itself."""

from __future__ import annotations

import difflib
import importlib
import traceback
from types import ModuleType

from loafer_core.errors import ConfigError, Finding


def import_target(reference: str, where: str) -> object:
    """Import what ``module:attribute[.attribute]`` names.

    Raises:
        ConfigError: naming ``where``, and whether the reference, the module or the attribute is at fault.
    """
    module_name, colon, attributes = reference.partition(":")
    if not colon or not module_name or not attributes:
        raise _error(where, f"{reference!r} is not of the form 'module:attribute'")
    target: object = _import_module(module_name, where)
    for part in attributes.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            raise _error(where, _no_attribute(target, part)) from None
    return target


def _import_module(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise _error(
                where, f"there is no module {error.name!r} (looked for {name!r}; is its folder in loafer.import_paths?)"
            ) from None
        raise _error(where, f"{name!r} itself imports {error.name!r}, which is not installed{_place(error)}") from error
    except (Exception, SystemExit) as error:
        raise _error(where, f"importing {name!r} failed: {type(error).__name__}: {error}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Say where in the user's module it happened: the last frame that is not the import system's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    own = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


def _no_attribute(target: object, part: str) -> str:
    name = getattr(target, "__name__", type(target).__name__)
    kind = "module" if isinstance(target, ModuleType) else "object"
    near = difflib.get_close_matches(part, [n for n in dir(target) if not n.startswith("_")], n=1)
    return f"{kind} {name!r} has no attribute {part!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _error(where: str, message: str) -> ConfigError:
    return ConfigError(Finding(where, message))
