"""The one owner of every message of a route: where each is, and where it may go from there."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest
from route_rig import works

from loafer_core import Current, Flag, InFlight, Message, Settled
from loafer_core.delivery.in_flight import HOLD_A_SLOT, TRANSITIONS, InFlightTable, Phase, WrongTransition
from loafer_core.observability.account import Account


def table(freed: list[int] | None = None) -> InFlightTable:
    return InFlightTable("orders", Account(), lambda: 1000.0, lambda: freed.append(1) if freed is not None else None)


def taken(in_flight: InFlightTable, id: str = "1"):
    message = Message(id, "body", object())
    return in_flight.take(message, Current(message, "orders", Flag()), 990.0)


WAYS = {
    Phase.WAITING: (),
    Phase.STARTING: (Phase.STARTING,),
    Phase.RUNNING: (Phase.STARTING, Phase.RUNNING),
    Phase.DECIDED: (Phase.DECIDED,),
    Phase.SETTLING: (Phase.DECIDED, Phase.SETTLING),
}


@pytest.mark.parametrize(
    ("here", "there"),
    [(here, there) for here, there in itertools.product(WAYS, Phase) if there not in TRANSITIONS[here]],
    ids="-".join,
)
def test_a_delivery_goes_nowhere_that_its_phase_does_not_lead_to(here, there):
    in_flight = table()
    delivery = taken(in_flight)
    for phase in WAYS[here]:
        in_flight.advance(delivery, phase)

    with pytest.raises(WrongTransition, match=f"^orders: message 1 cannot go from {here} to {there}$"):
        in_flight.advance(delivery, there)
    assert delivery.phase is here


def test_what_is_closed_is_closed_for_good():
    in_flight = table()
    delivery = taken(in_flight)
    in_flight.close(delivery, "abandoned")

    assert TRANSITIONS[Phase.CLOSED] == set()
    with pytest.raises(WrongTransition):
        in_flight.close(delivery, "acked")
    assert len(in_flight) == 0


def test_every_phase_has_its_transitions_and_all_but_the_first_can_be_reached():
    assert set(TRANSITIONS) == set(Phase)
    assert set().union(*TRANSITIONS.values()) == set(Phase) - {Phase.WAITING}


@pytest.mark.parametrize("last", sorted(HOLD_A_SLOT), ids=str)
@pytest.mark.parametrize("then", [Phase.DECIDED, Phase.CLOSED], ids=str)
def test_a_slot_is_held_until_the_outcome_is_known_and_comes_free_once(last, then):
    freed: list[int] = []
    in_flight = table(freed)
    delivery = taken(in_flight)
    for phase in WAYS[last]:
        in_flight.advance(delivery, phase)
    assert (in_flight.busy, freed) == (1, [])

    in_flight.advance(delivery, then)
    assert (in_flight.busy, freed) == (0, [1])

    if then is Phase.DECIDED:
        in_flight.advance(delivery, Phase.SETTLING)
        in_flight.advance(delivery, Phase.CLOSED)
    assert (in_flight.busy, freed) == (0, [1])


def test_one_can_always_ask_where_each_message_is(rig):
    source = rig.Source(ordered=True, lease=30.0, batch=10, rejects=True)
    source.send("first", "behind", group="g")
    source.send("settling")
    source.always["ack"] = 5.0  # the source takes five seconds to answer, and does not confirm
    known: list[dict[str, InFlight]] = []

    async def handle(id):
        await asyncio.sleep(10.0 if id == "first" else 1.0)

    async def story(consumer):
        await asyncio.sleep(4.0)
        known.append({message.id: message for message in consumer.messages()})
        await asyncio.sleep(60.0)
        assert consumer.account.received > 0

    rig.tell(story, source, handle)
    [told] = known
    assert [*told] == ["first", "behind", "settling"]  # as they were received
    assert {id: message.phase for id, message in told.items()} == {
        "first": "running",
        "behind": "waiting",
        "settling": "settling",
    }
    assert {message.route for message in told.values()} == {"orders"}
    assert {message.receive_count for message in told.values()} == {1}
    assert {round(message.age) for message in told.values()} == {4}
    assert {round(message.lease_left) for message in told.values()} == {26}


def test_without_leases_there_is_none_left_and_with_a_lost_one_none_either(rig):
    endless, lost = rig.Source("1"), rig.Source("2", lease=30.0)

    async def handle(id):
        await asyncio.sleep(20.0)

    async def story():
        one = rig.consumer(endless, handle, name="endless")
        other = rig.consumer(lost, handle, name="lost", retry="leave")
        async with rig.running(one, other):
            await asyncio.sleep(5.0)
            other.context.lost(other.context.outstanding(), "by chance")
            assert [message.lease_left for message in one.messages()] == [None]
            assert [message.lease_left for message in other.messages()] == [0.0]
            await asyncio.sleep(20.0)
            assert (one.messages(), other.messages()) == ([], [])

    rig.run(story)


def test_another_thread_may_ask_while_messages_come_and_go():
    in_flight = table()
    over, wrong = threading.Event(), list[BaseException]()

    def ask():
        try:
            while not over.is_set():
                assert all(message.age == 10.0 for message in in_flight.snapshot())
        except BaseException as error:
            wrong.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(20_000):
        delivery = taken(in_flight, str(number))
        if number % 3:
            in_flight.close(delivery, "dropped")
    over.set()
    asking.join()
    assert wrong == []
    assert len(in_flight.snapshot()) == len(in_flight) == 6_667


def test_a_record_keeps_no_message_once_it_is_closed(rig, ids):
    source = rig.Source(*ids(3), lease=30.0)
    source.next("ack", Settled.RETRY)

    async def story(consumer):
        await asyncio.sleep(60.0)
        assert consumer.account.acked == 3
        assert consumer.messages() == []
        assert list(consumer.context.outstanding()) == []

    rig.tell(story, source, works(1.0))


def test_a_message_object_that_is_handed_out_twice_is_left_out_and_harms_no_neighbour(rig, ids, caplog):
    source = rig.Source(lease=30.0, batch=10)
    again = Message("again", "again", object(), receive_count=1)
    others = [Message(id, id, object(), receive_count=1) for id in ids(4)]
    source.next("receive", [again, again, *others])

    async def handle(id):
        await asyncio.sleep(1.0)

    async def story():
        consumer = rig.consumer(source, handle)
        async with rig.running(consumer):
            await asyncio.sleep(60.0)
            assert (consumer.account.received, consumer.account.acked) == (5, 5)
            assert consumer.messages() == []
            assert consumer.emptiness.is_empty

    rig.run(story)
    assert "orders: route_rig:Audit handed out message again once more as the very object" in caplog.text


def test_what_is_closed_while_somebody_asks_is_not_told():
    in_flight = table()
    delivery = taken(in_flight)
    in_flight.advance(delivery, Phase.CLOSED)  # as the loop does in the moment in which another thread has copied

    assert in_flight.snapshot() == []
