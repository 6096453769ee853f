"""JSON has one reading, or none."""

import contextlib
import json
import math
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_proxy.core.protocol.strict_json import (
    NumberText,
    TooMany,
    UnreadableJSON,
    as_written,
    loads,
)

TWO_READINGS = {
    "a duplicate key": b'{"a": 1, "a": 1}',
    "a duplicate key, plainly written": b'{"a":1,"a":1}',
    "a duplicate key far within, plainly written": b'[{"b":[{"a":1,"b":2,"a":3}]}]',
    "a duplicate key, once escaped": b'{"a": 1, "\\u0061": 2}',
    "a duplicate key far within": b'[{"b": [{"a": 1, "b": 2, "a": 3}]}]',
    "NaN": b"[NaN]",
    "an infinity": b"[Infinity]",
    "a negative infinity": b"[-Infinity]",
    "a number beyond a double": b"[1e400]",
    "a whole number beyond a double": b"[1" + b"0" * 400 + b"]",
    "an exponent beyond reason on zero": b"[0e9999999999999999999]",
    "an exponent beyond reason that makes zero": b"[1e-9999999999999999999]",
    "half of a surrogate pair": b'["\\ud800"]',
    "half of a surrogate pair as a key": b'{"\\udc00": 1}',
    "an encoded surrogate": b'["\xed\xa0\x80"]',
    "invalid UTF-8": b'["\xff"]',
    "overlong UTF-8": b'["\xc0\xaf"]',
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without a mark": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32-be"),
    "a second document": b"{} {}",
    "a second document in the next line": b'{"a":1}\n{"a":2}',
    "something after the end": b"{}x",
    "a NUL after the end": b"{}\0",
    "a comment": b'{"a": 1 /* 2 */}',
    "a trailing comma": b"[1,]",
    "single quotes": b"{'a': 1}",
    "a key without quotes": b"{a: 1}",
    "a raw line end in a string": b'["a\nb"]',
    "a leading zero": b"[01]",
    "a plus sign": b"[+1]",
    "a hexadecimal number": b"[0x1]",
    "a point without a digit": b"[1.]",
    "nothing": b"",
    "only blanks": b"  ",
    "a form feed for a blank": b"\x0c{}",
    "a no-break space for a blank": b"\xc2\xa0{}",
}


@pytest.mark.parametrize("text", TWO_READINGS.values(), ids=TWO_READINGS.keys())
def test_what_parsers_could_read_differently_is_refused(text: bytes) -> None:
    with pytest.raises(UnreadableJSON) as refused:
        loads(text)
    assert "\n" not in str(refused.value)


def test_the_refusal_of_a_key_shows_it_in_ascii_and_cut_short() -> None:
    key = "é\u202e" + "x" * 100_000
    with pytest.raises(UnreadableJSON, match=r"`\\xe9\\u202ex{78}` stands twice"):
        loads(json.dumps({key: 1})[:-1].encode() + b"," + json.dumps({key: 1}).encode()[1:])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"9007199254740993", 9007199254740993),
        (b"18446744073709551617", 2**64 + 1),
        (b"1" * 308, int("1" * 308)),
        (b"0.1000000000000000055", Decimal("0.1000000000000000055")),
        (b"1E2", Decimal("1E+2")),
        (b"-0", 0),
        (b"1e-400", Decimal("1e-400")),
        (b'"\\ud83d\\ude00"', "😀"),
        (b' \t\r\n{"a":null,"b":[true,false]} \n', {"a": None, "b": [True, False]}),
        (b'{"":1," ":2}', {"": 1, " ": 2}),
        (b'"\xef\xbb\xbf"', "\ufeff"),
    ],
)
def test_nothing_is_rounded_or_lost(text: bytes, value: Any) -> None:
    read = loads(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")]
)
def test_nesting_is_allowed_to_its_limit_and_no_further(opening: bytes, closing: bytes) -> None:
    levels = opening.count(b"[") + opening.count(b"{")

    def nested(depth: int) -> bytes:
        return opening * (depth // levels) + b"1" + closing * (depth // levels)

    loads(nested(128))
    with pytest.raises(UnreadableJSON, match="deeper than 128"):
        loads(b"[" + nested(128) + b"]")
    with pytest.raises(UnreadableJSON):
        loads(nested(100_000))
    loads(nested(8), 8)
    with pytest.raises(UnreadableJSON, match="deeper than 8"):
        loads(b"[" + nested(8) + b"]", 8)


def test_brackets_in_strings_and_side_by_side_are_no_nesting() -> None:
    loads(json.dumps(["[" * 1000, [[]] * 1000, {"{": "{" * 1000}]).encode())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError
    return dict(pairs)


def _finite(text: str) -> float:
    number = float(text)  # of NaN and Infinity as well
    if not math.isfinite(number):
        raise ValueError
    return number


def _naive(text: bytes) -> Any:
    """What a slow and plain reader makes of it, or ValueError."""
    decoded = text.decode("utf-8", "strict")
    value = json.loads(
        decoded,
        object_pairs_hook=_unique,
        parse_constant=_finite,
        parse_float=_finite,
        parse_int=lambda text: int(text) if _finite(text) is not None else 0,
    )
    json.dumps(value, ensure_ascii=False).encode()  # refuses surrogates
    return value


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            b"{", b"}", b"[", b"]", b",", b":", b'"a"', b'"b"', b'"\\u0061"', b'"\\ud800"', b"1",
            b"-", b".5", b"e9", b"null", b"true", b" ", b"\n", b'"', b"\\", b"\xff", b'"\xc3\xa9"',
        ]
    ),
    max_size=14,
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


