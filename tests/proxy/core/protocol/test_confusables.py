"""Keys that a lenient server could take for others."""

# ruff: noqa: E501  a table is read row by row

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_proxy.core.protocol.confusables import (
    KeysTooLong,
    KnownKeys,
    fold,
    twins,
    twins_within,
)


@pytest.mark.parametrize(
    "key",
    [
        "NAME", "Name", "nAmE", "ｎａｍｅ", "𝓷𝓪𝓶𝓮", "ⓝⓐⓜⓔ", "na\u00adme", "na\u200bme", "\ufeffname",
        "name\u2060", "na\u034fme", "na\u3164me", "na\uffa0me", "na\ufe0fme", "n\u180eame",
        "name\U000e0041", "naᵐe",
    ],
)  # fmt: skip
def test_a_key_looks_like_another_in_other_letters_and_with_what_cannot_be_seen(key: str) -> None:
    assert fold(key) == "name"


@pytest.mark.parametrize(
    ("key", "other"),
    [("ıd", "id"), ("İd", "id"), ("argument\u017f", "arguments"), ("to\u212aen", "token"),
     ("ref\ufb01", "reffi"), ("straße", "STRASSE"), ("ß\u0301", "S\u015b"), ("I\u0307d", "id")],
)  # fmt: skip
def test_letters_that_some_language_folds_to_ascii_look_like_it(key: str, other: str) -> None:
    assert fold(key) == fold(other)


@pytest.mark.parametrize(
    ("key", "other"), [("name", "names"), ("é", "e"), ("a b", "ab"), ("o", "0")]
)
def test_different_keys_do_not_look_alike(key: str, other: str) -> None:
    assert fold(key) != fold(other)


@settings(max_examples=300)
@given(st.text(max_size=12))
def test_keys_that_unicode_holds_for_equal_look_alike(key: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold(unicodedata.normalize(form, key)) == fold(key)
    assert fold(fold(key)) == fold(key)


@pytest.mark.parametrize(
    "key",
    ["resource_subscriptions", "resource-subscriptions", "ResourceSubscriptions",
     "RESOURCE_SUBSCRIPTIONS", "resourceSub\u00adscriptions"],
)  # fmt: skip
def test_a_known_key_spelt_as_a_model_with_aliases_takes_it_is_an_impostor(key: str) -> None:
    known = KnownKeys(["resourceSubscriptions"])
    assert known.impostor({"other": 1, key: 2}) == (key, "resourceSubscriptions")
    assert known.impostor({"resourceSubscriptions": 1, key: 2}) == (key, "resourceSubscriptions")
    assert known.impostor({"resourceSubscriptions": 1, "subscriptions": 2}) is None


def test_underscores_do_tell_keys_apart_that_nobody_knows() -> None:
    assert twins({"user_id": 1, "userId": 2}) is None
    assert twins({"userid": 1, "userId": 2}) == ("userid", "userId")


def test_twins_are_found_at_any_depth() -> None:
    assert twins_within({"a": [{"b": {"c": [[{"Path": 1, "path": 2}]]}}]}) == ("Path", "path")
    assert twins_within({"a": {"b": 1}, "B": {"a": 2}, "c": ["a", "A", 1, None]}) is None


@pytest.mark.parametrize(
    "keys",
    [
        ["a" + "\u0301\u0327" * 30_000],
        ["a" + "\u0301\u0327" * 127 + str(n) for n in range(1000)],
        ["\ufdfa" * 300_000],
        ["\u200b" * 300_000 + "name"],
        [f"é{n}" for n in range(90_000)],
    ],
    ids=["one run of marks", "many runs of marks", "one that grows", "unseen", "many"],
)
def test_keys_made_to_be_slow_are_refused_in_a_moment(keys: list[str]) -> None:
    value = dict.fromkeys([*keys, "other"])
    begun = time.process_time()
    for compare in (twins_within, KnownKeys(["name"]).impostor):
        with pytest.raises(KeysTooLong):
            compare(value)
    assert time.process_time() - begun < 0.5


def test_keys_that_come_again_and_again_count_once() -> None:
    rows = [{"名前": 1, "住所": 2, "電話番号": 3} for _ in range(2000)]
    assert twins_within(rows) is None
