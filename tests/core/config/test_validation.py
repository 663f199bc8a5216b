"""Options: read leniently, refused clearly, and never shown where they are secret."""

import dataclasses
import datetime
import decimal
import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    SecretBytes,
    SecretStr,
    WithJsonSchema,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from loafer_core import Finding, Options
from loafer_core.config.validation import fields, has_option, validate
from loafer_core.config.wording import Hidden, dotted

WHERE = "routes.orders.provider"


class Queue(Options):
    queue: str = Field(description="Queue name or URL")
    wait_time_seconds: int = Field(20, ge=0, le=20, description="Long poll, seconds")
    endpoint_url: str | None = None


def errors(kind: Any, raw: Mapping[str, object]) -> list[str]:
    """Give what validate() says about ``raw``, without the place of the table."""
    value, findings = validate(kind, raw, WHERE)
    assert (value is None) == bool(findings)
    assert all(finding.level == "error" and finding.where.startswith(WHERE) for finding in findings)
    return [str(finding).removeprefix(WHERE).removeprefix(".") for finding in findings]


def option(kind: Any, default: Any = ...) -> type[Options]:
    """Make an options type with the one option ``x``."""
    return create_model("One", __base__=Options, x=(kind, default))


# What is read


def test_options_are_read_into_the_declared_type() -> None:
    value, findings = validate(Queue, {"queue": "orders"}, WHERE)
    assert value == Queue(queue="orders", wait_time_seconds=20)
    assert findings == []


def test_a_string_is_read_as_a_number_where_one_is_wanted() -> None:
    value, _ = validate(Queue, {"queue": "orders", "wait_time_seconds": "10"}, WHERE)
    assert value is not None
    assert value.wait_time_seconds == 10


def test_any_option_is_one_for_a_component_without_an_options_type() -> None:
    raw = {"anything": [True, {"goes": object}]}
    value, findings = validate(None, raw, WHERE)
    assert value is raw
    assert findings == []


def test_every_way_to_declare_options_is_read_by_the_same_rules() -> None:
    @dataclasses.dataclass
    class Data:
        size: int
        name: str = "x"

    class Typed(TypedDict, total=False):
        size: int
        name: str

    class Model(BaseModel):  # says nothing about unknown keys
        size: int
        name: str = "x"

    for kind in (Data, Typed, Model):
        value, findings = validate(kind, {"size": "3", "name": "y"}, WHERE)
        assert not findings
        assert (value if isinstance(value, dict) else dict(vars(value))) == {"size": 3, "name": "y"}
        assert errors(kind, {"size": True, "nam": "y"}) == [
            "size: a boolean is not a number; expected a whole number",
            "nam: unknown option; did you mean 'name'?",
        ]


# Booleans


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Inner:
    number: int


class InnerTable(TypedDict):
    number: int


class InnerModel(BaseModel):
    number: float = Field(0, alias="no")


@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        (int, True, "x"),
        (float, False, "x"),
        (decimal.Decimal, True, "x"),
        (datetime.timedelta, True, "x"),
        (int | None, True, "x"),
        (int | str, True, "x"),
        (Literal[0, 1], True, "x"),
        (Level, True, "x"),
        (Annotated[int, Field(ge=5)], True, "x"),
        (list[float], [1, True], "x[1]"),
        (tuple[int, str], [False, "a"], "x[0]"),
        (set[int], [True], "x[0]"),
        (dict[str, int], {"a": True}, "x.a"),
        (dict[str, list[int]], {"a": [1, True]}, "x.a[1]"),
        (Inner, {"number": True}, "x.number"),
        (InnerTable, {"number": True}, "x.number"),
        (InnerModel, {"no": True}, "x.no"),
        (list[Inner | InnerModel], [{"number": 1}, {"number": True}], "x[1].number"),
    ],
)
def test_a_boolean_is_no_number_wherever_it_stands(kind: Any, value: object, path: str) -> None:
    assert [text.split(";")[0] for text in errors(option(kind), {"x": value})] == [f"{path}: a boolean is not a number"]


def test_a_boolean_is_no_number_behind_any_of_several_aliases() -> None:
    kind = option(int, Field(0, validation_alias=AliasChoices("size", "length")))
    said = ["length: a boolean is not a number; expected something else"]
    assert errors(kind, {"length": True}) == said
    assert errors(kind, MappingProxyType({"length": True})) == said


