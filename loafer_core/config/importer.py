"""``"module:attribute"`` -> the object, with errors that tell a missing module from a module that fails itself."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import traceback
from types import ModuleType

from loafer_core.api.errors import ConfigError, Finding


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
        except Exception as error:  # a module's own __getattr__, a property
            raise _error(where, _failed(f"looking up {part!r} for {reference!r}", error)) from error
    return target


def _import_module(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None:
            raise _error(where, _failed(f"importing {name!r}", error)) from error
        if f"{name}.".startswith(f"{missing}."):
            raise _error(where, _no_module(missing, name)) from None
        raise _error(where, f"{name!r} itself imports {missing!r}, which is not installed{_place(error)}") from error


def _no_module(missing: str, wanted: str) -> str:
    """Which part is missing: a folder that is not looked in, or a module of a package that was found."""
    package, _, last = missing.rpartition(".")
    if not package:
        return f"there is no module {missing!r} (looked for {wanted!r}; is its folder in loafer.import_paths?)"
    found = importlib.import_module(package)
    modules = [module.name for module in pkgutil.iter_modules(getattr(found, "__path__", ()))]
    near = difflib.get_close_matches(last, modules, n=1)
    hint = f"; did you mean '{package}.{near[0]}'?" if near else ""
    return f"there is no module {missing!r} in the package {package!r}{hint}"


def _failed(what: str, error: BaseException) -> str:
    said = error.msg if isinstance(error, SyntaxError) else error
    return f"{what} failed: {type(error).__name__}: {said}{_place(error)}"


def _place(error: BaseException) -> str:
    """Say which line of which module it happened under: where a library was called, not where it raised."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f" ({error.filename}, line {error.lineno})"
    lines = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    modules = [f" ({code.co_filename}, line {line})" for code, line in lines if code.co_name == "<module>"]
    return modules[-1] if modules else ""


def _no_attribute(target: object, part: str) -> str:
    name = getattr(target, "__name__", type(target).__name__)
    kind = "module" if isinstance(target, ModuleType) else "object"
    near = difflib.get_close_matches(part, [n for n in dir(target) if not n.startswith("_")], n=1)
    return f"{kind} {name!r} has no attribute {part!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _error(where: str, message: str) -> ConfigError:
    return ConfigError(Finding(where, message))
