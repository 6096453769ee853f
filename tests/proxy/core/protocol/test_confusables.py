"""Keys that a lenient server could take for others."""

# ruff: noqa: E501  a table is read row by row

import time
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_proxy.core.protocol.confusables import KeyPaths, KnownKeys, fold, twins


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


READ = KeyPaths(
    [("id",), ("to", "card", "number"), ("to", "name"), ("größe",), ("user_id",), ("userId",)]
)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"ID": 1}, ("ID", "id")), ({"id": 1, "Id": 2}, ("Id", "id")), ({"i\x00d": 1}, ("i\x00d", "id")),
        ({"i\u200bd": 1}, ("i\u200bd", "id")), ({"ıd": 1}, ("ıd", "id")), ({"I\u0307d": 1}, ("I\u0307d", "id")),
        ({"_id": 1}, ("_id", "id")), ({"ｉｄ": 1}, ("ｉｄ", "id")),
        ({"to": {"Card": 1}}, ("Card", "card")), ({"to": {"card": {"NUMBER": 1}}}, ("NUMBER", "number")),
        ({"TO": {}}, ("TO", "to")), ({"GRÖSSE": 1}, ("GRÖSSE", "größe")), ({"größ\x1fe": 1}, ("größ\x1fe", "größe")),
        ({"id": 1, "to": {"card": {"number": 1}, "name": 2}}, None),
        ({"user_id": 1, "userId": 2}, None), ({"USER_ID": 1}, ("USER_ID", "userId")),
        # Elsewhere than where they are read they mean something else.
        ({"env": {"ID": 1, "id": 2}}, None), ({"to": {"ID": 1}}, None), ({"to": [{"Card": 1}]}, None),
        ({"HTTP_PROXY": 1, "http_proxy": 2}, None), ({"to": None, "x": "ID"}, None), ({}, None),
    ],
)  # fmt: skip
def test_a_key_that_looks_like_one_that_is_read_in_its_place_is_found(
    arguments: Any, found: tuple[str, str] | None
) -> None:
    seen = READ.impostor(arguments)
    assert seen == found or (seen is not None and found is not None and seen[0] == found[0])


def test_where_nothing_is_read_nothing_is_found() -> None:
    assert KeyPaths([]).impostor({"a": 1, "A": 2}) is None


@settings(max_examples=300)
@given(st.text(max_size=6), st.sampled_from(["id", "größe", "a_b"]))
def test_the_quick_look_lets_no_impostor_by(key: str, known: str) -> None:
    looks = fold(key).replace("_", "").replace("-", "") == fold(known).replace("_", "")
    assert (KnownKeys([known]).impostor({key: 1}) is not None) is (looks and key != known)


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
def test_keys_made_to_be_slow_are_compared_in_a_moment(keys: list[str]) -> None:
    value = dict.fromkeys([*keys, "other"])
    begun = time.process_time()
    KnownKeys(["name"]).impostor(value)
    assert time.process_time() - begun < 0.2
    twins(value)
    assert time.process_time() - begun < 2.0