def test_a_boolean_is_no_number_in_a_type_whose_validators_only_know_python_values() -> None:
    class Picky(Options):
        day: datetime.date
        size: int

        @field_validator("day", mode="before")
        @classmethod
        def _year(cls, value: Any) -> Any:
            return value.replace(year=2000)

    day = datetime.date(2024, 1, 1)
    assert errors(Picky, {"day": day, "size": True}) == ["size: a boolean is not a number; expected a whole number"]


@pytest.mark.parametrize("kind", [bool, bool | int, bool | str, Any, object, Literal[True, 1], dict[str, Any] | bool])
def test_a_boolean_is_taken_where_one_is_wanted(kind: Any) -> None:
    value, findings = validate(option(kind), {"x": True}, WHERE)
    assert not findings
    assert value is not None
    assert vars(value)["x"] is True


def test_a_boolean_is_taken_by_that_one_of_several_tables_which_wants_it() -> None:
    class Sized(BaseModel):
        limit: int

    class Dated(BaseModel):
        limit: bool
        day: datetime.date

    day = datetime.date(2024, 1, 1)
    value, findings = validate(option(Sized | Dated), {"x": {"limit": True, "day": day}}, WHERE)
    assert not findings
    assert value is not None
    assert vars(value)["x"] == Dated(limit=True, day=day)


def test_a_boolean_where_a_string_is_wanted_is_only_another_kind_of_value() -> None:
    assert errors(Queue, {"queue": True}) == ["queue: expected a string, not a boolean"]


# What is refused


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    raw = {"wait_time_second": 3, "wait_time_seconds": 21, "endpoint_url": 5}
    assert errors(Queue, raw) == [
        "wait_time_second: unknown option; did you mean 'wait_time_seconds'?",
        "wait_time_seconds: 21 is out of range; expected a whole number, 0 to 20",
        "endpoint_url: expected a string, not 5",
        "queue: missing; expected a string (Queue name or URL)",
    ]


def test_an_unknown_option_with_no_near_name_gets_the_list_of_options() -> None:
    assert errors(Queue, {"queue": "q", "zzz": 1}) == [
        "zzz: unknown option; the options are: queue, wait_time_seconds, endpoint_url"
    ]
    assert errors(create_model("Empty", __base__=Options), {"zzz": 1}) == ["zzz: unknown option; there are none here"]


def test_an_unknown_option_is_compared_with_the_names_of_its_own_level_as_they_are_written() -> None:
    class Retry(BaseModel):
        max_attempts: int = Field(3, alias="maxAttempts")

    class Outer(BaseModel):
        attempts: int = 0
        retry: Retry | None = None
        retries: list[Retry] = []

    assert errors(Outer, {"retry": {"max-attempts": 1}, "retries": [{"attemts": 1, "Maxattempts": 2}]}) == [
        "retry.max-attempts: unknown option; did you mean 'maxAttempts'?",
        "retries[0].attemts: unknown option; did you mean 'maxAttempts'?",
        "retries[0].Maxattempts: unknown option; did you mean 'maxAttempts'?",
    ]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (int, "many", "expected a whole number, not 'many'"),
        (int, 2.5, "expected a whole number, not 2.5"),
        (int, [1, 2], "expected a whole number, not a list"),
        (float, {"a": 1}, "expected a number, not a table"),
        (float, None, "expected a number, not nothing"),
        (str, 3, "expected a string, not 3"),
        (str, datetime.date(2024, 1, 1), "expected a string, not a date or time"),
        (str, object(), "expected a string, not an object of object"),
        (bool, "perhaps", "expected true or false, not 'perhaps'"),
        (list[str], "a", "expected a list, not 'a'"),
        (dict[str, int], [1], "expected a table, not a list"),
        (Inner, 3, "expected a table, not 3"),
        (InnerTable, "a", "expected a table, not 'a'"),
        (InnerModel, "a", "expected a table, not 'a'"),
        (datetime.datetime, "soon", "expected a date and time, not 'soon'"),
        (int | list[int], "x", "expected a whole number or a list, not 'x'"),
        (Inner | Literal["off"], "of", "expected a table or 'off', not 'of'; did you mean 'off'?"),
        pytest.param(str, 10**5000, "expected a string, not a number", id="a number too long to print"),
        (int, "x" * 41, "expected a whole number, not a long string"),
        (Callable, 3, "expected something else, not 3"),
        (list[object] | type[int], 3, "expected a list, not 3"),
    ],
)
def test_another_kind_of_value_is_told_in_the_words_of_toml(kind: Any, value: object, said: str) -> None:
    assert errors(option(kind), {"x": value}) == [f"x: {said}"]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Annotated[int, Field(ge=1, le=10)], 11, "11 is out of range; expected a whole number, 1 to 10"),
        (Annotated[float, Field(gt=0)], 0, "0 is out of range; expected a number, more than 0"),
        (Annotated[float, Field(lt=5)], 7.5, "7.5 is out of range; expected a number, less than 5"),
        (Annotated[int, Field(multiple_of=5)], 7, "7 is out of range; expected a whole number, a multiple of 5"),
        (Annotated[float, Field(allow_inf_nan=False)], float("inf"), "inf is out of range; expected a finite number"),
        (Annotated[str, Field(min_length=1)], "", "'' does not fit; expected a string, 1 or more characters"),
        (Annotated[str, Field(pattern="^a+$")], "b", "'b' does not fit; expected a string, matching ^a+$"),
        (Annotated[list[int], Field(max_length=1)], [1, 2], "a list does not fit; expected a list, at most 1 items"),
        (
            Literal["auto"] | Annotated[int, Field(ge=1)],
            0,
            "0 is out of range; expected 'auto' or a whole number, 1 or more",
        ),
        (
            Annotated[datetime.timedelta, Field(ge=datetime.timedelta(seconds=5))],
            3,
            "3 is out of range; expected a number of seconds, 5 seconds or more",
        ),
    ],
)
def test_a_value_out_of_range_is_told_with_the_range(kind: Any, value: object, said: str) -> None:
    assert errors(option(kind), {"x": value}) == [f"x: {said}"]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize("kind", [Literal["red", "blue"], Colour, Colour | None])
