"""The contract of ready-made handlers, such as publishers: True means that the target has it."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

from loafer_core.api.errors import LoaferError, Unavailable
from loafer_core.api.message import Message
from loafer_core.api.outcomes import Ack, read
from loafer_core.delivery.handlers import compile_handler, name_of
from loafer_core.testing.contracts.component import ComponentChecks
from loafer_core.testing.kit.checks import check
from loafer_core.testing.kit.component_rig import COMPONENT, ComponentRig
from loafer_core.testing.kit.harness import Body, ask
from loafer_core.testing.kit.verdict import expect


class HandlerContract(ComponentChecks):
    """Inherit it, name the component, and give it a harness that can tell what has arrived (``sent``)::

    class TestHandler(HandlerContract):
        component = "acme"

        @pytest.fixture
        def harness(self): return AcmeTopic()
    """

    kind: ClassVar[str] = "handler"

    @check(
        contract="It acks (True, None, Ack) once the target has the message, and not before.",
        usually="it returns when the message is in its own buffer",
    )
    async def test_h1_what_was_acked_has_arrived(self, rig: ComponentRig) -> None:
        call = _compiled(await rig.open(), rig)
        outcome = read(await call("a text", _metadata(1)), "strict", self.component)
        expect(isinstance(outcome, Ack), f"it handled a text, and the outcome is {outcome}")
        expect(await _sent(rig) == [b"a text"], f"'a text' was acked, and what has arrived is {await _sent(rig)}")

    @check(
        contract="What JSON can say is sent as JSON, or refused with an error.",
        usually="str(payload), which nobody can read again",
    )
    async def test_h2_a_structure_arrives_as_json(self, rig: ComponentRig) -> None:
        call = _compiled(await rig.open(), rig)
        payload = {"id": 1, "items": [None, True, 0.5], "text": "gr\u00fc\u00df dich"}
        try:
            await call(payload, _metadata(1))
        except (TypeError, ValueError, LoaferError):
            expect(not await _sent(rig), "it refused a table, and sent something all the same")
            return
        [body] = await _sent(rig) or [b""]
        try:
            same = json.loads(body) == payload
        except ValueError:
            same = False
        expect(same, f"the table arrived as {body[:100]!r}")

    @check(
        contract="What no body can be made of is an error, and nothing is sent.",
        usually="json.dumps(default=str), which sends the address of an object",
    )
    async def test_h3_what_cannot_be_sent_is_refused(self, rig: ComponentRig) -> None:
        call = _compiled(await rig.open(), rig)
        try:
            await call(object(), _metadata(1))
        except Exception:
            expect(not await _sent(rig), "it raised, and sent something all the same")
            return
        expect(False, f"it acked an object that no body can be made of, and sent {await _sent(rig)}")

    @check(
        contract="Where the target did not take it, or nobody knows, it raises; the message is delivered again.",
        usually="an entry's failure in a batch answer is not read; or the error is logged and forgotten",
    )
    async def test_h4_a_failure_of_the_target_is_raised(self, rig: ComponentRig) -> None:
        call, outcome = _compiled(await rig.open(), rig), None
        await ask(rig.harness, "fail_next", "handle", Unavailable("injected by the contract kit"))
        try:
            outcome = read(await call("lost", _metadata(1)), "strict", self.component)
        except Exception:
            await call("next", _metadata(2))
            arrived = await _sent(rig)
            expect(b"next" in arrived, f"after a failure nothing arrives any more: {arrived}")
            return
        expect(not isinstance(outcome, Ack), "the target failed, and it acked")

    @check(
        contract="Handlers of one route run side by side: each call has its own answer.",
        usually="one failure in a common batch fails all, or one call's body is overwritten by another",
    )
    async def test_h5_many_at_once_arrive_once_each(self, rig: ComponentRig) -> None:
        call = _compiled(await rig.open(), rig)
        await asyncio.gather(*(call(f"{number}", _metadata(number)) for number in range(25)))
        arrived = sorted(await _sent(rig))
        expect(arrived == sorted(f"{number}".encode() for number in range(25)), f"of 25 there arrived {arrived}")

    @check(
        contract="close waits for what is under way: what was acked has arrived.",
        usually="close() drops a buffer",
    )
    async def test_h6_close_loses_nothing_that_was_acked(self, rig: ComponentRig) -> None:
        call = _compiled(await rig.open(), rig)
        calls = [asyncio.ensure_future(call(f"{number}", _metadata(number))) for number in range(5)]
        await asyncio.sleep(0)
        await rig.close_components()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        acked = [f"{n}".encode() for n, answer in enumerate(answers) if not isinstance(answer, BaseException)]
        missing = set(acked) - set(await _sent(rig))
        expect(not missing, f"closed meanwhile, it acked {sorted(missing)}, which never arrived")

    @check(
        contract="open: again after close().",
        usually="close() sets a flag, or cancels a task, that open() does not make anew",
    )
    async def test_h7_it_opens_again_after_close(self, rig: ComponentRig) -> None:
        component = await rig.open()
        await _compiled(component, rig)("one", _metadata(1))
        await rig.close_components()
        await rig.open(component)
        await _compiled(component, rig)("two", _metadata(2))
        expect(sorted(await _sent(rig)) == [b"one", b"two"], f"of 'one' and 'two' there arrived {await _sent(rig)}")

    @check(
        contract="A route that forwards acks what it has forwarded.",
        usually="the parameters are not (payload, metadata), or the name in the configuration is another",
    )
    async def test_h8_under_the_dispatcher_it_forwards(self, rig: ComponentRig) -> None:
        account, manager = await rig.run(["one", "two", "three"], handler=COMPONENT)
        expect(manager.accounts["contract"].acked == 3, f"of three messages: {account}")
        arrived = sorted(await _sent(rig))
        expect(arrived == [b"one", b"three", b"two"], f"of 'one', 'two' and 'three' there arrived {arrived}")


def _compiled(component: Any, rig: ComponentRig) -> Any:
    handler = compile_handler(component, rig.threads, name_of(component))

    async def call(payload: object, metadata: dict[str, object]) -> object:
        return await handler(payload, metadata)

    return call


def _metadata(number: int) -> dict[str, object]:
    facts = {"message_id": f"m-{number}", "receive_count": 1, "route": "contract", "attributes": {"tenant": "acme"}}
    return facts | {"group": None, "sent_at": None, "state": None}


async def _sent(rig: ComponentRig) -> list[bytes]:
    arrived: list[Body | Message] = list(await ask(rig.harness, "sent"))
    bodies = [one.body if isinstance(one, Message) else one for one in arrived]
    return [body if isinstance(body, bytes) else body.encode() for body in bodies]
