"""Whole lives of a service, by chance: whatever goes wrong, every invariant holds.

LOAFER_SEEDS=0:5000 pytest tests/core/simulation/test_simulation.py       # a range; how many if it is one number
LOAFER_SEED=123 pytest tests/core/simulation/test_simulation.py           # one, and what happened in it
"""

from __future__ import annotations

import logging
import os
import pathlib
import sys
import threading
from collections.abc import Sequence

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # what is beside this file is imported as simulation.<name>

from simulation.history import History
from simulation.invariants import broken
from simulation.world import World

from loafer_core.testing import run_virtual

HERE = pathlib.Path(__file__).relative_to(pathlib.Path(__file__).parents[3])
AT_A_TIME = 100


def seeds() -> Sequence[Sequence[int]]:
    if "LOAFER_SEED" in os.environ:
        return [[int(os.environ["LOAFER_SEED"])]]
    first, _, last = os.environ.get("LOAFER_SEEDS", "2000").rpartition(":")
    wanted = range(int(first or 0), int(last))
    return [wanted[place : place + AT_A_TIME] for place in range(0, len(wanted), AT_A_TIME)]


def simulate(rig, seed: int) -> History:
    world = World(rig, seed)
    try:
        run_virtual(world.live())
    except BaseException as error:
        error.add_note(story(world.history, seed))
        raise
    return world.history


def story(history: History, seed: int) -> str:
    return f"{history.tail()}\nseed {seed}, once more: LOAFER_SEED={seed} pytest {HERE}"


def descriptors() -> int:
    folder = pathlib.Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.mark.timeout(600)  # seconds where nothing else runs
@pytest.mark.parametrize("numbers", seeds(), ids=lambda numbers: f"{numbers[0]}-{numbers[-1]}")
def test_whatever_goes_wrong_every_invariant_holds(rig, caplog, numbers):
    caplog.set_level(logging.CRITICAL, "loafer")
    before = threading.active_count(), descriptors()
    for seed in numbers:
        history = simulate(type(rig)(), seed)
        wrong = broken(history) + [record.getMessage() for record in caplog.records]
        if "LOAFER_SEED" in os.environ:
            print(history.tail(10**6))
        assert not wrong, "\n".join([*wrong, story(history, seed)])
    assert (threading.active_count(), descriptors()) == before, "I13: threads or file descriptors were left open"


@pytest.mark.parametrize("seed", [3, 37, 49])
def test_a_seed_makes_the_same_world_twice(rig, seed):
    once, again = (simulate(type(rig)(), seed) for _ in range(2))
    assert once.tail(10**6) == again.tail(10**6)
