"""Handlers that return True on some paths and fall off the end on others: found, and no others suspected."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import linecache
import textwrap

import pytest

from loafer_core.app.handler_returns import ADVICE, falls_off_the_end

FALL = {
    "a condition without else": """
        if message:
            return True
        """,
    "the end behind a loop": """
        for item in message:
            if item:
                return True
        """,
    "a bare return": """
        if not message:
            return
        return True
        """,
    "a None that is written out": """
        if not message:
            return None
        return True
        """,
    "one branch of a conditional expression": """
        return True if message else None
        """,
    "an except that only logs": """
        try:
            work(message)
            return True
        except ValueError:
            print("bad")
        """,
    "an except, where the else returns": """
        try:
            work(message)
        except ValueError:
            pass
        else:
            return True
        """,
    "a suppressed exception": """
        with contextlib.suppress(ValueError):
            work(message)
            return True
        """,
    "a match that may match nothing": """
        match message:
            case {"id": 1}:
                return True
            case x if x:
                return True
        """,
    "a break out of an endless loop": """
        while True:
            if message:
                break
            return True
        """,
    "the break that an inner loop's else has": """
        while True:
            for item in message:
                return True
            else:
                break
        """,
    "a condition that may end a loop": """
        while message:
            return True
        """,
}

HOLD = {
    "nothing but True": """
        work(message)
        return True
        """,
    "both branches": """
        if message:
            return True
        else:
            return False
        """,
    "a raise at the end": """
        if message:
            return True
        raise ValueError
        """,
    "nothing at all, which is how one acks": """
        work(message)
        """,
    "False or nothing, which is how one acks and keeps": """
        if not message:
            return False
        work(message)
        """,
    "an endless loop": """
        while True:
            for item in message:
                break
            if work(message):
                return True
        """,
    "a try with a finally": """
        try:
            return True
        finally:
            work(message)
        """,
    "a try whose every except leaves": """
        try:
            work(message)
        except ValueError:
            return False
        except TypeError:
            raise
        return True
        """,
    "a finally that returns for all": """
        try:
            if message:
                return None
        finally:
            return True
        """,
    "a resource that is held": """
        with open(message) as file:
            return True
        """,
    "a match that takes all": """
        match message:
            case {"id": 1}:
                return True
            case _:
                return False
        """,
    "a match that takes all the rest, in an or": """
        match message:
            case 1:
                return True
            case 2 | _:
                return False
        """,
    "a loop whose else returns": """
        for item in message:
            if item:
                return True
        else:
            return False
        """,
    "what is asserted never to be reached": """
        if message:
            return True
        assert False, "never"
        """,
    "a call that does not come back": """
        if message:
            return True
        typing.assert_never(message)
        """,
    "a None in a function inside": """
        def inner():
            return None
        return True
        """,
    "a return that cannot be reached": """
        return True
        return None
        """,
    "True behind a raise": """
        if message:
            raise ValueError
            return True
        """,
    "an outcome of its own kind": """
        if message:
            return work(message)
        return True
        """,
}


@pytest.fixture
def defined(tmp_path):
    """Write a module and import it: its source is what is looked at."""
    modules = []

    def define(source: str):
        path = tmp_path / f"handlers_{len(modules)}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        modules.append(module)
        exec(compile(source, str(path), "exec"), module.__dict__)  # no .pyc, no warning filter of the import system
        return module

    return define


def handler(body: str, kind: str = "def") -> str:
    return f"{kind} handle(message):\n{textwrap.indent(textwrap.dedent(body), '    ')}"


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("body", FALL.values(), ids=FALL)
def test_a_handler_that_returns_true_falls_off_the_end_by(defined, body, kind):
    assert falls_off_the_end(defined(handler(body, kind)).handle)


@pytest.mark.filterwarnings("ignore:.*'return' in a 'finally':SyntaxWarning")
@pytest.mark.parametrize("body", HOLD.values(), ids=HOLD)
def test_a_handler_does_not_fall_off_with(defined, body):
    assert not falls_off_the_end(defined(handler(body)).handle)


def test_async_for_and_async_with_are_read_as_their_siblings(defined):
    module = defined(
        """
async def fetches(message):
    async with session() as s:
        async for item in s:
            return True

async def holds(message):
    async with session() as s:
        return True
"""
    )

    assert falls_off_the_end(module.fetches)
    assert not falls_off_the_end(module.holds)


def test_it_is_found_in_whatever_form_a_handler_comes(defined):
    module = defined(
        '''
import functools

def noisy(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args)
    return call

@noisy
@noisy
def decorated(message):
    if message:
        return True

class Handler:
    """A text
at the left edge."""

    def handle(self, message):
        """
Another one.
"""
        if message:
            return True

    async def __call__(self, message):
        if message:
            return True

def with_more(first, message):
    if message:
        return True
'''
    )

    forms = [module.decorated, module.Handler().handle, module.Handler(), functools.partial(module.with_more, 1)]
    assert [falls_off_the_end(form) for form in forms] == [True] * 4


def test_two_of_one_name_are_told_apart(defined):
    module = defined(
        """
class Careful:
    def handle(self, message):
        return True

class Careless:
    def handle(self, message):
        if message:
            return True
"""
    )

    assert [falls_off_the_end(cls().handle) for cls in (module.Careful, module.Careless)] == [False, True]


@pytest.mark.parametrize(
    "unreadable",
    [len, "no function", lambda message: True if message else None, asyncio.sleep, eval("lambda m: None")],
)
def test_what_has_no_source_that_can_be_read_is_no_finding(unreadable):
    assert not falls_off_the_end(unreadable)


def test_a_source_that_is_gone_or_changed_is_no_finding(defined, tmp_path):
    careless = handler("if message:\n    return True")
    gone, changed, broken = [defined(careless) for _ in range(3)]
    (tmp_path / "handlers_0.py").unlink()
    (tmp_path / "handlers_1.py").write_text("\n\n" + careless)
    (tmp_path / "handlers_2.py").write_text("def handle(:")
    linecache.clearcache()

    assert [falls_off_the_end(module.handle) for module in (gone, changed, broken)] == [False] * 3


def test_there_is_advice_for_every_way_of_reading_what_is_returned():
    assert set(ADVICE) == {"lenient", "strict", "truthy"}
    assert "return False to keep the message" in ADVICE["lenient"]
