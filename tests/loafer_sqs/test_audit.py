"""What is said at start about a queue that is not as it should be."""

from __future__ import annotations

import logging

import pytest

from loafer_sqs.audit import Situation, remarks
from loafer_sqs.aws.queues import Queue, Redrive

DAY = 86_400
GOOD = {
    "queue": Queue("orders", "https://sqs/orders", fifo=False),
    "known": {"MessageRetentionPeriod": str(4 * DAY)},
    "target": Redrive("orders-dead", None, 3),
    "dead": {"MessageRetentionPeriod": str(14 * DAY)},
    "lease": 30,
    "give_up_after": 25,
    "skew": 0.0,
}
SHORT = {"MessageRetentionPeriod": str(4 * DAY)}
FIFO = Queue("orders.fifo", "https://sqs/orders.fifo", fifo=True)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"known": None, "target": None, "dead": {}},
        {"dead": {}},
        {"dead": {"MessageRetentionPeriod": "forever"}},
        {"known": {}},
        {"skew": 59.0},
        {"lease": 26},
    ],
)
def test_a_queue_that_is_as_it_should_be_or_not_known_is_not_spoken_of(changed):
    assert list(remarks(Situation(**GOOD | changed))) == []


@pytest.mark.parametrize(
    ("changed", "level", "text"),
    [
        ({"target": None}, logging.WARNING, "queue 'orders' has no redrive policy"),
        ({"target": Redrive("orders-dead", None, 2)}, logging.WARNING, "dead-letters after 2 receives"),
        ({"dead": SHORT}, logging.WARNING, "'orders-dead' keeps messages no longer (345600 s) than queue 'orders'"),
        ({"queue": FIFO, "dead": SHORT}, logging.INFO, "what follows a dead letter in its group"),
        ({"lease": 2}, logging.WARNING, "3 s is the least"),
        ({"lease": 25}, logging.WARNING, "longer visibility_timeout"),
        ({"skew": 61.0}, logging.WARNING, "clock is 61 s behind the server's"),
        ({"skew": -301.0}, logging.ERROR, "clock is 301 s ahead of the server's"),
    ],
)
def test_each_rule_that_is_broken_is_said_once(changed, level, text):
    [(said_at, said)] = remarks(Situation(**GOOD | changed))

    assert said_at == level
    assert text in said
