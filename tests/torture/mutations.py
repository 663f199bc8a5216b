"""What is wrong with each mutant, and which test must notice. Tests that run in virtual time where they bite."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

REPOSITORY = pathlib.Path(__file__).parents[2]
PACKAGES = {path.name: path for path in (REPOSITORY / "loafer_core", REPOSITORY / "plugins/loafer_sqs/src/loafer_sqs")}


class Patch(NamedTuple):
    """In ``file``, what stands there exactly once, and what shall stand there instead."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """A dispatcher with one thing wrong. ``test``: the file of a test, and its name from the sentence on."""

    name: str
    test: str
    patches: Sequence[Patch]


CORE, SQS = "loafer_core", "loafer_sqs"
DELIVERY, ENGINE, SIMULATION = "tests/core/delivery", "tests/core/engine", "tests/core/simulation"
SCRIPTED, TORTURE = "tests/loafer_sqs/scripted", "tests/torture"


def one(name: str, test: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(name, test, [Patch(file, old, new)])


# The ten that every dispatcher's tests must notice

THE_TEN = [
    one(
        "acks before the handler is done",
        f"{DELIVERY}/test_settlement.py::every_outcome_becomes_its_settlement",
        f"{CORE}/delivery/deliveries.py",
        "await self._decide(delivery)",
        "delivery.outcome = Ack(); asyncio.ensure_future(self._decide(delivery))",
    ),
    one(
        "acks whatever the outcome, as an ack in a finally clause does",
        f"{DELIVERY}/test_settlement.py::every_outcome_becomes_its_settlement",
        f"{CORE}/delivery/deliveries.py",
        "self._settlement.carry_out(delivery, outcome)",
        'self._settlement.tell(delivery, "ack")',
    ),
    one(
        "stops without flushing acks",
        f"{ENGINE}/test_shutdown.py::settlements_are_flushed_also_through_a_failing_flush",
        f"{CORE}/engine/shutdown.py",
        "        deliveries.drain_settlements()\n",
        "        await deliveries.give_up_settlements()\n",
    ),
    one(
        "starts handlers without looking at the lease",
        f"{DELIVERY}/test_leases.py::a_lapsed_lease_that_cannot_be_extended_starts_no_handler",
        f"{CORE}/delivery/deliveries.py",
        "(self._leases.is_safe(delivery) or await self._leases.ensure(delivery))",
        "True",
    ),
    one(
        "gives back a message whose thread still runs",
        f"{ENGINE}/test_shutdown.py::a_plain_function_that_still_runs_is_abandoned_and_never_given_back",
        f"{CORE}/delivery/deliveries.py",
        "            self._cancel(delivery)\n\n    def drain_settlements",
        "            self._cancel(delivery)\n"
        "            if delivery.phase is RUNNING:\n"
        "                self._in_flight.advance(delivery, DECIDED)\n"
        '                self._settlement.tell(delivery, "release")\n\n    def drain_settlements',
    ),
    one(
        "nacks when an ack failed",
        f"{DELIVERY}/test_settler.py::an_ack_that_was_not_confirmed_is_asked_again_until_it_is",
        f"{CORE}/delivery/settler.py",
        "        delivery.tries += 1\n",
        '        delivery.tries += 1\n        delivery.verb = "nack" if delivery.verb == "ack" else delivery.verb\n',
    ),
    Mutant(
        "has one client for polls and acks, with the SDK's pool",
        f"{SCRIPTED}/test_faults.py::an_ack_does_not_wait_for_a_hundred_and_twenty_open_long_polls",
        [
            Patch(f"{SQS}/aws/connecting.py", 'if method == "receive_message" else self.control', "or self.control"),
            Patch(f"{SQS}/aws/connecting.py", "FastCalls(control, sessions[1]", "FastCalls(polls, sessions[0]"),
            Patch(f"{SQS}/aws/connecting.py", '"max_pool_connections": 1000', '"max_pool_connections": 10'),
        ],
    ),
    one(
        "runs plain functions in the loop's own threads",
        f"{TORTURE}/test_faults_leases.py::t22_plain_functions_that_are_busy_leave_the_loops_own_threads_alone",
        f"{CORE}/delivery/executors.py",
        "call = self._executor.submit(",
        "loop = asyncio.get_running_loop()\n"
        "        if loop._default_executor is None:\n"
        "            loop.set_default_executor(ThreadPoolExecutor(5))\n"
        "        call = loop._default_executor.submit(",
    ),
    one(
        "takes an entry that was not answered for done",
        f"{SCRIPTED}/test_batches.py::every_entry_of_a_batch_gets_its_own_answer",
        f"{SQS}/aws/batches.py",
        'for entry in answer.get("Successful") or () if',
        "for entry in numbered if",
    ),
    one(
        "lets leases go while it drains",
        f"{ENGINE}/test_shutdown.py::running_work_finishes_its_lease_is_kept_and_it_is_acked",
        f"{CORE}/engine/consumer.py",
        "            await drain.run()\n",
        "            await self._background.stop()\n            await drain.run()\n",
    ),
]

OUR_OWN = [
    one(
        "forgets what it has finished",
        f"{DELIVERY}/test_settler.py::a_finished_message_that_comes_back_is_acked_with_its_newest_receipt_and_not_run_again",
        f"{CORE}/delivery/deliveries.py",
        "return self._ledger is not None and self._ledger.knows(message, self._now())",
        "return False",
    ),
    one(
        "keys its ledger by the delivery instead of the message",
        f"{DELIVERY}/test_settler.py::a_finished_message_that_comes_back_is_acked_with_its_newest_receipt_and_not_run_again",
        f"{CORE}/delivery/ledger.py",
        "done = self._done.get(message.id)",
        "done = self._done.get(str(message.receipt))",
    ),
    one(
        "takes what failed for finished",
        f"{DELIVERY}/test_settler.py::a_message_that_failed_or_was_rejected_is_run_again_when_it_comes_back",
        f"{CORE}/delivery/deliveries.py",
        "if self._ledger is not None and isinstance(outcome, Ack):",
        "if self._ledger is not None:",
    ),
    one(
        "goes on in a group after a failure",
        f"{DELIVERY}/test_groups.py::after_one_that_was_not_confirmed_the_rest_of_its_group_goes_back",
        f"{CORE}/delivery/groups.py",
        "if delivery.confirmed and queue:",
        "if queue:",
    ),
    one(
        "runs the messages of a group side by side",
        f"{DELIVERY}/test_groups.py::groups_are_handled_side_by_side_and_each_in_its_order",
        f"{CORE}/delivery/groups.py",
        "group = delivery.message.group if self._is_ordered else None",
        "group = None",
    ),
    one(
        "steals a lost lease back",
        f"{DELIVERY}/test_leases.py::after_its_lease_is_lost_a_message_is_neither_nacked_nor_extended",
        f"{CORE}/delivery/leases.py",
        "elif answer is Settled.LOST or delivery.lease_until <= now:",
        "elif delivery.lease_until <= now:",
    ),
    one(
        "extends while a settlement is under way",
        f"{DELIVERY}/test_leases.py::t28_no_extend_is_sent_once_settling_began_and_settling_waits_for_one_under_way",
        f"{CORE}/delivery/leases.py",
        "            delivery.extend_at = math.inf\n",
        "",
    ),
    Mutant(
        "nacks what is not ours any more",
        f"{DELIVERY}/test_leases.py::after_its_lease_is_lost_a_message_is_neither_nacked_nor_extended",
        [
            Patch(
                f"{CORE}/delivery/settlement.py", 'if delivery.gone or (lost and verb != "ack"):', "if delivery.gone:"
            ),
            Patch(f"{CORE}/delivery/settler.py", ' and (verb == "ack" or one.lease_until > now)]', "]"),
        ],
    ),
    one(
        "counts the lease from when the answer was read",
        f"{SCRIPTED}/test_faults.py::an_answer_that_was_read_late_has_as_much_less_lease",
        f"{SQS}/provider.py",
        "lease_until = handed_out - ",
        "lease_until = arrived - ",
    ),
    one(
        "asks for more messages than there are free slots",
        f"{ENGINE}/test_consumer.py::slots_are_a_hard_bound_when_messages_come_in_bursts",
        f"{CORE}/engine/receiver.py",
        "limit = min(self._free(), self._share)",
        "limit = self._share",
    ),
    one(
        "asks again at once when receiving failed",
        f"{ENGINE}/test_receiver.py::a_receive_that_always_fails_is_tried_ever_more_rarely_and_recovers_within_a_step",
        f"{CORE}/engine/receiver.py",
        "self._not_before = max(self._not_before, self._loop.time() + delay)",
        "self._not_before = self._loop.time() + min(delay, 0.01)",
    ),
    one(
        "hangs up on open polls when it stops",
        f"{SIMULATION}/test_simulation.py::whatever_goes_wrong_every_invariant_holds",
        f"{CORE}/engine/shutdown.py",
        "await self._until(lambda: not self._receiver.open, self._deadlines.polls_until)",
        "await self._until(lambda: not self._receiver.open, 0.0)",
    ),
    one(
        "takes its own cancelling for the handler's failure",
        f"{ENGINE}/test_shutdown.py::work_that_does_not_end_in_time_is_cancelled_and_given_back",
        f"{CORE}/delivery/deliveries.py",
        "delivery.message, lambda: delivery.cancelled, delivery.task",
        "delivery.message, lambda: False, delivery.task",
    ),
    one(
        "counts the message's own failures in its breaker",
        f"{DELIVERY}/test_breaker.py::it_does_not_care_for_successes_and_the_messages_own_failures",
        f"{CORE}/delivery/breaker.py",
        "down = isinstance(error, (OSError, Unavailable))",
        "down = error is not None",
    ),
    one(
        "retries at once",
        f"{DELIVERY}/test_settlement.py::a_nack_hides_the_message_between_half_and_the_whole_of_what_the_policy_says",
        f"{CORE}/delivery/settlement.py",
        "delay = retry.delay(count, lease=traits.lease, ordered=traits.ordered, rng=self._rng)",
        "delay = 0.0",
    ),
    Mutant(
        "lets the SDK repeat a receive",
        f"{SCRIPTED}/test_faults.py::a_receive_is_asked_once_and_a_settlement_three_times",
        [
            Patch(f"{SQS}/aws/connecting.py", '"total_max_attempts": 1}', '"total_max_attempts": 3}'),
            Patch(f"{SQS}/aws/connecting.py", '"receive_message": FastCalls', '"not_at_all": FastCalls'),
        ],
    ),
    one(
        "asks for a lost answer under a new attempt id",
        f"{SCRIPTED}/test_faults.py::a_lost_answer_of_a_fifo_queue_is_asked_for_again_by_the_same_attempt",
        f"{SQS}/provider.py",
        "if not isinstance(error, Unavailable):",
        "if True:",
    ),
    one(
        "keeps a slot for ever when a delivery was given back",
        f"{SIMULATION}/test_simulation.py::whatever_goes_wrong_every_invariant_holds",
        f"{CORE}/delivery/deliveries.py",
        'drop it if it is gone."""\n        self._in_flight.advance(delivery, DECIDED)\n',
        'drop it if it is gone."""\n        delivery.phase = DECIDED\n',
    ),
]

MUTANTS = THE_TEN + OUR_OWN


def named(test: str) -> list[str]:
    """The whole name of a mutant's test, for pytest: there may be ids before the sentence."""
    file, _, sentence = test.partition("::")
    path = REPOSITORY / file
    names = re.findall(rf"def (test_\w*{sentence})\(", path.read_text()) if path.exists() else []
    return [f"{file}::{name}" for name in names]


def misfits(mutant: Mutant) -> Iterator[str]:
    """Say what of it does not fit the repository as it is."""
    for patch in mutant.patches:
        package, _, name = patch.file.partition("/")
        path = PACKAGES[package] / name
        count = path.read_text().count(patch.old) if path.exists() else 0
        if count != 1:
            yield f"the patch fits {count} times into {patch.file}: {patch.old.strip()!r}"
    if len(named(mutant.test)) != 1:
        yield f"there is no {mutant.test}, or more than one"
