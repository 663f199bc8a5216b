"""Statements take long. A stop is no reason to lose pages that are written already."""

import logging

from loafer_core import Nack, current

logger = logging.getLogger("ledger")


def write(order: dict, metadata):
    ledger, statement = metadata["state"], order["id"]
    stopping = current().stopping
    for page in range(ledger.pages(statement) + 1, order["pages"] + 1):
        if stopping.wait_blocking(timeout=0.05):  # the writing of a page; at a stop it ends at once
            logger.info("%s: left off before page %s", statement, page)
            return Nack(delay=0)  # whoever gets it next goes on from there
        ledger.add_page(statement, page)
        logger.info("%s: page %s written", statement, page)
    return True
