"""Whoever reads the queue that the audit forwards to. It gets what was published, without SNS's envelope."""

import logging

logger = logging.getLogger("fanout.archive")


async def keep(order: dict):
    logger.info("order %s kept", order["id"])
