"""Around every message: whose is it, and how did it end?"""

import json
import logging
import time
from dataclasses import replace

from loafer_core import Reject

logger = logging.getLogger("ledger")


async def by_account(message, call_next):
    """What is sent on gets the account as its group, so that the FIFO queue keeps the order of each account."""
    try:
        account = json.loads(message.body)["account"]
    except (ValueError, TypeError, KeyError):
        return Reject("no entry of any account")
    return await call_next(replace(message, group=account))


class Journal:
    """Logs account, outcome and time; never the entry."""

    def __init__(self, slow):
        self._slow = slow

    async def handle(self, message, call_next):
        began = time.perf_counter()
        outcome = await call_next(message)
        took = time.perf_counter() - began
        level = logging.WARNING if took > self._slow else logging.INFO
        logger.log(level, "account %s: %r after %.3f s", message.group, outcome, took)
        return outcome