def test_a_choice_is_told_with_all_that_there_are_and_the_nearest(kind: Any) -> None:
    assert errors(option(kind), {"x": "bleu"}) == ["x: expected 'red' or 'blue', not 'bleu'; did you mean 'blue'?"]


def test_of_several_kinds_of_table_only_the_nearest_is_explained() -> None:
    class Url(BaseModel):
        url: str

    class Address(BaseModel):
        host: str
        port: int

    kind = option(str | Url | list[Address | Url])
    assert errors(kind, {"x": [{"host": "h", "port": "p"}]}) == ["x[0].port: expected a whole number, not 'p'"]
    assert errors(kind, {"x": {"url": 3}}) == ["x.url: expected a string, not 3"]


def test_a_tagged_union_says_which_tag_is_wrong() -> None:
    class Cat(BaseModel):
        kind: Literal["cat"]
        lives: int = 9

    class Dog(BaseModel):
        kind: Literal["dog"]

    kind = option(Annotated[Cat | Dog, Field(discriminator="kind")])
    assert errors(kind, {"x": {"kind": "cow"}}) == ["x: 'kind' is none of 'cat', 'dog'"]
    assert errors(kind, {"x": {}}) == ["x: missing 'kind', which says what this table is"]
    assert errors(kind, {"x": {"kind": "cat", "live": 1}}) == ["x.live: unknown option; did you mean 'lives'?"]


def test_a_key_that_is_no_string_or_of_another_kind_is_told_at_its_place() -> None:
    assert errors(Queue, {"queue": "q", 1: 2}) == ["[1]: the name of an option is a string"]  # type: ignore[dict-item]
    assert errors(option(dict[int, int]), {"x": {"a b": 1}}) == ['x."a b": no valid name here']


def test_what_a_validator_of_the_plugin_says_is_shown_as_it_is() -> None:
    class Strict(Options):
        queue: str
        topic: str = ""
        size: int = 0

        @field_validator("queue")
        @classmethod
        def _no_url(cls, value: str) -> str:
            if "/" in value:
                raise ValueError(f"{value} is a URL; give the name")
            return value

        @field_validator("topic")
        @classmethod
        def _known(cls, value: str) -> str:
            raise PydanticCustomError("topic", "no topic {topic} here", {"topic": value})

        @field_validator("size")
        @classmethod
        def _odd(cls, value: int) -> int:
            if value % 2 == 0:
                raise AssertionError("odd sizes only")
            return value

    assert errors(Strict, {"queue": "a/b", "topic": "t", "size": 2}) == [
        "queue: a/b is a URL; give the name",
        "topic: no topic t here",
        "size: odd sizes only",
    ]


def test_a_rule_about_several_options_is_told_at_the_table() -> None:
    class Either(Options):
        queue: str = ""
        url: str = ""

        @model_validator(mode="after")
        def _one(self) -> "Either":
            raise ValueError("give queue or url")

    assert validate(Either, {}, WHERE)[1] == [Finding(WHERE, "give queue or url")]


