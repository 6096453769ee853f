"""`*` is any run, `?` one character, all else itself; no name is slow to match."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_proxy.core.policy.glob import FirstMatch, pattern


def matches(glob: str, name: str) -> bool:
    return FirstMatch([(0, glob)])(name) == 0


def naive(glob: str, name: str) -> bool:
    if not glob:
        return not name
    if glob[0] == "*":
        return naive(glob[1:], name) or (bool(name) and naive(glob, name[1:]))
    return bool(name) and glob[0] in ("?", name[0]) and naive(glob[1:], name[1:])


LETTERS = "ab.\n*?[é\\"


@settings(max_examples=300)
@given(st.text(LETTERS, max_size=8), st.text(LETTERS, max_size=9))
def test_a_glob_matches_what_a_plain_recursion_does(glob: str, name: str) -> None:
    assert matches(glob, name) == naive(glob, name)


@settings(max_examples=300)
@given(st.lists(st.text("ab*?", max_size=5), max_size=6), st.text("ab", max_size=6))
def test_of_many_globs_the_first_that_matches_counts(globs: list[str], name: str) -> None:
    expected = next((n for n, glob in enumerate(globs) if naive(glob, name)), None)
    assert FirstMatch(enumerate(globs))(name) == expected


@pytest.mark.parametrize(
    ("glob", "name"),
    [
        ("delete_*", "Delete_db"),
        ("delete_*", "xdelete_db"),
        ("delete_*", "delete"),
        ("delete", "delete\n"),
        ("a?c", "ac"),
        ("a?c", "abbc"),
        ("a.c", "abc"),
        ("a|b", "a"),
        ("", "a"),
        ("a", ""),
        ("(?i)a", "A"),
        ("ﬁ", "fi"),
    ],
)
def test_a_glob_means_the_whole_name_letter_by_letter(glob: str, name: str) -> None:
    assert not matches(glob, name)


@pytest.mark.parametrize(
    ("glob", "name"),
    [("*", ""), ("*", "a\nb"), ("**", "a"), ("?", "\n"), ("?", "😀"), ("a$", "a$"), ("a*a", "aa"),
     ("*ab*ab", "abxabab"), ("a|b", "a|b")],
)  # fmt: skip
def test_a_wildcard_takes_any_character(glob: str, name: str) -> None:
    assert matches(glob, name)


def test_hundreds_of_globs_are_one_expression_and_keep_their_numbers() -> None:
    first = FirstMatch((n * 10, f"tool{n}_*") for n in range(500))
    assert first("tool499_x") == 4990
    assert first("tool5") is None
    assert FirstMatch([])("a") is None


@pytest.mark.parametrize(
    ("glob", "name"),
    [
        ("*a" * 20 + "b", "a" * 8192),
        ("*" * 50 + "b", "a" * 8192),
        ("*?" * 20 + "b", "a" * 8192),
        ("a*a*a*a*a*a*a*a*b", "a" * 8192),
        ("*" + "a" * 100 + "*" + "a" * 100 + "*b", "a" * 8192),
    ],
)
def test_a_name_made_to_be_slow_is_matched_in_a_moment(glob: str, name: str) -> None:
    begun = time.process_time()
    assert not matches(glob, name)
    assert time.process_time() - begun < 0.5


def test_a_pattern_captures_nothing_of_its_own() -> None:
    assert re.compile(pattern("a*(b)?c*")).groups == 0
