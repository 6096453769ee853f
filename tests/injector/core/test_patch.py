"""Operations of a JSON patch."""

from typing import Any

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from thoughtgate_injector.core.patch import add, apply, moved, remove, steps


@given(st.lists(st.text("a/~01", min_size=1), min_size=1, max_size=3))
def test_any_key_can_stand_in_a_path(keys: list[str]) -> None:
    document: dict[str, Any] = {}
    for length in range(1, len(keys)):
        apply(document, [add(keys[:length], {})])
    operation = add(keys, 1)
    expected = jsonpatch.apply_patch(document, [operation])
    apply(document, [operation])
    assert document == expected


def test_a_list_takes_members_at_a_place_and_at_its_end() -> None:
    document = {"list": [1, 2]}
    apply(document, [add(("list", 0), 0), add(("list", "-"), 3), add(("list", 1), 9)])
    assert document == {"list": [0, 9, 1, 2, 3]}


def test_members_are_removed_by_key_and_by_place() -> None:
    document = {"list": [1, 2, 3], "a/b": {"c": 1, "d": 2}}
    apply(document, [remove(("list", 1)), remove(("a/b", "c")), remove(("list", 1))])
    assert document == {"list": [1], "a/b": {"d": 2}}


def test_an_operation_is_moved_to_where_its_document_stands() -> None:
    assert moved(remove(("a",)), ("x~", 0)) == remove(("x~", 0, "a"))
    assert moved(add(("a", "-"), 1), ("x",)) == add(("x", "a", "-"), 1)
    assert steps(add(("a/b", 0), 1)) == (["a/b"], "0")
