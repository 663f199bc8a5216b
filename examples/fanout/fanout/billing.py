"""Charge the card of each order: one is declined for good, one is charged at the second try."""

import logging

from pydantic import BaseModel

from loafer_core import Failure, Reject

logger = logging.getLogger("fanout.billing")


class Order(BaseModel):
    id: str
    amount: float
    card: str


class CardDeclined(Exception):
    """The bank said no."""


async def charge(order: Order, metadata):
    if order.card == "expired":
        raise CardDeclined(f"order {order.id}: card {order.card}")
    if order.card == "slow" and metadata["receive_count"] == 1:
        raise TimeoutError(f"order {order.id}: no answer from the bank")
    topic = metadata["sns"]["topic_arn"].rpartition(":")[2]
    logger.info("order %s of topic %s: %.2f charged", order.id, topic, order.amount)


def decide(failure: Failure):
    """Sentry has reported it and has no opinion. What is final goes to the dead-letter queue; the rest comes back."""
    return Reject("the card was declined") if isinstance(failure.error, CardDeclined) else None