def test_a_default_that_follows_from_what_is_wrong_is_not_told_as_well() -> None:
    class Derived(Options):
        size: int
        half: int = Field(default_factory=lambda given: given["size"] // 2)

    assert errors(Derived, {"size": "a"}) == ["size: expected a whole number, not 'a'"]


# The plugin's mistakes


def test_a_class_that_pydantic_refuses_is_named_with_the_way_out() -> None:
    class Bare:
        def __init__(self, queue: str) -> None: ...

    value, [finding] = validate(Bare, {"queue": "q"}, WHERE)
    assert value is None
    assert finding.where == WHERE
    assert "Bare as options" in finding.message
    assert "an Options class, a dataclass or a typing_extensions.TypedDict" in finding.message
    assert not has_option(Bare, "queue")
    with pytest.raises(TypeError, match="Bare as options"):
        fields(Bare)


def test_a_validator_that_crashes_is_a_finding_that_names_the_type_and_not_the_value() -> None:
    class Crashing(Options):
        queue: str

        @field_validator("queue")
        @classmethod
        def _crash(cls, value: str) -> str:
            raise KeyError(value)

    [text] = errors(Crashing, {"queue": "canary"})
    assert text.endswith("Crashing crashed with KeyError")
    assert "canary" not in text


def test_a_type_without_a_json_schema_is_validated_all_the_same() -> None:
    class Odd:
        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
            return handler(int)

        @classmethod
        def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
            raise RuntimeError("no schema")

    assert errors(option(Odd), {"x": True, "y": 1}) == [
        "x: a boolean is not a number; expected something else",
        "y: unknown option; there are none here",
    ]
    assert validate(option(Odd), {"x": 3}, WHERE)[1] == []


def test_a_schema_of_the_plugins_own_making_is_read_as_far_as_it_goes() -> None:
    anything = Annotated[int, WithJsonSchema({"anyOf": [True, {"type": ["string", "integer"]}]})]
    assert errors(option(anything), {"x": "a"}) == ["x: expected a string or a whole number, not 'a'"]


# Secrets


class Login(BaseModel):
    user: str
    word: SecretStr


@pytest.mark.parametrize(
    "kind",
    [
        create_model("A", __base__=Options, opaque=(SecretStr, ...)),
        create_model("B", __base__=Options, opaque=(SecretBytes | None, ...)),
        create_model("C", __base__=Options, opaque=(list[SecretStr], ...)),
        create_model("D", __base__=Options, opaque=(Login, ...)),
        create_model("E", __base__=Options, opaque=(create_model("Account", password=(str, ...)), ...)),
    ],
)
def test_a_value_of_a_secret_type_is_never_shown(kind: type[Options]) -> None:
    for value in (12345678, [12345678], {"a": 12345678}):
        assert "12345678" not in "".join(errors(kind, {"opaque": value}))


@pytest.mark.parametrize(
    "name", ["api_token", "client-secret", "passwd", "Password", "dsn", "aws_access_key_id", "credentials"]
)
def test_a_value_with_a_secret_sounding_name_is_never_shown(name: str) -> None:
    def refuse(value: object) -> object:
        raise ValueError(f"{value!r} will not do")

    for kind in (int, Literal["a"], Annotated[str, Field(max_length=2)], Annotated[Any, AfterValidator(refuse)]):
        model = option(kind, Field(alias=name))
        [text] = errors(model, {name: "canary"})
        assert text.startswith(name)
        assert "canary" not in text
    nested = option(dict[str, dict[str, int]])
    assert "canary" not in "".join(errors(nested, {"x": {name: {"inner": "canary"}}}))


def test_a_value_from_the_environment_is_never_shown() -> None:
    def refuse(value: object) -> object:
        raise ValueError(f"{str(value).upper()} will not do")

    for kind in (int, Literal["canaries"], Annotated[str, Field(max_length=2)], Annotated[Any, AfterValidator(refuse)]):
        [text] = errors(option(kind), {"x": Hidden("canary")})
        assert "canar" not in text.lower().replace("expected 'canaries'", "")
        assert "did you mean" not in text


def test_a_value_that_a_validator_changed_is_shown_as_it_was_written_or_not_at_all() -> None:
    kind = option(Annotated[int, BeforeValidator(lambda value: value.strip())])
    assert errors(kind, {"x": " many "}) == ["x: expected a whole number, not ' many '"]
    assert errors(kind, {"x": Hidden(" canary ")}) == ["x: expected a whole number, not a string"]


def test_a_rule_about_several_options_does_not_give_a_secret_away() -> None:
    class Account(Options):
        user: str
        password: str

        @model_validator(mode="before")
        @classmethod
        def _both(cls, raw: Any) -> Any:
            raise ValueError(f"cannot log in with {raw}")

    assert errors(Account, {"user": "u", "password": "ca'nary"}) == [": not accepted; the reason would show a secret"]


def test_a_login_inside_a_url_is_never_shown() -> None:
    assert errors(option(int), {"x": "amqp://me:canary@host"}) == ["x: expected a whole number, not a string"]


def test_a_hidden_string_is_a_plain_one_for_the_component_and_masked_in_a_repr() -> None:
    value, _ = validate(Queue, {"queue": Hidden("orders")}, WHERE)
    assert value is not None
    assert type(value.queue) is str
    assert value.queue == "orders"
    assert repr({"queue": Hidden("orders")}) == "{'queue': '***'}"


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


class Everything(Options):
    number: int = 0
    ratio: float | None = None
    names: list[str] = []
    inner: InnerModel | Inner | Literal["off"] = "off"
    sizes: dict[str, int] = {}
    span: datetime.timedelta = datetime.timedelta()
    token: SecretStr | None = None


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*Everything.model_fields, "nummber", "", "a.b"]), values))
def test_whatever_is_written_is_either_read_or_refused_with_a_place(raw: dict[str, object]) -> None:
    value, findings = validate(Everything, raw, WHERE)
    assert (value is None) == bool(findings)
    for finding in findings:
        assert any(finding.where.startswith(dotted(WHERE, name)) for name in raw)
    if value is not None:
        assert not isinstance(raw.get("number"), bool)


