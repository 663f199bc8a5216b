"""Bodies without a type: what is JSON, what is not, and that nothing but TranslationError ever comes out."""

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loafer_core import Message, TranslationError
from loafer_json.options import JSONOptions
from loafer_json.translator import JSONTranslator

PLAIN = JSONTranslator(JSONOptions())


def read(body):
    return PLAIN.translate(Message("m-1", body)).payload


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.booleans())
def test_whatever_json_writes_is_read_back(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert read(text) == value
    assert read(text.encode()) == value


@given(st.binary() | st.text(st.characters()) | st.text('[]{},:"\\eE+-.0123456789NaInfinityultrsd \n\x00\ud800'))
def test_t69_any_body_is_read_or_refused_with_a_translation_error(body):
    try:
        payload = read(body)
    except TranslationError:
        return
    assert json.dumps(payload, allow_nan=False, ensure_ascii=False).encode()  # nothing in it that JSON cannot say again


@pytest.mark.parametrize(
    ("body", "payload"),
    [("0", 0), ('""', ""), ("[]", []), ("{}", {}), ("false", False), ("null", None), (" \n[ ]\t", []), (b"0", 0)],
)
def test_t65_an_empty_value_is_content_like_any_other(body, payload):
    assert read(body) == payload
    assert type(read(body)) is type(payload)


@pytest.mark.parametrize("body", ["\ufeff[1]", b"\xef\xbb\xbf[1]"])
def test_a_leading_byte_order_mark_is_skipped(body):
    assert read(body) == [1]


def test_t63_the_last_of_duplicate_names_wins():
    assert read('{"a": 1, "b": 2, "a": 3}') == {"a": 3, "b": 2}


def test_an_escaped_nul_and_surrogate_pair_are_content():
    assert read(r'"\u0000 \ud83d\ude00"') == "\x00 😀"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "EOF"),
        ("  ", "EOF"),
        ("{'a': 1}", "key must be a string"),
        ("[1,]", "trailing comma"),
        ("01", "invalid number"),
        ("1 2", "trailing characters"),
        ("\ufeff\ufeff1", "expected value"),
        ('"\x00"', "control character"),
        ('"a\nb"', "control character"),
        (b'"\xff"', "invalid unicode"),
        (b'"\xed\xa0\x80"', "invalid unicode"),
        ("[1]".encode("utf-16"), "expected value"),
        (r'"\ud800"', "hex escape"),
        (r'"\udc00 \ud800"', "hex escape"),
        ('"\ud800"', "lone surrogate"),
    ],
)
def test_t65_what_rfc_8259_does_not_allow_is_refused_with_the_reason(body, reason):
    with pytest.raises(TranslationError, match=f"^not JSON: .*{reason}"):
        read(body)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("frame", ["%s", "[1, %s]", '{"a": {"b": %s}}', '["Infinity and NaN", %s]'])
def test_t63_nan_and_infinity_are_refused_wherever_they_stand(frame, constant):
    with pytest.raises(TranslationError, match="not JSON"):
        read(frame % constant)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999999", "9" * 5000, r"\"NaN"])
def test_a_string_that_looks_like_a_forbidden_number_is_content(text):
    assert read(f'{{"{text}": "{text}"}}') == {json.loads(f'"{text}"'): json.loads(f'"{text}"')}


@pytest.mark.parametrize(
    "number",
    ["1e999999", "-1E+309", "1e0000309", f"1{'0' * 309}.5", f"{'9' * 250}e99", f"-{'9' * 309}", "9" * 5000],
)
def test_t63_a_number_beyond_a_double_is_refused(number):
    with pytest.raises(TranslationError, match="number"):
        read(f'{{"total": [{number}]}}')


@pytest.mark.parametrize(
    "number",
    ["1e308", "-1.7976931348623157E+308", "1e-999999", f"0.{'1' * 400}", "9" * 308, "9007199254740993", "-0"],
)
def test_a_number_within_a_double_is_read_to_the_last_digit(number):
    assert read(f"[{number}]") == json.loads(f"[{number}]")


@given(st.sampled_from(["", "-"]), st.integers(1, 10**6), st.integers(0, 330), st.integers(-20, 330))
@example("", 2, 209, 99)
def test_a_number_is_read_exactly_when_a_double_can_hold_it(sign, digits, zeros, exponent):
    number = f"{sign}{digits}{'0' * zeros}.5e{exponent}"
    if math.isfinite(float(number)):
        assert read(number) == float(number)
    else:
        with pytest.raises(TranslationError, match="range of a double"):
            read(number)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_t62_nesting_is_read_to_depth_200_and_refused_beyond(opening):
    closing = "]" if opening == "[" else "}"
    assert read(opening * 200 + "1" + closing * 200)
    for depth in (201, 480, 900, 150_000):
        with pytest.raises(TranslationError, match="recursion limit"):
            read(opening * depth + "1" + closing * depth)


def test_t62_half_a_million_opening_brackets_are_refused():
    with pytest.raises(TranslationError, match="recursion limit"):
        read("[" * 500_000)


async def test_a_body_is_read_up_to_max_bytes_of_utf_8(decoded):
    assert await decoded('"äöü"', max_bytes=8) == "äöü"
    assert await decoded('"äöü"'.encode(), max_bytes=8) == "äöü"
    with pytest.raises(TranslationError, match="9 bytes are more than max_bytes = 8"):
        await decoded('"äöüx"', max_bytes=8)


def test_t64_a_full_mebibyte_of_small_objects_is_read_and_one_byte_more_is_not():
    body = "[" + "{}," * ((1024 * 1024 - 4) // 3) + "{}]"
    body += " " * (1024 * 1024 - len(body))
    assert set(map(len, read(body))) == {0}
    with pytest.raises(TranslationError, match="max_bytes"):
        read(body + " ")


@given(
    st.text(st.characters(categories=["L"]), min_size=12), st.sampled_from(["{}", '{{"{}": NaN}}', '["{}" 1]', '"{}'])
)
def test_no_error_shows_any_of_the_body(secret, frame):
    with pytest.raises(TranslationError) as caught:
        read(frame.format(secret))
    assert secret not in str(caught.value)
    assert caught.value.__context__ is caught.value.__cause__ is None
