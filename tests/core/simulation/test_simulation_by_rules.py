"""The simulation in the hands of hypothesis: it chooses what happens, and makes what fails as short as it can."""

from __future__ import annotations

import asyncio
import pathlib
import sys

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # what is beside this file is imported as simulation.<name>

from simulation.invariants import broken
from simulation.world import World

from loafer_core.testing import VirtualLoop


class AnyService(RuleBasedStateMachine):
    """Messages, faults, harm, stops and kills in any order; in the end healing, a last process, and the invariants."""

    def __init__(self, rig_type):
        super().__init__()
        self.rig_type = rig_type
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)

    def befall(self, event):
        self.runner.run(self.world.befall(event))

    @initialize(seed=st.integers(0, 99))
    def begin(self, seed):
        self.world = World(self.rig_type(), seed)
        self.runner.run(self.world.begin())

    @rule()
    def send(self):
        self.befall("send")

    @rule(fault=st.sampled_from(["sicken", "heal"]))
    def let_the_source_fail_or_heal(self, fault):
        self.befall(fault)

    @rule(harm=st.sampled_from(["lost", "revoke", "expire", "cancel"]))
    def take_messages_away_or_deliver_them_twice_or_cancel_tasks(self, harm):
        self.befall(harm)

    @rule(end=st.sampled_from(["stop", "kill"]))
    def stop_or_kill_a_process_and_start_another(self, end):
        self.befall(end)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 5.0, 40.0]))
    def wait(self, seconds):
        self.runner.run(asyncio.sleep(seconds))

    def teardown(self):
        with self.runner:
            if hasattr(self, "world"):
                for process in self.world.processes:
                    process.chaos.heal()
                self.runner.run(self.world.finish())
                assert broken(self.world.history) == [], self.world.history.tail()


@pytest.mark.timeout(300)
def test_any_history_of_a_service_keeps_every_invariant(rig, caplog):
    caplog.set_level("CRITICAL", "loafer")
    phases = set(Phase) - {Phase.explain}
    chances = {"max_examples": 40, "stateful_step_count": 20, "derandomize": True}
    thorough = settings(deadline=None, phases=phases, database=None, **chances)
    run_state_machine_as_test(lambda: AnyService(type(rig)), settings=thorough)
    assert not caplog.records, "a bug in Loafer was logged"
