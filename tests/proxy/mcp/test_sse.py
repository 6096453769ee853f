"""A stream is cut into the same events however its bytes arrive."""

# ruff: noqa: E501  a table is read row by row

import itertools
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_proxy.mcp.sse import (
    EventPart,
    EventTooLong,
    Splitter,
    data_of,
    event,
    field,
    with_data,
)

LIMIT = 1 << 20


def split(pieces: list[bytes], limit: int = LIMIT) -> tuple[list[bytes], bytes]:
    splitter = Splitter(limit)
    events = [found for piece in pieces for found in splitter.feed(piece)]
    return events, splitter.rest


def naive(stream: bytes) -> list[bytes | None]:
    """The data of each event, line by line as the standard has it (the last may be unfinished)."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    found: list[bytes | None] = []
    data: list[bytes] = []
    lines = re.split(rb"\r\n|\r|\n", stream)
    for line in lines[:-1]:
        if not line:
            found.append(b"\n".join(data) if data else None)
            data = []
        elif line == b"data":
            data.append(b"")
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
    return [datum for datum in found if datum is not None]


STREAMS = st.lists(
    st.sampled_from(
        [b"data: a", b"data:b", b"data", b": c", b"id: 1", b"event: x", b"\n", b"\r\n", b"\r",
         b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r", b"\xef\xbb\xbf", b"x", b"data : d", b" data: e"]
    ),
    max_size=16,
).map(b"".join)  # fmt: skip


@settings(max_examples=300)
@given(STREAMS, st.lists(st.integers(0, 60), max_size=6))
def test_any_cut_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    whole, rest = split([stream])
    assert split(pieces) == (whole, rest)
    assert split([stream[n : n + 1] for n in range(len(stream))]) == (whole, rest)
    assert b"".join(whole) + rest == stream


@settings(max_examples=300)
@given(STREAMS)
def test_the_events_hold_the_data_that_a_plain_reader_finds(stream: bytes) -> None:
    if b"\xef\xbb\xbf" in stream[1:]:
        return  # one in the middle is no mark, and nobody's business here
    events, rest = split([stream + b"\n\n"])
    assert not rest.strip()
    assert [data for data in map(data_of, events) if data is not None] == naive(stream + b"\n\n")


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\n\n"])
def test_an_event_is_given_as_soon_as_it_is_whole(end: bytes) -> None:
    splitter = Splitter(LIMIT)
    assert not list(splitter.feed(b"data: a" + end[:-1]))
    assert list(splitter.feed(end[-1:])) == [b"data: a" + end]


def test_a_cr_at_the_end_waits_for_its_lf() -> None:
    splitter = Splitter(LIMIT)
    assert not list(splitter.feed(b"data: a\r\n\r"))
    assert list(splitter.feed(b"\ndata: b\r\r")) == [b"data: a\r\n\r\n"]
    assert list(splitter.feed(b"x")) == [b"data: b\r\r"]
    assert splitter.rest == b"x"


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_an_event_that_is_too_long_is_refused_however_it_arrives(size: int) -> None:
    stream = b"data: a\n\n" + b"data: " + b"x" * 200 + b"\n\n"
    splitter, found = Splitter(100), list[bytes]()

    def fed() -> None:
        for start in range(0, len(stream), size):
            found.extend(splitter.feed(stream[start : start + size]))

    with pytest.raises(EventTooLong):
        fed()
    assert found == [b"data: a\n\n"]
    assert split([stream], 208)[0] == [b"data: a\n\n", stream[9:]]


@settings(max_examples=200)
@given(STREAMS, st.integers(0, 12), st.integers(1, 9))
def test_in_parts_no_byte_is_lost_or_moved(stream: bytes, limit: int, size: int) -> None:
    splitter = Splitter(limit, parts=True)
    found = [
        event
        for start in range(0, len(stream), size)
        for event in splitter.feed(stream[start : start + size])
    ]
    assert b"".join(found) + splitter.rest == stream
    whole, rest = split([stream])
    assert all(event in whole for event in found if not isinstance(event, EventPart))
    assert splitter.inside or splitter.rest == rest


def test_after_a_long_event_the_next_is_whole_again() -> None:
    stream = b"data: " + b"x" * 300 + b"\r\n\r\ndata: b\n\ndata: " + b"y" * 300 + b"\n\n"
    splitter = Splitter(100, parts=True)
    found = [event for n in range(len(stream)) for event in splitter.feed(stream[n : n + 1])]
    whole = [event for event in found if not isinstance(event, EventPart)]
    assert whole == [b"data: b\n\n"]
    assert b"".join(found) == stream
    assert not splitter.inside


@pytest.mark.parametrize("size", [1, 64 * 1024])
@pytest.mark.parametrize(
    "unit", [b"x", b"\r\n", b"\n", b"data: a\n", b"\r", b": x\n\n", b"\rx", b"data:\n"]
)
def test_a_stream_made_to_be_slow_is_cut_in_a_moment(size: int, unit: bytes) -> None:
    stream = unit * ((LIMIT // 4 if size > 1 else 16 * 1024) // len(unit))
    splitter = Splitter(2 * LIMIT)
    begun = time.process_time()
    for start in range(0, len(stream), size):
        for found in splitter.feed(stream[start : start + size]):
            data_of(found)
    assert time.process_time() - begun < 3.0


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"data: a\n\n", b"a"), (b"data:a\ndata: b\n\n", b"a\nb"), (b"data:  a\n\n", b" a"),
        (b"data\n\n", b""), (b"data\ndata\n\n", b"\n"), (b": a\n\n", None), (b"id: 1\n\n", None),
        (b"\xef\xbb\xbfdata: a\n\n", b"a"), (b"data: a\rdata: b\r\r", b"a\nb"), (b"Data: a\n\n", None),
        (b" data: a\n\n", None), (b"data : a\n\n", None), (b"data: a:b\n\n", b"a:b"), (b"\n", None),
    ],
)  # fmt: skip
def test_the_data_of_an_event_is_read_as_the_standard_has_it(
    text: bytes, data: bytes | None
) -> None:
    assert data_of(text) == data


def test_fields_are_found_by_their_exact_name() -> None:
    assert field(b"id: 5\ndata: x\n\n", b"id") == b"5"
    assert field(b"id\n\n", b"id") == b""
    assert field(b"idx: 5\ndata: id: 6\n\n", b"id") is None


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([b"id: 1", b"event: x", b"retry: 3", b": c", b"data: o"]), max_size=5),
    st.lists(st.text("ab{} :", max_size=5), min_size=1, max_size=4),
)
def test_other_data_leaves_the_other_fields_as_they_are(lines: list[bytes], new: list[str]) -> None:
    if b"data: o" not in lines:
        lines.append(b"data: o")
    data = "\n".join(new).encode()
    written = with_data(b"\r\n".join(lines) + b"\r\n\r\n", data)
    assert data_of(written) == data
    assert split([written]) == ([written], b"")
    kept = [line for line in written.split(b"\n") if line and not line.startswith(b"data")]
    assert kept == [line for line in lines if not line.startswith(b"data")]


def test_an_event_of_ours_is_one_event() -> None:
    assert split([event(b"{}")]) == ([b"event: message\ndata: {}\n\n"], b"")
    assert data_of(event(b"{}")) == b"{}"
