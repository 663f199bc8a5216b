"""Finds handlers that return True on some paths and fall off the end, with None, on others.

georgeyk/loafer and olist-loafer keep a message whose handler returned None; Loafer acks it. Such a handler may mean
either, so that ``loafer check`` warns of it. It is found by reading its source; where there is no source, or it cannot
be understood, nothing is found.
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
"""The warning about such a handler, by the route's ``returns``."""

_Exits = frozenset[str]
"""The ways in which control can leave a statement or a block; each is one of the four that follow. How an exception
leaves it is of no interest here, nor is a return value other than True and None."""
_NEXT = "next"
"""To the statement behind it."""
_BREAK = "break"
"""Out of the loop around it."""
_TRUE = "true"
"""By ``return True``."""
_NONE = "none"
"""By ``return`` or ``return None``."""

_LAST_CALLS = {"abort", "assert_never", "exit", "_exit"}
"""Functions that do not come back, by the last part of their names."""


def falls_off_the_end(function: object) -> bool:
    """Tell whether it returns True on some path, and on another reaches its end, ``return`` or ``return None``.

    Args:
        function: a function or coroutine function, a method, a partial of one, or an object with ``__call__``; of a
            decorated one, what ``functools.wraps`` says is inside.
    """
    definition = _definition(_code(function))
    if definition is None:
        return False
    exits = _block(definition.body)
    return _TRUE in exits and not exits.isdisjoint({_NONE, _NEXT})


def _code(function: Any) -> object:
    """Give the code object of the function that is inside; None where there is none."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = getattr(function, "__call__", None)  # noqa: B004 - the method itself is wanted
    return getattr(inspect.unwrap(function), "__code__", None)


def _definition(code: object) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """Find the definition that the code was compiled from, by its name and first line, in the source of its module."""
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


def _block(statements: Sequence[ast.stmt]) -> _Exits:
    """Give the exits of statements that stand one after the other; those that are never reached have none."""
    exits: _Exits = frozenset()
    for statement in statements:
        of_this = _statement(statement)
        exits |= of_this - {_NEXT}
        if _NEXT not in of_this:
            return exits
    return exits | {_NEXT}


def _statement(statement: ast.stmt) -> _Exits:
    match statement:
        case ast.Return(value=value):
            return _return(value)
        case ast.Raise() | ast.Continue() | ast.Assert(test=ast.Constant(value=False)):
            return frozenset()
        case ast.Expr(value=ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name))) if name in _LAST_CALLS:
            return frozenset()
        case ast.Break():
            return frozenset({_BREAK})
        case ast.If(body=body, orelse=orelse):
            return _one_of([body, orelse])
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
            return _one_of([case.body for case in cases] + rest)
        case ast.Try() | ast.TryStar():
            return _try(statement)
    return frozenset({_NEXT})


def _return(value: ast.expr | None) -> _Exits:
    if isinstance(value, ast.IfExp):
        return _return(value.body) | _return(value.orelse)
    if value is None:
        return frozenset({_NONE})
    if isinstance(value, ast.Constant) and value.value is None:
        return frozenset({_NONE})
    if isinstance(value, ast.Constant) and value.value is True:
        return frozenset({_TRUE})
    return frozenset()


def _one_of(blocks: Iterable[Sequence[ast.stmt]]) -> _Exits:
    """Give the exits of blocks of which one is taken."""
    return frozenset[str]().union(*map(_block, blocks))


def _loop(body: list[ast.stmt], orelse: list[ast.stmt] | None) -> _Exits:
    """Give the exits of a loop.

    Args:
        body: what is repeated.
        orelse: what runs when the loop ends without ``break``; None: it never ends so, as ``while True``.
    """
    inside = _block(body)
    exits = inside - {_NEXT, _BREAK}
    if _BREAK in inside:
        exits |= {_NEXT}
    return exits if orelse is None else exits | _block(orelse)


def _try(statement: ast.Try | ast.TryStar) -> _Exits:
    body = _block(statement.body)
    if _NEXT in body:
        body = body - {_NEXT} | _block(statement.orelse)
    exits = body | _one_of(handler.body for handler in statement.handlers)
    last = _block(statement.finalbody)
    # What leaves from the finally block leaves in place of whatever was under way.
    return last - {_NEXT} | exits if _NEXT in last else last


def _suppresses(item: ast.withitem) -> bool:
    """Tell whether it is ``contextlib.suppress``: then an exception leads to the statement behind the block."""
    call = item.context_expr
    return isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "suppress"


def _takes_all(case: ast.match_case) -> bool:
    """Tell whether it is ``case _`` or the like: then no value passes by all cases."""
    if case.guard is not None:
        return False
    last = case.pattern.patterns[-1] if isinstance(case.pattern, ast.MatchOr) else case.pattern
    return isinstance(last, ast.MatchAs) and last.pattern is None
