"""Keys and values are counted without a parser."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thoughtgate_proxy.core.protocol.json_size import exceeds

VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=9) | st.sampled_from(['"', "\\", ',:{["', "\\\\"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


def signs(value: Any) -> int:
    """As many as are written: one for each container, each colon and each comma."""
    if isinstance(value, dict):
        inner = sum(map(signs, value.values()))
        return 1 + len(value) + max(0, len(value) - 1) + inner
    if isinstance(value, list):
        return 1 + max(0, len(value) - 1) + sum(map(signs, value))
    return 0


@given(VALUES, st.integers(0, 40))
def test_what_stands_in_strings_does_not_count(value: Any, most: int) -> None:
    text = json.dumps(value, separators=(",", ":")).encode()
    assert exceeds(text, most) == (signs(value) > most and len(text) > most)


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b",".join([b"[]"] * 340_000) + b"]",
        b'{"a":"' + b",\\" * 500_000,
        b'"' * (1 << 20),
        b'""' * (1 << 19) + b",:" * 5001,
        b'"' + b'\\",' * 340_000 + b"\\",
        json.dumps({"a": "x," * 400_000, "b": ['\\"{'] * 4000}).encode(),
    ],
)
def test_no_text_takes_long(text: bytes) -> None:
    begun = time.process_time()
    exceeds(text, 10_000)
    assert time.process_time() - begun < 0.1