# What there is


def test_a_component_has_the_options_of_its_type_as_they_are_written() -> None:
    class Aliased(Options):
        region: str = Field("", alias="region_name")

    assert has_option(Queue, "queue")
    assert not has_option(Queue, "Queue")
    assert has_option(Aliased, "region_name")
    assert not has_option(Aliased, "region")
    assert has_option(InnerTable, "number")
    assert has_option(Inner, "number")
    assert not has_option(create_model("Empty", __base__=Options), "anything")


def test_a_class_of_options_is_described_once_for_all_components_that_have_it() -> None:
    described = []

    class Counted(Options):
        number: int = 0

        @classmethod
        def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
            described.append(cls)
            return handler(core_schema)

    assert validate(Counted, {"number": "7"}, WHERE) == (Counted(number=7), [])
    assert errors(Counted, {"number": True}) == ["number: a boolean is not a number; expected a whole number"]
    assert has_option(Counted, "number")
    assert described == [Counted]


def test_a_component_that_takes_any_option_has_every_one() -> None:
    assert has_option(None, "anything")
    assert has_option(dict[str, int], "anything")


def test_fields_describe_the_options_in_words() -> None:
    class Described(Options):
        queue: str = Field(description="Queue name or URL")
        wait: int = Field(20, ge=0, le=20, description="Long poll")
        mode: Literal["a", "b"] | None = None
        verbose: bool = False
        tags: dict[str, list[str]] = {"a": ["b", "c"]}
        api_token: str = "canary"
        anything: Any = Field(default_factory=object)

    described = {field.name: field for field in fields(Described)}
    assert list(described) == ["queue", "wait", "mode", "verbose", "tags", "api_token", "anything"]
    queue, wait = described["queue"], described["wait"]
    assert (queue.type, queue.required, queue.default, queue.description) == (
        "a string",
        True,
        None,
        "Queue name or URL",
    )
    assert (wait.type, wait.required, wait.default, wait.constraints) == ("a whole number", False, "20", "0 to 20")
    assert (described["mode"].type, described["mode"].default) == ("'a' or 'b'", None)
    assert (described["verbose"].type, described["verbose"].default) == ("true or false", "false")
    assert (described["tags"].type, described["tags"].default) == ("a table", "{a = ['b', 'c']}")
    assert described["api_token"].secret
    assert "canary" not in repr(described["api_token"])
    assert described["anything"].type == ""
    assert fields(None) == []


def test_a_validator_before_the_type_may_make_a_table_of_a_short_form() -> None:
    kind = option(Annotated[Inner, BeforeValidator(lambda value: {"number": value} if value == "one" else value)])
    assert errors(kind, {"x": {"number": "a"}}) == ["x.number: expected a whole number, not 'a'"]
    assert errors(kind, {"x": "one"}) == ["x.number: expected a whole number, not this"]
