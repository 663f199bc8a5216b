"""Entries. A plain function: Loafer calls it in a thread, so it may wait for the database."""

import logging
from dataclasses import dataclass

from loafer_core import Nack, Reject

logger = logging.getLogger("ledger")


@dataclass
class Entry:
    id: str
    account: str
    amount: int  # cents
    held: bool = False


def book(entry: Entry, metadata):
    ledger = metadata["state"]
    if entry.held and metadata["receive_count"] == 1:
        return Nack(delay=1)  # the account waits for it, the others go on
    if ledger.balance(entry.account) + entry.amount < 0:
        return Reject("overdrawn")
    if ledger.enter(entry):
        logger.info("%s: %s booked, %+d", entry.account, entry.id, entry.amount)
    return True
