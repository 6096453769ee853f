"""Arguments reach Cedar as data, never as entities or extension values of the agent's making."""

# ruff: noqa: E501  a table is read row by row

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_proxy.core.policy.cedar_values import Excerpt, Untranslatable, check, translated
from thoughtgate_proxy.core.protocol import strict_json


def of(text: str) -> Any:
    return translated(strict_json.loads(text.encode()))


def decimal(text: str) -> Any:
    return {"__extn": {"fn": "decimal", "arg": text}}


def opaque(id: str) -> Any:
    return {"__entity": {"type": "Json", "id": id}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"x"', "x"), ("true", True), ("false", False), ("[]", []), ("{}", {}),
        ("1", 1), ("1.0", 1), ("1e2", 100), ("100.000", 100), ("12E-1", decimal("1.2000")),
        ("0", 0), ("-0", 0), ("0.0", 0), ("0e5", 0), ("-0.0e-9", 0),
        ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63)),
        ("9223372036854775807.0", 2**63 - 1), ("9.223372036854775807e18", 2**63 - 1),
        ("15.5", decimal("15.5000")), ("-0.0001", decimal("-0.0001")), ("0.10000", decimal("0.1000")),
        ("922337203685477.5807", decimal("922337203685477.5807")),
        ("-922337203685477.5807", decimal("-922337203685477.5807")),
    ],
)  # fmt: skip
def test_a_value_becomes_what_the_contract_says(text: str, value: Any) -> None:
    assert of(text) == value
    assert type(of(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "null", "9223372036854775808", "-9223372036854775809", "1e19", "1e300", "1" + "0" * 30,
        "0.00001", "0.12345", "922337203685477.5808", "-922337203685477.5808", "1e-300",
        "1000000000000000.5", "0.1000000000000000055", "123456789012345678901.5",
    ],
)  # fmt: skip
def test_what_cedar_cannot_hold_exactly_is_opaque(text: str) -> None:
    assert of(text)["__entity"]["type"] == "Json"


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("1e300", "2e300", False), ("1e300", "-1e300", False), ("0.00001", "0.00002", False),
        ("1e300", "10e299", True), ("0.00001", "1E-5", True), ("1e20", "1" + "0" * 20, True),
        ("null", "1e300", False), ("null", "null", True),
    ],
)  # fmt: skip
def test_two_opaque_values_are_equal_exactly_if_the_values_are(
    one: str, other: str, equal: bool
) -> None:
    assert (of(one) == of(other)) is equal


@pytest.mark.parametrize("key", ["__entity", "__extn", "__expr"])
@pytest.mark.parametrize("text", ['{"%s": 1}', '[[{"a": {"%s": {"type": "A", "id": "b"}}}]]'])
def test_a_key_that_means_something_to_cedar_is_refused_at_any_depth(key: str, text: str) -> None:
    with pytest.raises(Untranslatable, match=key):
        check(strict_json.loads((text % key).encode()))


KEYS = st.sampled_from(["a", "type", "id", "fn", "__entity", "__extn", "__expr", "__Entity"])
NUMBERS = (
    st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.decimals(min_value=-1000, max_value=1000, places=3)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=4) | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


def same(value: Any, seen: Any) -> bool:
    """Whether `seen` is data of the same shape, with ours alone for numbers and null."""
    match value:
        case dict():
            return value.keys() == seen.keys() and all(same(value[k], seen[k]) for k in value)
        case list():
            return len(value) == len(seen) and all(map(same, value, seen))
        case bool() | str():
            return value is seen
        case None:
            return bool(seen == opaque("null"))
        case _ if isinstance(seen, int):
            return not isinstance(seen, bool) and seen == value and -(2**63) <= seen < 2**63
        case _ if "__extn" in seen:
            text = seen["__extn"]["arg"]
            return bool(seen == decimal(text)) and Decimal(text) == value
        case _:
            id = seen["__entity"]["id"]
            return bool(seen == opaque(id)) and id != "null" and Decimal(id) == value


def reserved(value: Any) -> bool:
    if isinstance(value, dict):
        return any(key in ("__entity", "__extn", "__expr") for key in value) or any(
            map(reserved, value.values())
        )
    return isinstance(value, list) and any(map(reserved, value))


@settings(max_examples=300)
@given(VALUES)
def test_no_value_of_the_agents_becomes_an_entity_or_extension(value: Any) -> None:
    if reserved(value):
        with pytest.raises(Untranslatable):
            check(value)
    else:
        check(value)
        seen = translated(value)
        assert same(value, seen)
        json.dumps(seen)


def test_of_the_arguments_only_what_is_asked_for_is_handed_over() -> None:
    excerpt = Excerpt([("a",), ("a", "b"), ("l",), ("l", "x"), ("h",)], {("a", "b")})
    given_ = {"a": {"b": [1, {"c": 2}], "z": 3}, "l": [1, 2], "h": {"x": 1}, "other": [1]}
    assert excerpt.of(given_) == {"a": {"b": [1, {"c": 2}]}, "l": [], "h": {}}
    assert excerpt.of({"a": None, "h": "x"}) == {"a": None, "h": "x"}
    whole = Excerpt([("a", "b")], {("a",)})
    assert whole.of({"a": {"b": 1, "c": 2}, "d": 1}) == {"a": {"b": 1, "c": 2}}
    assert Excerpt([], {()}).of(given_) == given_
