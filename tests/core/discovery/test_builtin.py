"""The core's own components: how they are offered, and what ``text`` and ``log`` do."""

from __future__ import annotations

import logging

import pytest
from pydantic import TypeAdapter, ValidationError

from loafer_core import Failure, MemoryProvider, Message, TranslationError
from loafer_core.discovery.loader import load


@pytest.fixture(scope="module")
def build():
    """Build a built-in component as a route would: by its name, from its options."""
    registry = load(env={}).registry

    def build(kind: str, name: str, **options: object):
        spec = registry.find(kind, name).spec
        return spec.factory(TypeAdapter(spec.options).validate_python(options))

    return build


def test_the_core_offers_memory_text_and_log_under_its_own_distribution():
    offers = [offer for offer in load(env={}).registry.offers() if offer.distribution == "loafer-core"]

    assert {(offer.spec.kind, offer.full_name) for offer in offers} == {
        ("provider", "loafer-core/memory"),
        ("translator", "loafer-core/text"),
        ("error_handler", "loafer-core/log"),
    }


@pytest.mark.parametrize(("kind", "name"), [("provider", "memory"), ("translator", "text"), ("error_handler", "log")])
def test_a_built_in_component_refuses_an_option_that_it_does_not_have(build, kind, name):
    with pytest.raises(ValidationError):
        build(kind, name, colour="blue")


def test_memory_is_a_provider_that_is_built_without_options_and_without_a_loop(build):
    assert isinstance(build("provider", "memory"), MemoryProvider)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("grün", "grün"),
        ("grün".encode(), "grün"),
        ("", ""),
        (b"", ""),
        ("\udcff", "\udcff"),
        (b"0", "0"),
        (b"\0", "\0"),
    ],
)
def test_text_gives_the_body_as_a_string(build, body, text):
    translation = build("translator", "text").translate(Message(id="1", body=body))

    assert translation.payload == text
    assert translation.metadata == {}


def test_text_refuses_bytes_that_are_no_utf_8_and_its_error_holds_nothing_of_the_body(build):
    with pytest.raises(TranslationError) as raised:
        build("translator", "text").translate(Message(id="1", body=b"canary \xff canary"))

    assert str(raised.value) == "the body is not UTF-8: byte 7 of 15 cannot be read"
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None  # a UnicodeDecodeError would carry all of it


@pytest.fixture
def failure():
    def handle(message: Message):
        raise LookupError("no such order")

    message = Message(id="m-1", body="canary", receipt="canary", attributes={"a": "canary"}, receive_count=3)
    try:
        handle(message)
    except LookupError as error:
        return Failure(error=error, message=message, route="orders", stage="handle")


async def test_log_tells_what_failed_where_and_how_often_with_the_traceback_and_decides_nothing(build, failure, caplog):
    assert await build("error_handler", "log")(failure) is None

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("loafer.failure", logging.ERROR)
    assert (
        record.getMessage() == "route 'orders': message 'm-1' failed with LookupError (stage handle, receive count 3)"
    )
    assert (record.route, record.message_id, record.stage, record.receive_count) == ("orders", "m-1", "handle", 3)
    assert "LookupError: no such order" in caplog.text
    assert 'raise LookupError("no such order")' in caplog.text


async def test_log_never_shows_body_receipt_or_attributes(build, failure, caplog):
    await build("error_handler", "log")(failure)

    assert "canary" not in caplog.text
    assert "canary" not in str(vars(caplog.records[0]))


async def test_log_leaves_out_the_text_of_the_error_when_the_traceback_is_switched_off(build, failure, caplog):
    await build("error_handler", "log", traceback=False)(failure)

    assert "failed with LookupError" in caplog.text
    assert "no such order" not in caplog.text
