"""User code in all its forms, compiled once per route into one: ``await call(...)``."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any

from loafer_core._tasks import inside, is_async, what_runs
from loafer_core.api.components import Failure
from loafer_core.api.errors import ConfigError, Finding
from loafer_core.delivery.executors import Executor

Metadata = Mapping[str, object]


def name_of(function: object) -> str:
    """Give what people know it by: ``shop.handlers:handle_order``."""
    function = inside(function)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    module = getattr(function, "__module__", None)
    return f"{module}:{name}" if module else str(name)


def entry(target: object, where: str) -> Callable[..., Any]:
    """Give what is to be called: the object's ``handle`` method, or the object itself."""
    if inspect.isclass(target):
        raise _error(where, f"{name_of(target)} is a class; an instance of it is wanted here")
    method = None if inspect.isroutine(target) else getattr(target, "handle", None)
    function: Any = method if callable(method) else target
    if not callable(function):
        raise _error(where, f"{type(target).__name__!r} object is neither callable nor has a handle() method")
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in what_runs(function)):
        raise _error(where, f"{name_of(function)} is a generator; it has to return, not to yield")
    return typing.cast(Callable[..., Any], function)


@dataclass(frozen=True, slots=True)
class Handler:
    """A compiled handler. What it answers may be an awaitable, which is work still to be done."""

    name: str
    call: Callable[..., Awaitable[object]]
    in_thread: bool
    metadata: str | None
    """How it takes metadata: not at all, as the second ``"positional"``, or by ``"keyword"``."""
    payload_type: object
    """The annotation of its first parameter; None = it has none, or one that says nothing (object, Any)."""
    function: Callable[..., Any]
    """What the user wrote."""

    def __call__(self, payload: object, metadata: Metadata | None) -> Awaitable[object]:
        """``metadata`` may be None where it takes none."""
        if self.metadata is None:
            return self.call(payload)
        if self.metadata == "keyword":
            return self.call(payload, metadata=metadata)
        return self.call(payload, metadata)


def compile_handler(target: object, executor: Executor, where: str) -> Handler:
    """Compile a function, coroutine function, callable or object with ``handle()``.

    Raises:
        ConfigError: it cannot be called with a payload, or with a payload and metadata.
    """
    function = entry(target, where)
    signature = _signature(function, where)
    wants = _wants_metadata(signature)
    args, kwargs = (None, None) if wants == "positional" else (None,), {"metadata": None} if wants == "keyword" else {}
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise _error(
            where,
            f"{name_of(function)} cannot be called with a message: {error}. "
            "A handler takes (payload) or (payload, metadata)",
        ) from None
    return Handler(
        name=name_of(function),
        call=_async(function, executor),
        in_thread=not is_async(function),
        metadata=wants,
        payload_type=_annotation(function, where),
        function=function,
    )


def _wants_metadata(signature: Signature) -> str | None:
    first, second = (*signature.parameters.values(), None, None)[:2]
    if _positional(first) and _positional(second) and (second.name == "metadata" or second.default is Parameter.empty):
        return "positional"
    named = signature.parameters.get("metadata")
    by_keyword = named is not None and named.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return "keyword" if by_keyword and named is not first else None


def compile_error_handler(target: object, executor: Executor, where: str) -> Callable[[Failure], Awaitable[object]]:
    """Compile ``(failure)`` or ``(error, message)``, sync or async, into ``await call(failure)``.

    A plain function that is waited for no longer is left to its thread.
    """
    function = entry(target, where)
    signature = _signature(function, where)
    takes_failure = _fits(signature, 1)
    if not takes_failure and not _fits(signature, 2):
        raise _error(where, f"{name_of(function)} is no error handler; one takes (failure) or (error, message)")
    call = _async(function, executor, leave=True)

    async def ask(failure: Failure) -> object:
        opinion = await (call(failure) if takes_failure else call(failure.error, failure.message))
        return await opinion if inspect.isawaitable(opinion) else opinion

    ask.__module__, _, ask.__qualname__ = name_of(function).rpartition(":")
    return ask


def compile_middleware(target: object, where: str) -> Callable[..., Awaitable[object]]:
    """Check ``async (message, call_next)``."""
    function = entry(target, where)
    if not is_async(function) or not _fits(_signature(function, where), 2):
        raise _error(where, f"{name_of(function)} is no middleware; one is 'async (message, call_next) -> outcome'")
    return function


def _async(function: Callable[..., Any], executor: Executor, leave: bool = False) -> Callable[..., Awaitable[object]]:
    return function if is_async(function) else functools.partial(executor.run, function, leave=leave)


def _annotation(function: Callable[..., Any], where: str) -> object:
    """Read the first parameter's annotation alone.

    A name elsewhere in the signature that exists for type checkers only is no fault.
    """
    first = next(iter(_signature(function, where).parameters.values()))
    if first.annotation is Parameter.empty or not _positional(first):
        return None

    def only() -> None: ...

    only.__annotations__ = {"payload": first.annotation}
    names: dict[str, Any] = {}
    for code in map(inspect.unwrap, what_runs(function)):
        names = getattr(code, "__globals__", names)
    try:
        annotation = typing.get_type_hints(only, names, include_extras=True)["payload"]
    except Exception as error:
        raise _error(
            where,
            f"the annotation {first.annotation!r} of {name_of(function)} cannot be read ({type(error).__name__}: "
            f"{error}); it has to be importable where the handler is defined, at run time, or left out",
        ) from error
    return None if annotation in (object, Any) else annotation


def _signature(function: Callable[..., Any], where: str) -> Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        raise _error(where, f"{name_of(function)} has no signature that can be read; wrap it in a function") from None


def _fits(signature: Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _positional(parameter: Parameter | None) -> typing.TypeGuard[Parameter]:
    return parameter is not None and parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def _error(where: str, message: str) -> ConfigError:
    return ConfigError(Finding(where, message))
