"""User code in all its forms, compiled once per route into one: ``await call(...)``."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loafer_core.errors import ConfigError, Finding
from loafer_core.protocols import Failure
from loafer_core.threads import Threads

Metadata = Mapping[str, object]
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def is_async(function: Callable[..., Any]) -> bool:
    """Tell whether calling it gives a coroutine: coroutine functions, partials and objects with ``async __call__``."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the method itself is wanted
    )


def entry(target: object, where: str) -> Callable[..., Any]:
    """Give what is to be called: the object's ``handle`` method, or the object itself."""
    method = None if inspect.isroutine(target) else getattr(target, "handle", None)
    function: Any = method if callable(method) else target
    if not callable(function):
        raise _error(where, f"{type(target).__name__!r} object is neither callable nor has a handle() method")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _error(where, f"{_name(function)} is a generator; a handler returns, it does not yield")
    return typing.cast(Callable[..., Any], function)


@dataclass(frozen=True, slots=True)
class Handler:
    """A compiled handler."""

    name: str
    call: Callable[..., Awaitable[Any]]
    in_thread: bool
    metadata: str | None
    """How it takes metadata: not at all, as the second ``"positional"``, or by ``"keyword"``."""
    payload_type: object
    """The annotation of its first parameter; None = it has none."""

    async def __call__(self, payload: object, metadata: Callable[[], Metadata]) -> object:
        if self.metadata is None:
            return await self.call(payload)
        if self.metadata == "keyword":
            return await self.call(payload, metadata=metadata())
        return await self.call(payload, metadata())


def compile_handler(target: object, threads: Threads, where: str) -> Handler:
    """Compile a function, coroutine function, callable or object with ``handle()``.

    Raises:
        ConfigError: it cannot be called with a payload, or with a payload and metadata.
    """
    function = entry(target, where)
    parameters = list(_parameters(function, where))
    name = _name(function)
    if not parameters or (
        parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL and not _positional(parameters[0])
    ):
        raise _error(where, f"{name} takes no positional parameter; a handler takes (payload) or (payload, metadata)")
    first, rest = parameters[0], parameters[1:]
    wants = _wants_metadata(first, rest)
    unfilled = [p.name for p in rest if _required(p) and p.name != "metadata"]
    if wants == "positional" and unfilled:
        unfilled.pop(0)
    if unfilled:
        raise _error(where, f"{name} needs {', '.join(unfilled)} too; a handler gets (payload) or (payload, metadata)")
    return Handler(name, _async(function, threads), not is_async(function), wants, _annotation(function, first, where))


def _wants_metadata(first: inspect.Parameter, rest: list[inspect.Parameter]) -> str | None:
    named = next((p for p in rest if p.name == "metadata"), None)
    if named is not None and named.kind is not inspect.Parameter.POSITIONAL_ONLY:
        return "keyword" if named.kind is not inspect.Parameter.VAR_KEYWORD else None
    second = rest[0] if rest and first.kind is not inspect.Parameter.VAR_POSITIONAL else None
    return "positional" if second is not None and _positional(second) and _required(second) else None


def compile_error_handler(target: object, threads: Threads, where: str) -> Callable[[Failure], Awaitable[Any]]:
    """Compile ``(failure)`` or ``(error, message)``, sync or async, into ``await call(failure)``."""
    function = entry(target, where)
    parameters = list(_parameters(function, where))
    required = [p for p in parameters if _required(p)]
    call = _async(function, threads, leave=True)
    takes = sum(map(_positional, parameters))
    variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    if len(required) == 2 and all(map(_positional, required)):

        async def with_error_and_message(failure: Failure) -> object:
            return await call(failure.error, failure.message)

        return with_error_and_message
    if len(required) > 2 or not (takes or variadic) or (required and not _positional(required[0])):
        raise _error(where, f"{_name(function)} is no error handler; one takes (failure) or (error, message)")
    return call


def compile_middleware(target: object, where: str) -> Callable[..., Awaitable[Any]]:
    """Check ``async (message, call_next)``."""
    function = entry(target, where)
    parameters = list(_parameters(function, where))
    if not is_async(function):
        raise _error(where, f"{_name(function)} is not async; a middleware is 'async (message, call_next) -> outcome'")
    required = [p for p in parameters if _required(p)]
    variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    if len(required) > 2 or (sum(map(_positional, parameters)) < 2 and not variadic):
        raise _error(where, f"{_name(function)} does not take (message, call_next)")
    return function


def _async(function: Callable[..., Any], threads: Threads, leave: bool = False) -> Callable[..., Awaitable[Any]]:
    if is_async(function):
        return function

    async def in_thread(*args: Any, **kwargs: Any) -> object:
        result = await threads.run(function, *args, leave=leave, **kwargs)
        # A plain function may hand back an awaitable (a decorator that hides a coroutine function): that is work too.
        return await result if inspect.isawaitable(result) else result

    return in_thread


def _annotation(function: Callable[..., Any], first: inspect.Parameter, where: str) -> object:
    if first.annotation is inspect.Parameter.empty or first.kind is inspect.Parameter.VAR_POSITIONAL:
        return None
    if not isinstance(first.annotation, str):
        return first.annotation
    plain = inspect.unwrap(function.func if isinstance(function, functools.partial) else function)
    plain = plain if hasattr(plain, "__globals__") else getattr(plain, "__call__", plain)  # noqa: B004

    def only() -> None: ...

    # The first parameter alone: a name that exists for type checkers only, elsewhere in the signature, is no fault.
    only.__annotations__ = {"payload": first.annotation}
    try:
        return typing.get_type_hints(only, getattr(plain, "__globals__", {}), include_extras=True)["payload"]
    except Exception as error:
        raise _error(
            where,
            f"the annotation {first.annotation!r} of {_name(function)} cannot be read: {type(error).__name__}: {error}",
        ) from error


def _parameters(function: Callable[..., Any], where: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise _error(where, f"{_name(function)} has no signature that can be read; wrap it in a function") from None


def _positional(parameter: inspect.Parameter) -> bool:
    return parameter.kind in _POSITIONAL


def _required(parameter: inspect.Parameter) -> bool:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in variadic


def _name(function: object) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    module = getattr(function, "__module__", None)
    return f"{module}:{name}" if module else str(name)


def _error(where: str, message: str) -> ConfigError:
    return ConfigError(Finding(where, message))
