"""Bodies with a type: the handler's annotation, or the option ``model``."""

import datetime as dt
import enum
import sys
import traceback
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
import typing_extensions
from pydantic import BaseModel, ConfigDict, Field, Json, field_validator

from loafer_core import Ack, ConfigError, Message, Settle, TranslationError


class Line(BaseModel):
    sku: str
    price: float = 0.0


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: int
    lines: list[Line] = []
    notes: dict[str, int] = {}
    note: str = Field("", validation_alias="Note")


@dataclass
class Point:
    x: int
    y: int = 0


class Box(typing_extensions.TypedDict):
    width: int


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Unknown:
    """pydantic cannot build it."""


class Later(BaseModel):
    what: "NeverDefined"  # noqa: F821


@pytest.mark.parametrize(
    ("payload_type", "body", "payload"),
    [
        (Order, '{"id": 1, "lines": [{"sku": "a"}], "Note": "n"}', Order(id=1, lines=[Line(sku="a")], Note="n")),
        (Point, '{"x": 1}', Point(1)),
        (Box, b'{"width": 3}', {"width": 3}),
        (list[int], "[1, 2]", [1, 2]),
        (dict, '{"a": null}', {"a": None}),
        (dict[str, list[Point]], '{"a": [{"x": 1, "y": 2}]}', {"a": [Point(1, 2)]}),
        (int | str, '"x"', "x"),
        (int | str, "0", 0),
        (Literal["a", "b"], '"b"', "b"),
        (Order | None, "null", None),
        (tuple[int, ...], "[]", ()),
        (Any, "{}", {}),
        (object, "false", False),
        (Annotated[int, Field(ge=0)], "0", 0),
    ],
)
async def test_body_becomes_what_the_handler_is_annotated_with(decoded, payload_type, body, payload):
    decoded_payload = await decoded(body, payload_type)
    assert decoded_payload == payload
    assert type(decoded_payload) is type(payload)


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize("strict", [False, True])
async def test_what_json_has_no_type_for_is_read_from_strings_and_arrays(decoded, strict):
    class Everything(BaseModel):
        model_config = ConfigDict(strict=strict)

        at: dt.datetime
        day: dt.date
        key: uuid.UUID
        price: Decimal
        raw: bytes
        colour: Colour
        pair: tuple[int, int]
        tags: frozenset[str]

    body = """{"at": "2026-01-02T03:04:05Z", "day": "2026-01-02", "key": "00000000-0000-0000-0000-000000000001",
               "price": "1.20", "raw": "ab", "colour": "red", "pair": [1, 2], "tags": ["x"]}"""
    assert await decoded(body, Everything) == Everything(
        at=dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        day=dt.date(2026, 1, 2),
        key=uuid.UUID(int=1),
        price=Decimal("1.20"),
        raw=b"ab",
        colour=Colour.RED,
        pair=(1, 2),
        tags=frozenset({"x"}),
    )


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999999", "9" * 400])
@pytest.mark.parametrize("payload_type", [Line, dict, list[Line], Any])
async def test_a_forbidden_number_is_refused_whatever_the_type(decoded, payload_type, number):
    body = f'{{"sku": "a", "price": {number}}}'
    with pytest.raises(TranslationError, match=r"no number|range of a double"):
        await decoded(f"[{body}]" if payload_type == list[Line] else body, payload_type)


async def test_a_misfit_is_told_by_place_and_kind_only(decoded):
    body = """{"id": "secret-1", "lines": [{"sku": "a"}, {"price": "secret-2"}], "notes": {"secret-3": "secret-4"},
               "secret-5": 0, "Note": 7}"""
    with pytest.raises(TranslationError) as caught:
        await decoded(body, Order)
    assert str(caught.value) == (
        "does not fit Order: id (int_parsing), lines.1.sku (missing), lines.1.price (float_parsing), "
        "notes.* (int_parsing), Note (string_type) and 1 more"
    )
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is caught.value.__cause__ is None


async def test_a_misfit_of_the_whole_body_and_of_a_union_are_told(decoded):
    with pytest.raises(TranslationError, match=r"^does not fit list\[int\]: it \(list_type\)$"):
        await decoded('"secret"', list[int])
    with pytest.raises(TranslationError, match=r"^does not fit .*: it \(union_tag_invalid\)$"):
        await decoded('{"kind": "secret"}', Annotated[Cat | Dog, Field(discriminator="kind")])


async def test_broken_json_inside_a_string_is_told_at_its_field(decoded):
    class Envelope(BaseModel):
        inner: Json[int]

    with pytest.raises(TranslationError, match=r"Envelope: inner \(json_invalid\)$"):
        await decoded('{"inner": "secret"}', Envelope)


async def test_a_validators_own_words_are_not_shown(decoded):
    class Checked(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def _known(cls, name: str) -> str:
            raise ValueError(f"who is {name}?")

    with pytest.raises(TranslationError) as caught:
        await decoded('{"name": "secret"}', Checked)
    assert str(caught.value).endswith(": name (value_error)")


async def test_a_flood_of_misfits_is_counted_and_not_listed(decoded):
    with pytest.raises(TranslationError, match=r"^does not fit list\[int\]: 20000 errors$"):
        await decoded("[" + ",".join(['"a"'] * 20_000) + "]", list[int])


async def test_a_settle_from_a_validator_passes(decoded):
    class Skippable(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def _skip(cls, name: str) -> str:
            raise Settle(Ack())

    with pytest.raises(Settle):
        await decoded('{"name": "x"}', Skippable)


@pytest.mark.parametrize(
    ("payload_type", "named"),
    [
        (Unknown, "Unknown"),
        (list[Unknown], "Unknown"),
        (Later, "NeverDefined"),
        (5, "5"),
    ],
)
async def test_a_type_that_pydantic_refuses_is_a_configuration_error_with_the_way_out(opened, payload_type, named):
    with pytest.raises(ConfigError) as caught:
        await opened(payload_type)
    (finding,) = caught.value.findings
    assert finding.where == "routes.orders.handler"
    assert named in finding.message
    assert "pydantic model" in finding.message
    assert "\n" not in finding.message


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="typing's TypedDict will do from 3.12 on")
async def test_a_typed_dict_from_typing_is_refused_with_the_way_out(opened):
    import typing

    class Old(typing.TypedDict):
        x: int

    with pytest.raises(ConfigError, match=r"cannot be decoded into .*Old: .*typing_extensions"):
        await opened(Old)


async def test_option_model_gives_the_type_where_the_handler_has_no_annotation(decoded):
    assert await decoded('"2026-01-02"', model="datetime:date") == dt.date(2026, 1, 2)
    assert await decoded("[1]", list[int], model="datetime:date") == [1]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("no_such_module:Order", "no_such_module"),
        ("datetime:Order", "Order"),
        ("unittest.mock:Mock.x.y", "x"),
        ("datetime.date", "module:attribute"),
        ("datetime:", "module:attribute"),
    ],
)
async def test_option_model_that_cannot_be_imported_is_a_configuration_error(opened, model, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        await opened(model=model)
    assert caught.value.findings[0].where == "routes.orders.translator.model"


async def test_a_refused_model_is_told_at_the_option(opened):
    with pytest.raises(ConfigError) as caught:
        await opened(model="threading:Thread")
    assert caught.value.findings[0].where == "routes.orders.translator.model"


async def test_opened_again_the_translator_follows_the_new_type(opened):
    from types import SimpleNamespace

    translator = await opened(Point)
    await translator.open(SimpleNamespace(route="orders", payload_type=None))
    assert translator.translate(Message("m-1", '{"x": 1}')).payload == {"x": 1}
