"""Orders: some are paid at once, one at the second try, one never, and one cannot be read."""

import asyncio
import logging

from pydantic import BaseModel

from loafer_core import Failure, Reject

logger = logging.getLogger("shop")


class Order(BaseModel):
    id: str
    item: str
    amount: float
    card: str = "good"


class PaymentFailed(Exception):
    """The bank said no, or nothing at all."""


async def handle_order(order: Order, metadata):
    attempt = metadata["receive_count"]
    await asyncio.sleep(0.1)  # the bank's answer
    if order.card == "expired" or (order.card == "slow" and attempt == 1):
        raise PaymentFailed(order.id)
    logger.info("order %s: %s paid at try %s", order.id, order.item, attempt)


def decide(failure: Failure):
    """What cannot be read today cannot be read tomorrow: to the dead-letter queue. Everything else is tried again."""
    if failure.stage == "translate":
        return Reject("not an order")
    return None
