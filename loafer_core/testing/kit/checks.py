"""What a check is: a story about one line of a contract, told in a loop of its own, whose failure reads as advice."""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

import pytest

from loafer_core.testing import summary
from loafer_core.testing.kit.consumer import Broken
from loafer_core.testing.kit.harness import Absent

Story = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One check: its id, what it proves, the words of the contract, and what is usually the cause when it fails."""

    id: str
    proves: str
    contract: str
    usually: str

    def advice(self, subject: str, seen: str) -> str:
        """Say it all."""
        lines = [f"{self.id} {self.proves}  [{subject}]"]
        for label, text in (("contract", self.contract), ("seen", seen), ("usually", self.usually)):
            lines.append(textwrap.fill(text, 110, initial_indent=f"  {label + ':':<10}", subsequent_indent=" " * 12))
        return "\n".join(lines)


class Check(Protocol):
    """A test method that carries its case."""

    case: Case
    __name__: str

    def __call__(self, contract: Any, harness: Any = None) -> None: ...


def check(*, contract: str, usually: str) -> Callable[[Story], Check]:
    """Make a check of a story named ``test_<id>_<what it proves>``; one with the parameter ``rig`` needs a harness."""

    def decorate(story: Story) -> Check:
        _, number, proves = story.__name__.split("_", 2)
        case = Case(number.upper(), proves.replace("_", " "), contract, usually)
        test: Any
        if "rig" in inspect.signature(story).parameters:

            def test(self: Contract, harness: Any) -> None:
                _tell(case, self, lambda: self.run(self.with_rig(story, harness)))
        else:

            def test(self: Contract) -> None:
                _tell(case, self, lambda: self.run(told) if inspect.iscoroutine(told := story(self)) else None)

        # Not functools.wraps: pytest would read the story's own parameters as the names of fixtures.
        test.__name__, test.__qualname__, test.__module__ = story.__name__, story.__qualname__, story.__module__
        test.__doc__, test.case = f"{case.id}: {contract}", case
        return cast(Check, test)

    return decorate


class Contract:
    """What all contracts have in common."""

    component: str = ""
    """The component under test, as a route would name it: the wiring is tested along."""
    loop_factory: ClassVar[Any] = None
    """Makes each check's event loop: None, asyncio's own; ``VirtualLoop``, where nothing is outside the process."""
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

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Tell a story in a loop of its own."""

        async def told() -> None:
            try:
                async with asyncio.timeout(self.most_seconds) as limit:
                    await story
            except TimeoutError:
                if not limit.expired():
                    raise
                raise Broken(f"it was given up after {self.most_seconds:g} s; something in it waits for ever") from None

        with asyncio.Runner(loop_factory=self.loop_factory) as runner:
            runner.run(told())

    async def with_rig(self, story: Story, harness: Any) -> None:
        """Tell a story about what ``harness`` leads to. Contracts that take one say how."""
        raise NotImplementedError


def checks_of(contract: type[Contract]) -> Iterator[Check]:
    """Give every check of a contract, in the order of their names."""
    for name, member in inspect.getmembers(contract):
        if isinstance(getattr(member, "case", None), Case):
            assert name == member.__name__
            yield member


def _tell(case: Case, contract: Contract, story: Callable[[], None]) -> None:
    __tracebackhide__ = True
    try:
        story()
        return
    except Absent as absent:
        lacks, seen = str(absent), ""
    except Broken as broken:
        lacks, seen = "", str(broken)
    except Exception as error:
        raised = f"{type(error).__name__} was raised where the check expects none: {error}"
        raise AssertionError(case.advice(contract.subject(), raised)) from error
    if lacks:
        pytest.skip(f"no: {lacks}")
    pytest.fail(case.advice(contract.subject(), seen), pytrace=False)
