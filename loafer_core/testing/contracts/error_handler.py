"""The error handler contract: asked about any failure, it has an opinion or none, soon, and raises nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, get_args

from loafer_core._tasks import is_async
from loafer_core.api.components import Failure, Stage
from loafer_core.api.message import Message
from loafer_core.api.outcomes import described, is_outcome
from loafer_core.delivery.handlers import compile_error_handler, name_of
from loafer_core.testing.contracts.component import ComponentChecks
from loafer_core.testing.kit.checks import check
from loafer_core.testing.kit.component_rig import COMPONENT, ComponentRig
from loafer_core.testing.kit.harness import ask
from loafer_core.testing.kit.verdict import Absent, expect

BODY = "contract-kit-body-4711"
"""No report may show it."""
MOST_SECONDS = 5.0
"""Seconds that a few answers may take."""
FAILED = 3
"""Attempts that fail, where reports are counted."""


class ErrorHandlerContract(ComponentChecks):
    """Inherit it, name the component; one that reports to somebody has a harness that can tell what it reported::

    class TestErrorHandler(ErrorHandlerContract):
        component = "acme"
    """

    kind: ClassVar[str] = "error_handler"
    tells_bodies: bool = False
    """These options ask for the message's body to be reported."""

    @check(
        contract="It returns True, False, an outcome, or None = no opinion.",
        usually="it returns the id of its report, or whatever its last call returned",
    )
    async def test_e1_its_opinion_is_a_documented_one_at_every_stage(self, rig: ComponentRig) -> None:
        ask_it = _compiled(await rig.open(), rig)
        for stage in get_args(Stage):
            opinion = await ask_it(_failure(_raised(ValueError("wrong")), stage))
            fine = opinion is None or isinstance(opinion, bool) or is_outcome(opinion)
            expect(fine, f"asked about a failure at the stage {stage}, it returned {described(opinion)}")

    @check(
        contract="One that raises has no opinion, and has not reported: it raises for no failure.",
        usually="str(error) raises, or the message has no receive_count; an error without traceback; a group",
    )
    async def test_e2_no_failure_makes_it_raise(self, rig: ComponentRig) -> None:
        ask_it = _compiled(await rig.open(), rig)
        bare = Message("bare", b"\xff\xfe")
        for error in _odd_errors():
            for message in (bare, Message("large", "x" * 300_000, None, {"binary": b"\xff"}, {"object": object()})):
                failure = Failure(error, message, "contract", "handle")
                try:
                    await ask_it(failure)
                except Exception as raised:
                    seen = f"asked about a {type(error).__name__}, it raised {type(raised).__name__}: {raised}"
                    expect(False, seen)

    @check(
        contract="CancelledError is neither passed to it nor swallowed by it.",
        usually="`except BaseException`, or a bare `except:`, around an await",
    )
    async def test_e3_a_cancellation_goes_through_it(self, rig: ComponentRig) -> None:
        component = await rig.open()
        if not is_async(getattr(component, "handle", component)):
            raise Absent("async handler")
        ask_it = _compiled(component, rig)
        for turns in (1, 2, 3, 5):
            asking = asyncio.ensure_future(ask_it(_failure(_raised(ValueError("wrong")))))
            for _ in range(turns):
                await asyncio.sleep(0)
            if asking.done():
                break
            asking.cancel()
            await asyncio.wait([asking], timeout=MOST_SECONDS)
            expect(asking.cancelled(), "cancelled while it was asked, it went on as if nothing had happened")

    @check(
        contract="It answers soon: the message, and its slot, wait for it (30 s at most).",
        usually="it waits until its report has been delivered",
    )
    async def test_e4_it_answers_soon(self, rig: ComponentRig) -> None:
        ask_it = _compiled(await rig.open(), rig)
        try:
            async with asyncio.timeout(MOST_SECONDS):
                for _ in range(3):
                    await ask_it(_failure(_raised(ValueError("wrong"))))
        except TimeoutError:
            expect(False, f"three answers took more than {MOST_SECONDS:g} s")

    @check(
        contract="It is asked once for each failed attempt, and reports each once.",
        usually="it reports in handle() and once more through a logging integration; or drops equal errors",
    )
    async def test_e5_under_the_dispatcher_every_failure_is_reported_once(self, rig: ComponentRig) -> None:
        await ask(rig.harness, "reported")
        await rig.run([BODY] * FAILED, handler=_fails, error_handler=[COMPONENT, _no_more])
        reported = await _reported(rig, FAILED)
        expect(len(reported) == FAILED, f"{FAILED} attempts failed, and {len(reported)} reports were sent")

    @check(
        contract="Nothing of a message's content goes to third parties unless the options ask for it.",
        usually="the frames' local variables, the whole Message, or the text of the error goes along",
    )
    async def test_e6_a_report_does_not_show_the_message(self, rig: ComponentRig) -> None:
        await ask(rig.harness, "reported")
        if self.tells_bodies:
            raise Absent("discretion")
        await rig.run([BODY], handler=_quotes, error_handler=[COMPONENT, _no_more])
        for text in await _reported(rig, 1):
            for name, secret in (("body", BODY), ("attributes", "contract-kit-attribute")):
                expect(secret not in text, f"a report shows the message's {name}")


async def _reported(rig: ComponentRig, count: int) -> list[str]:
    """What was reported, once nothing is under way any more."""
    await rig.close_components()
    loop = asyncio.get_running_loop()
    until = loop.time() + rig.contract.patience
    while True:
        reported = [str(text) for text in await ask(rig.harness, "reported")]
        if len(reported) >= count or loop.time() > until:
            return reported
        await asyncio.sleep(0.02)


def _compiled(component: Any, rig: ComponentRig) -> Callable[[Failure], Awaitable[object]]:
    return compile_error_handler(component, rig.threads, name_of(component))


def _failure(error: BaseException, stage: Stage = "handle") -> Failure:
    return Failure(error, Message("m-1", BODY, "receipt", {"tenant": "acme"}, receive_count=2), "contract", stage)


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def _odd_errors() -> list[BaseException]:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words for it")

    circle = ValueError("one")
    other = ValueError("other")
    circle.__cause__ = other
    other.__cause__ = circle
    group = ExceptionGroup("several", [ValueError(1), ExceptionGroup("inner", [KeyError("k")])])
    return [ValueError(), Mute(), circle, group, SystemExit(3), KeyError(object()), TimeoutError("\ud800")]


async def _fails(payload: str) -> None:
    raise ValueError("wrong")


async def _quotes(payload: str) -> None:
    raise ValueError(f"cannot read {payload}")


async def _no_more(failure: Failure) -> bool:
    return True
