"""What is read without the SDK's parser is what the parser would give; what is not plain is left to it."""

from __future__ import annotations

import asyncio
import json

import botocore.session
import pytest
from aiobotocore.parsers import create_parser
from hypothesis import given, settings
from hypothesis import strategies as st

from loafer_sqs.fast.answer import read
from loafer_sqs.fast.calls import HOT

MODEL = botocore.session.Session().get_service_model("sqs")
MESSAGE = {"MessageId": "i", "ReceiptHandle": "h", "Body": "", "MD5OfBody": "m", "Attributes": {"SenderId": "s"}}
TEXT = {"tenant": {"StringValue": "é\U0001f600", "DataType": "String.kind"}}


def parsed(method: str, body: bytes):
    """The parser's answer, without metadata."""
    shape = MODEL.operation_model(HOT[method]).output_shape
    response = {"status_code": 200, "headers": {}, "body": body, "context": {}}
    answer = asyncio.run(create_parser("json").parse(response, shape))
    answer.pop("ResponseMetadata")
    return answer


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("receive_message", {}),
        ("receive_message", {"Messages": []}),
        (
            "receive_message",
            {"Messages": [MESSAGE, {}, {**MESSAGE, "MessageAttributes": TEXT, "MD5OfMessageAttributes": "m"}]},
        ),
        ("delete_message_batch", {}),
        ("delete_message_batch", {"Successful": [{"Id": "0"}], "Failed": []}),
        ("delete_message_batch", {"Failed": [{"Id": "0", "SenderFault": True, "Code": "c", "Message": "m"}]}),
    ],
)
def test_what_servers_answer_all_day_is_read_at_once(method, answer):
    body = json.dumps(answer).encode()

    assert read(method, body) == parsed(method, body) == answer


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("receive_message", b""),
        ("receive_message", b"<html>log in</html>"),
        ("receive_message", b"\xff\xfe"),
        ("receive_message", b"[]"),
        ("receive_message", b"null"),
        ("receive_message", b'{"Messages": null}'),
        ("receive_message", b'{"Messages": {}}'),
        ("receive_message", b'{"Messages": [null]}'),
        ("receive_message", b'{"Messages": ["x"]}'),
        ("receive_message", b'{"Messages": [{"Body": null}]}'),
        ("receive_message", b'{"Messages": [{"NewMember": 1}]}'),
        ("receive_message", b'{"Messages": [{"Attributes": []}]}'),
        ("receive_message", b'{"Messages": [{"MessageAttributes": []}]}'),
        (
            "receive_message",
            b'{"Messages": [{"MessageAttributes": {"a": {"BinaryValue": "AAE=", "DataType": "Binary"}}}]}',
        ),
        ("receive_message", b'{"Messages": [{"MessageAttributes": {"a": {"StringValue": null}}}]}'),
        ("receive_message", b'{"Messages": [], "Cursor": "x"}'),
        ("delete_message_batch", b'{"Successful": [{"Id": "0", "New": 1}]}'),
        ("delete_message_batch", b'{"Failed": [{"Id": null}]}'),
        ("delete_message_batch", b'{"Messages": []}'),
    ],
)
def test_what_is_not_plain_is_left_to_the_parser(method, body):
    assert read(method, body) is None


_scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
_values = st.fixed_dictionaries(
    {}, optional={"StringValue": _scalars, "DataType": _scalars, "BinaryValue": st.just("AAE="), "New": _scalars}
)
_messages = st.fixed_dictionaries(
    {},
    optional={
        "MessageId": _scalars,
        "Body": _scalars,
        "MD5OfBody": _scalars,
        "Attributes": st.dictionaries(st.text(max_size=3), _scalars, max_size=3) | st.none(),
        "MessageAttributes": st.dictionaries(st.text(max_size=3), _values, max_size=3) | st.none(),
        "New": _scalars,
    },
)
_entries = st.fixed_dictionaries(
    {}, optional={"Id": _scalars, "Code": _scalars, "SenderFault": _scalars, "Message": _scalars, "New": _scalars}
)


def _answers(*lists: tuple[str, st.SearchStrategy]):
    optional = {name: st.lists(entries, max_size=3) | st.none() for name, entries in lists}
    return st.fixed_dictionaries({}, optional={**optional, "New": _scalars})


_cases = st.tuples(st.just("receive_message"), _answers(("Messages", _messages))) | st.tuples(
    st.just("delete_message_batch"), _answers(("Successful", _entries), ("Failed", _entries))
)


@settings(deadline=None)
@given(_cases)
def test_whatever_is_read_is_what_the_parser_gives(case):
    method, answer = case
    body = json.dumps(answer).encode()

    assert (found := read(method, body)) is None or found == parsed(method, body)
