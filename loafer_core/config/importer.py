"""From ``"module:attribute"`` to the object; a missing module and one that fails itself are told apart."""

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
    for attribute in attributes.split("."):
        try:
            target = getattr(target, attribute)
        except AttributeError:
            raise _error(where, _no_attribute(target, attribute)) from None
        except Exception as error:  # a property, or a module's own __getattr__, can raise anything
            raise _error(where, _failed(f"looking up {attribute!r} for {reference!r}", error)) from error
    return target


def _import_module(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None:
            raise _error(where, _failed(f"importing {name!r}", error)) from error
        is_itself_or_its_package = f"{name}.".startswith(f"{missing}.")
        if is_itself_or_its_package:
            raise _error(where, _no_module(missing, name)) from None
        raise _error(where, f"{name!r} itself imports {missing!r}, which is not installed{_place(error)}") from error


def _no_module(missing: str, wanted: str) -> str:
    """Say whether a folder is not looked in, or a package that was found lacks a module."""
    package, _, last = missing.rpartition(".")
    if not package:
        return f"there is no module {missing!r} (looked for {wanted!r}; is its folder in loafer.import_paths?)"
    found = importlib.import_module(package)
    modules = [module.name for module in pkgutil.iter_modules(getattr(found, "__path__", ()))]
    near = difflib.get_close_matches(last, modules, n=1)
    hint = f"; did you mean '{package}.{near[0]}'?" if near else ""
    return f"there is no module {missing!r} in the package {package!r}{hint}"


def _failed(what: str, error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else error
    return f"{what} failed: {type(error).__name__}: {text}{_place(error)}"


def _place(error: BaseException) -> str:
    """Name the line of the user's module at which it failed: where a library was called, not where that raised."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f" ({error.filename}, line {error.lineno})"
    lines = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    modules = [f" ({code.co_filename}, line {line})" for code, line in lines if code.co_name == "<module>"]
    return modules[-1] if modules else ""


def _no_attribute(target: object, attribute: str) -> str:
    name = getattr(target, "__name__", type(target).__name__)
    what = "module" if isinstance(target, ModuleType) else "object"
    public = [name for name in dir(target) if not name.startswith("_")]
    near = difflib.get_close_matches(attribute, public, n=1)
    return f"{what} {name!r} has no attribute {attribute!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _error(where: str, message: str) -> ConfigError:
    return ConfigError(Finding(where, message))
