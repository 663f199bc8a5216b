"""Handlers that say ``return True`` on some ways and nothing on others.

Loafer's ancestors kept the message of whoever returned nothing; Loafer acks it. Read from the source, for a warning:
where there is no source, or it cannot be understood, nothing is found.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

ADVICE = {
    "lenient": "returns True on some ways and nothing on others; nothing acks too: return False to keep the message",
    "truthy": "returns True on some ways and nothing on others; with returns = 'truthy' nothing keeps the message, and "
    "it comes again: return True where the work is done, False where it is not",
}
ADVICE["strict"] = ADVICE["lenient"]
"""What to say to whom ``falls_off`` is true, by the route's ``returns``."""

_NEXT, _BREAK, _TRUE, _NOTHING = "next", "break", "true", "nothing"
"""How a statement may be left: for the next one, out of the loop, or with one of the two answers in question."""
_Ways = frozenset[str]
_LAST_CALLS = {"abort", "assert_never", "exit", "_exit"}
"""Functions that do not come back, by the last part of their names."""


def falls_off(function: object) -> bool:
    """Tell whether it returns ``True`` somewhere and elsewhere reaches its end, ``return`` or ``return None``.

    Args:
        function: a function or coroutine function, a method, a partial of one, or an object with ``__call__``; of a
            decorated one, what ``functools.wraps`` says is inside.
    """
    definition = _definition(_code(function))
    if definition is None:
        return False
    ways = _block(definition.body)
    return _TRUE in ways and not ways.isdisjoint({_NOTHING, _NEXT})


def _code(function: Any) -> object:
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = getattr(function, "__call__", None)  # noqa: B004 - the method itself is wanted
    return getattr(inspect.unwrap(function), "__code__", None)


def _definition(code: object) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    if not inspect.iscode(code):
        return None
    try:
        tree = ast.parse("".join(inspect.findsource(code)[0]))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def _block(statements: Sequence[ast.stmt]) -> _Ways:
    """The ways out of statements one after the other; what stands behind the last that is left for the next is dead."""
    ways: _Ways = frozenset()
    for statement in statements:
        left = _statement(statement)
        ways |= left - {_NEXT}
        if _NEXT not in left:
            return ways
    return ways | {_NEXT}


def _statement(statement: ast.stmt) -> _Ways:
    match statement:
        case ast.Return(value=value):
            return _answers(value)
        case ast.Raise() | ast.Continue() | ast.Assert(test=ast.Constant(value=False)):
            return frozenset()
        case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))) if name in _LAST_CALLS:
            return frozenset()
        case ast.Break():
            return frozenset({_BREAK})
        case ast.If(body=body, orelse=orelse):
            return _any([body, orelse])
        case ast.While(test=ast.Constant(value=forever), body=body) if forever:
            return _loop(body, None)
        case ast.While(body=body, orelse=orelse):
            return _loop(body, orelse)
        case ast.For(body=body, orelse=orelse) | ast.AsyncFor(body=body, orelse=orelse):
            return _loop(body, orelse)
        case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
            return _block(body) | ({_NEXT} if any(map(_suppresses, items)) else set())
        case ast.Match(cases=cases):
            rest: list[list[ast.stmt]] = [] if any(map(_takes_all, cases)) else [[]]
            return _any([case.body for case in cases] + rest)
        case ast.Try() | ast.TryStar():
            return _try(statement)
    return frozenset({_NEXT})


def _answers(value: ast.expr | None) -> _Ways:
    if isinstance(value, ast.IfExp):
        return _answers(value.body) | _answers(value.orelse)
    if value is None or (isinstance(value, ast.Constant) and value.value is None):
        return frozenset({_NOTHING})
    return frozenset({_TRUE}) if isinstance(value, ast.Constant) and value.value is True else frozenset()


def _any(blocks: Iterable[Sequence[ast.stmt]]) -> _Ways:
    return frozenset[str]().union(*map(_block, blocks))


def _loop(body: list[ast.stmt], at_its_end: list[ast.stmt] | None) -> _Ways:
    """``at_its_end``: what runs when there was no ``break``; None: the loop has no end of its own."""
    inside = _block(body)
    ways = inside - {_NEXT, _BREAK} | ({_NEXT} if _BREAK in inside else set())
    return ways if at_its_end is None else ways | _block(at_its_end)


def _try(statement: ast.Try | ast.TryStar) -> _Ways:
    body, last = _block(statement.body), _block(statement.finalbody)
    if _NEXT in body:
        body = body - {_NEXT} | _block(statement.orelse)
    ways = body | _any(handler.body for handler in statement.handlers)
    return last - {_NEXT} | ways if _NEXT in last else last


def _suppresses(item: ast.withitem) -> bool:
    call = item.context_expr
    return isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "suppress"


def _takes_all(case: ast.match_case) -> bool:
    if case.guard is not None:
        return False
    last = case.pattern.patterns[-1] if isinstance(case.pattern, ast.MatchOr) else case.pattern
    return isinstance(last, ast.MatchAs) and last.pattern is None
