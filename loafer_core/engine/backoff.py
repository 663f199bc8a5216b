"""How long to wait after trouble with a source."""

from __future__ import annotations

import random

from loafer_core.api.errors import CredentialError, SourceConfigError, Throttled


def back_off(error: BaseException, failures: int, rng: random.Random) -> float:
    """Seconds to wait after the ``failures``-th error in a row: exponential, from a tenth of the span to all of it."""
    if isinstance(error, Throttled):
        base, cap = 1.0, 30.0
    elif isinstance(error, (CredentialError, SourceConfigError)):
        base, cap = 1.0, 60.0
    else:
        base, cap = 0.25, 20.0
    span = min(cap, base * 2 ** min(failures - 1, 20))
    return rng.uniform(span / 10, span)
