"""A plain function: Loafer runs it in a thread of its own."""

import logging

logger = logging.getLogger("shop")


def put_back(parcel: dict):
    logger.info("back on the shelf: %s", parcel["item"])