def _plainly(value: Any) -> bytes:
    """As most clients write."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


@settings(max_examples=150)
@given(
    FRAGMENTS.map(b"".join)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | VALUES.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    | VALUES.map(_plainly)
)
def test_it_accepts_and_reads_exactly_what_a_plain_reader_does(text: bytes) -> None:
    try:
        expected = _naive(text)
    except ValueError:
        with pytest.raises(UnreadableJSON):
            loads(text)
        return
    found = loads(text)
    assert json.dumps(found, default=float) == json.dumps(expected)


@settings(max_examples=300)
@given(
    VALUES.map(_plainly),
    st.integers(min_value=0),
    st.sampled_from([b"", b" ", b"0", b'"a":1,', b"-"]),
)
def test_what_is_written_plainly_is_read_as_closely_as_the_rest(
    text: bytes, where: int, what: bytes
) -> None:
    where %= len(text) + 1
    text = text[:where] + what + text[where:]
    try:
        expected = _values(as_written(text))
    except UnreadableJSON:
        with pytest.raises(UnreadableJSON):
            loads(text)
        return
    assert repr(loads(text)) == repr(expected)


def _values(value: Any) -> Any:
    """The numbers of what was read as it was written, which is always done closely."""
    match value:
        case NumberText(text):
            return Decimal(text) if set(text) & set(".eE") else int(text)
        case dict():
            return {key: _values(inner) for key, inner in value.items()}
        case list():
            return [_values(inner) for inner in value]
    return value


HEAVY = {
    "a million brackets": b"[" * 500_000 + b"]" * 500_000,
    "many empty objects": b"[" + b",".join([b"{}"] * 150_000) + b"]",
    "one long number": b"0." + b"1" * 1_000_000,
    "many keys": json.dumps({f"k{i}": 0 for i in range(90_000)}).encode(),
    "one long string of escapes": b'"' + b"\\u0041" * 170_000 + b'"',
    "a string that does not end": b'"' + b"a" * 1_000_000,
}


@pytest.mark.parametrize("text", HEAVY.values(), ids=HEAVY.keys())
def test_a_mebibyte_made_to_be_slow_is_read_or_refused_in_a_moment(text: bytes) -> None:
    begun = time.process_time()
    with contextlib.suppress(UnreadableJSON):
        loads(text)
    assert time.process_time() - begun < 2.0


@settings(max_examples=300)
@given(
    st.recursive(
        st.none() | st.integers() | st.text('a,:{}[]"\\ ', max_size=6),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text('b,:[{\\"', max_size=3), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.sampled_from([None, 1]),
)
def test_keys_and_values_are_counted_as_they_are(value: Any, indent: int | None) -> None:
    def count(node: Any) -> int:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        return 1 + (len(node) if isinstance(node, dict) else 0) + sum(map(count, inner))

    text = json.dumps(value, indent=indent).encode()
    number = count(value)
    assert loads(text, 128, number) == value
    if number > 1:
        with pytest.raises(TooMany):
            loads(text + b" " * 20, 128, number - 1)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 349_000 + b"0]",
        b"[" + b'"",' * 349_000 + b"0]",
        b'["' + b'\\",' * 349_000 + b'"]',
    ],
)
def test_what_costs_most_is_refused_before_it_is_parsed(body: bytes) -> None:
    begun = time.process_time()
    try:
        loads(body, 128, 10_000)
    except TooMany:
        assert time.process_time() - begun < 0.1
