"""What a check is: a test of one line of a contract, which runs in a loop of its own, and whose failure reads as
advice.

A check is written as a story: an async method with the rig as its parameter, or a plain method where it needs none.
"""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

import pytest

from loafer_core.testing import summary
from loafer_core.testing.kit.verdict import Absent, Broken

Story = Callable[..., Any]
"""A method as its author wrote it, before ``check`` made a test of it."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a check is about."""

    id: str
    """``P4``, as the tables of the contract have it."""
    proves: str
    """The sentence of its name."""
    contract: str
    """What the contract says."""
    usually: str
    """What is usually the cause when it fails."""

    def advice(self, subject: str, seen: str) -> str:
        """Give the text of a failure: who failed, what the contract says, what was seen, and the usual cause."""
        lines = [f"{self.id} {self.proves}  [{subject}]"]
        for label, text in (("contract", self.contract), ("seen", seen), ("usually", self.usually)):
            lines.append(textwrap.fill(text, 110, initial_indent=f"  {label + ':':<10}", subsequent_indent=" " * 12))
        return "\n".join(lines)


class Check(Protocol):
    """A test method that knows what it is about."""

    case: Case
    __name__: str

    def __call__(self, contract: Any, harness: Any = None) -> None: ...


def check(*, contract: str, usually: str) -> Callable[[Story], Check]:
    """Make a check of a story that is named ``test_<id>_<what it proves>``.

    A story with the parameter ``rig`` becomes a test with the fixture ``harness``.
    """

    def decorate(story: Story) -> Check:
        _, number, proves = story.__name__.split("_", 2)
        case = Case(number.upper(), proves.replace("_", " "), contract, usually)
        test: Any
        if "rig" in inspect.signature(story).parameters:

            def test(self: Contract, harness: Any) -> None:
                _report(case, self, lambda: self.run(self.with_rig(story, harness)))
        else:

            def test(self: Contract) -> None:
                _report(case, self, lambda: self._run_story(story))

        # Not functools.wraps: pytest would read the story's own parameters as the names of fixtures.
        test.__name__ = story.__name__
        test.__qualname__ = story.__qualname__
        test.__module__ = story.__module__
        test.__doc__ = f"{case.id}: {contract}"
        test.case = case
        return cast(Check, test)

    return decorate


class Contract:
    """What all contracts have in common."""

    component: str = ""
    """The component under test, as a route would name it: that it is found by this name is tested, too."""
    loop_factory: ClassVar[Any] = None
    """Makes the event loop of each check. None: asyncio's own. ``VirtualLoop``: where nothing is outside the
    process."""
    patience: float = 10.0
    """Seconds that the kit waits for what has to happen."""
    most_seconds: float = 50.0
    """Seconds after which a check is given up."""

    @pytest.fixture(autouse=True)
    def _in_the_summary(self, request: pytest.FixtureRequest) -> None:
        summary.note(request, self.subject())

    def subject(self) -> str:
        """Name what is under test: ``TestProvider(acme)``."""
        return f"{type(self).__name__}({self.component})"

    def _run_story(self, story: Story) -> None:
        running = story(self)
        if inspect.iscoroutine(running):
            self.run(running)

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Run a story in a loop of its own. Raises Broken where it takes longer than ``most_seconds``."""

        async def limited() -> None:
            try:
                async with asyncio.timeout(self.most_seconds) as limit:
                    await story
            except TimeoutError:
                if not limit.expired():
                    raise
                raise Broken(f"it was given up after {self.most_seconds:g} s; something in it waits for ever") from None

        with asyncio.Runner(loop_factory=self.loop_factory) as runner:
            runner.run(limited())

    async def with_rig(self, story: Story, harness: Any) -> None:
        """Run a story with a rig around ``harness``. Contracts whose checks have a rig say how."""
        raise NotImplementedError


def checks_of(contract: type[Contract]) -> Iterator[Check]:
    """Give every check of a contract, in the order of their names."""
    for name, member in inspect.getmembers(contract):
        if isinstance(getattr(member, "case", None), Case):
            assert name == member.__name__
            yield member


def _report(case: Case, contract: Contract, story: Callable[[], None]) -> None:
    """Run a story, and report to pytest what it found: nothing, a skip, or a failure that reads as advice."""
    __tracebackhide__ = True
    missing = seen = ""
    try:
        story()
        return
    except Absent as error:
        missing = str(error)
    except Broken as error:
        seen = str(error)
    except Exception as error:
        raised = f"{type(error).__name__} was raised where the check expects none: {error}"
        raise AssertionError(case.advice(contract.subject(), raised)) from error
    # Outside of the handlers, so that pytest does not show the exceptions of the kit as causes.
    if missing:
        pytest.skip(f"no: {missing}")
    pytest.fail(case.advice(contract.subject(), seen), pytrace=False)
