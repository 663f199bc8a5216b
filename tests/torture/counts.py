"""How many: few in the suite, and with ``LOAFER_COUNTS=full`` as many as the matrix of faults says."""

from __future__ import annotations

import os

FULL = os.environ.get("LOAFER_COUNTS") == "full"
LONGEST = 1800.0 if FULL else 240.0
"""Seconds that one story may take."""

PATIENCE = 300.0 if FULL else 90.0
"""Seconds for what happens at once on a machine that has nothing else to do."""


def count(few: int, many: int) -> int:
    return many if FULL else few
