"""Streams and listings on their way to the client."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_proxy.core.memory_budget import Budget
from thoughtgate_proxy.core.protocol.http import ReplyCut
from thoughtgate_proxy.core.protocol.message import Id
from thoughtgate_proxy.mcp import reply_filter
from thoughtgate_proxy.mcp.answers import UPSTREAM_DOWN
from thoughtgate_proxy.mcp.reply_filter import BAD_REPLY, Expected, events, listing
from thoughtgate_proxy.mcp.sse import Splitter, data_of


class Client:
    """One that asked with `ids` (None: it listens), and what became of the replies."""

    def __init__(
        self,
        *ids: Id,
        listens: bool = False,
        listing: bool = False,
        shows_all: bool = False,
        limit: int = 10 << 20,
    ) -> None:
        self.dropped = 0
        self.learnt: list[str] = []
        self.failures: list[str] = []
        self.odd: list[str] = []
        self.expected = Expected(
            ids=None if listens else frozenset(ids),
            listing=listing,
            shows=lambda name: shows_all or not name.startswith("hidden"),
            shows_all=shows_all,
            limit=limit,
            learn=self.learnt.append,
            odd=self.odd.append,
            dropped=self._drop,
            failed=lambda reason, kind: self.failures.append(kind if reason else ""),
            budget=Budget(1 << 26),
        )

    def _drop(self) -> None:
        self.dropped += 1

    def receives(self, *pieces: bytes, cut: bool = False, first: tuple[bytes, ...] = ()) -> bytes:
        async def server() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece
            if cut:
                raise ReplyCut("reset")

        async def whole() -> bytes:
            return b"".join([piece async for piece in events(server(), self.expected, first)])

        return asyncio.run(whole())

    def messages(self, *pieces: bytes, cut: bool = False) -> list[Any]:
        return [json.loads(data) for data in datas(self.receives(*pieces, cut=cut))]


def datas(stream: bytes) -> list[bytes]:
    splitter = Splitter(1 << 30)
    found = [*splitter.feed(stream), splitter.rest]
    return [data for data in map(data_of, found) if data]


def sse(*messages: Any, end: bytes = b"\n\n") -> bytes:
    return b"".join(b"data: " + json.dumps(message).encode() + end for message in messages)


def result(id: Any, **fields: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": fields}


def tools(id: Any, *names: str) -> dict[str, Any]:
    return result(id, tools=[{"name": name} for name in names])


NOTE = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
ASKS = {"jsonrpc": "2.0", "method": "sampling/createMessage", "id": 99, "params": {}}


def test_a_stream_passes_byte_by_byte_as_it_came() -> None:
    stream = (
        b": hello\n\nid: 1\r\nevent: message\r\n"
        b'data: {"jsonrpc":"2.0",\r\ndata: "id":1,"result":{}}\r\n\r\n'
        b"retry: 5\n\n" + sse(NOTE, ASKS)
    )
    client = Client(1)
    assert client.receives(stream) == stream
    assert client.receives(*[stream[n : n + 1] for n in range(len(stream))]) == stream
    assert client.dropped == 0


@pytest.mark.parametrize("id", [2, "2", 1.0, True, [1], {"a": 1}, 2**70, "", -1])
def test_a_reply_with_an_id_that_nobody_asked_with_is_dropped(id: Any) -> None:
    client = Client(1)
    assert client.messages(sse(NOTE, result(id), result(1))) == [NOTE, result(1)]
    assert client.dropped == 1


def test_an_id_that_a_server_writes_as_text_is_the_id_that_was_asked_with() -> None:
    client = Client(1)
    assert client.messages(sse(result("1"))) == [result("1")]
    assert client.dropped == 0
    whole = json.dumps(tools("1", "a")).encode()
    assert listing(whole, Client(1, listing=True).expected) == whole


def test_with_nothing_to_hide_a_listing_keeps_its_bytes_however_odd() -> None:
    client = Client(1, listing=True, shows_all=True)
    odd = '{"id":1,"result":{"tools":[{"name":"a\u3000b","x":1,"x":2},{"name":"b"}]}}'.encode()
    assert listing(odd, client.expected) == odd
    assert (client.failures, client.learnt) == ([], ["b"])


def test_a_batch_that_answers_a_foreign_id_as_well_is_dropped() -> None:
    client = Client(1)
    assert client.messages(sse([result(1), result(2)])) == []
    assert client.dropped == 1


def test_requests_and_notifications_of_the_server_and_errors_to_nobody_pass() -> None:
    lost = {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "?"}}
    client = Client(1)
    assert client.messages(sse(ASKS, NOTE, lost)) == [ASKS, NOTE, lost]
    assert client.dropped == 0


def test_a_stream_that_is_listened_on_may_replay_any_reply() -> None:
    client = Client(listens=True, shows_all=True)
    assert client.messages(sse(result(1), result("x"), NOTE)) == [result(1), result("x"), NOTE]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_listings_in_a_stream_are_filtered_wherever_they_appear(end: bytes) -> None:
    stream = sse(NOTE, tools(1, "a", "hidden", "b"), end=end)
    for client in (Client(1, listing=True), Client(listens=True)):
        for pieces in ([stream], [stream[n : n + 1] for n in range(len(stream))]):
            assert client.messages(*pieces) == [NOTE, tools(1, "a", "b")]
    assert client.learnt == ["a", "b"] * 2


def test_a_filtered_event_keeps_its_other_fields() -> None:
    stream = b"id: 7\nevent: message\n: c\n" + sse(tools(1, "hidden"))
    out = Client(1, listing=True).receives(stream)
    assert out.startswith(b"id: 7\nevent: message\n: c\ndata: ")
    assert out.endswith(b"\n\n")


def test_a_listing_in_the_last_event_is_filtered_though_its_empty_line_is_missing() -> None:
    stream = sse(tools(1, "a", "hidden")).rstrip()
    for client in (Client(1, listing=True), Client(listens=True)):
        assert client.messages(stream) == [tools(1, "a")]


def test_data_in_several_lines_is_one_listing() -> None:
    stream = b'data: {"id":1,"result":{"tools":\ndata: [{"name":"hid\ndata:den"}]}}\n\n'
    assert "error" in Client(1, listing=True).messages(stream)[0]
    stream = b'data: {"id":1,"result":{"tools":\rdata: [{"name":"hidden"}]}}\r\r'
    assert Client(1, listing=True).messages(stream)[0]["result"]["tools"] == []


@pytest.mark.parametrize(
    "data",
    [
        b'{"id":1,"result":{"tools":[],"tools":[{"name":"hidden"}]}}',
        b'{"id":1,"result":{"t\\u006fols":[],"tools":[{"name":"hidden"}]}}',
        b'{"id":1,"result":{"Tools":[{"name":"hidden"}]}}',
        b'{"id":1,"result":{"tools":[{"name":"hidden"}]}} {}',
        b'\xff{"id":1,"result":{"tools":[{"name":"hidden"}]}}',
    ],
)
def test_a_listing_that_cannot_be_understood_becomes_an_error(data: bytes) -> None:
    for client in (Client(1, listing=True), Client(listens=True)):
        out = client.receives(b"data: " + data + b"\n\n")
        assert b"hidden" not in out
        (message,) = [json.loads(found) for found in datas(out)]
        assert message["error"]["code"] == BAD_REPLY
        assert message["id"] in (1, None)


def test_a_replayed_listing_is_known_however_its_key_is_written() -> None:
    for key in ("tools", "t\\u006fols"):
        stream = f'data: {{"id":1,"result":{{"{key}":[{{"name":"hidden"}}]}}}}\n\n'.encode()
        assert Client(listens=True).messages(stream)[0]["result"] == {"tools": []}


def test_what_is_no_listing_is_replayed_however_it_is_written() -> None:
    stream = b'data: {"id":1,"id":1,"result":{}}\n\ndata: not json\n\n' + sse(result(3, x="y"))
    assert Client(listens=True).receives(stream) == stream


def test_the_reply_to_a_call_is_nobodys_business() -> None:
    stream = b'data: {"id":1,"result":{"content":[],"x":NaN,"x":1}}\n\n' + sse(
        result(1, tools=[{"name": "hidden"}])
    )
    assert Client(1).receives(stream) == stream


def test_our_own_answers_come_first() -> None:
    ours = b'{"id":2,"result":{}}'
    out = Client(1).receives(sse(result(1)), first=(ours,))
    assert datas(out) == [ours, json.dumps(result(1)).encode()]


def test_a_server_that_dies_without_an_event_id_leaves_an_error_for_each_open_request() -> None:
    client = Client(1, 2, "x")
    found = client.messages(sse(NOTE, result(1)), b"data: {half", cut=True)
    assert client.failures == ["upstream_cut"]
    assert found[:2] == [NOTE, result(1)]
    assert {message["id"]: message["error"]["code"] for message in found[2:]} == {
        2: UPSTREAM_DOWN, "x": UPSTREAM_DOWN,
    }  # fmt: skip
    assert "unknown" in found[2]["error"]["message"]


@pytest.mark.parametrize("head", [b"id: 1\n\n", b"id\ndata: x\n\n", b": c\nid: 9\ndata:\n\n"])
def test_where_the_client_can_resume_nothing_is_said(head: bytes) -> None:
    client = Client(1)
    assert client.receives(head, b"data: {half", cut=True) == head
    assert client.failures == ["upstream_cut"], "though the log and the metrics know"


def test_where_nothing_is_open_nothing_is_said() -> None:
    assert Client(1).messages(sse(result(1)), cut=True) == [result(1)]
    assert Client(listens=True).messages(sse(NOTE), cut=True) == [NOTE]


LONG = sse(result(1, content="x" * (3 << 20)))


def test_an_event_of_any_length_passes_where_no_listing_is_expected() -> None:
    client = Client(1)
    pieces = [LONG[n : n + 65_536] for n in range(0, len(LONG), 65_536)]
    assert client.receives(*pieces) == LONG
    assert client.receives(LONG[:-1]) == LONG[:-1]


def test_after_a_long_event_foreign_ids_are_dropped_as_before() -> None:
    client = Client(1)
    pieces = [LONG[:2_000_000], LONG[2_000_000:] + sse(result(2), NOTE)]
    assert client.receives(*pieces) == LONG + sse(NOTE)
    assert client.dropped == 1


def test_a_stream_that_dies_after_part_of_a_long_event_is_seen_to_be_cut() -> None:
    with pytest.raises(ReplyCut):
        Client(1).receives(LONG[:2_000_000], cut=True)
    with pytest.raises(ReplyCut):  # whether this was the answer was not read
        Client(1).receives(LONG[:2_000_000], LONG[2_000_000:], cut=True)
    resumable = b"id: 1\n" + LONG[:2_000_000]
    assert Client(1).receives(resumable, cut=True).startswith(b"id: 1\n")


def test_a_line_of_a_long_events_data_is_no_event_id() -> None:
    pieces = [b"data: " + b"x" * (2 << 20) + b"id:", b" 1\n" + b"y" * (2 << 20)]
    with pytest.raises(ReplyCut):
        Client(1).receives(*pieces, cut=True)


def test_a_listing_that_is_too_long_becomes_an_error() -> None:
    stream = sse(tools(1, *["a"] * 100))
    for pieces in ([stream], [stream[n : n + 7] for n in range(0, len(stream), 7)]):
        client = Client(1, listing=True, limit=500)
        (told,) = client.messages(*pieces)
        assert (told["id"], told["error"]["code"]) == (1, BAD_REPLY)
        assert client.failures == ["limit_listing_reply_bytes"]


def test_a_whole_listing_is_filtered() -> None:
    client = Client(1, listing=True)
    assert json.loads(listing(json.dumps(tools(1, "a", "hidden")).encode(), client.expected)) == (
        tools(1, "a")
    )
    body = b' {"id":1,"result":{"tools":[]}}\n'
    assert listing(body, client.expected) == body


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"1", b"{}{}", b'{"id":1,"result":{"tools":[]}} {}', b"\xff"]
)
def test_a_whole_listing_that_is_none_becomes_an_error_to_the_request(body: bytes) -> None:
    client = Client(1, listing=True)
    told = json.loads(listing(body, client.expected))
    assert (told["id"], told["error"]["code"]) == (1, BAD_REPLY)
    assert client.failures == ["listing_unreadable"]


@pytest.mark.parametrize("id", [2, "2", 1.0, True])
def test_a_whole_listing_to_another_id_is_dropped_and_the_request_told(id: Any) -> None:
    client = Client(1, listing=True)
    told = json.loads(listing(json.dumps(tools(id, "a")).encode(), client.expected))
    assert (told["id"], told["error"]["code"], client.dropped) == (1, BAD_REPLY, 1)


def test_in_a_batch_only_the_member_that_cannot_be_understood_becomes_an_error() -> None:
    call, bad = b'{"id":1, "result":{"content":[]}}', b'{"id":2,"result":{"tools":1}}'
    body = b"[" + call + b"," + bad + b"," + json.dumps(tools(3, "hidden", "a")).encode() + b"]"
    out = listing(body, Client(1, 2, 3, listing=True).expected)
    assert call in out
    one, two, three = json.loads(out)
    assert one["result"] == {"content": []}
    assert (two["id"], two["error"]["code"]) == (2, BAD_REPLY)
    assert three == tools(3, "a")


def test_a_batch_of_which_nothing_can_be_understood_is_an_error_to_each_request() -> None:
    told = json.loads(listing(b"[{", Client(1, "x", listing=True).expected))
    assert {message["id"] for message in told} == {1, "x"}


def test_an_error_to_every_request_is_not_repeated_when_the_stream_dies() -> None:
    found = Client(1, listing=True).messages(b"data: {]\n\n", cut=True)
    assert [message["error"]["code"] for message in found] == [BAD_REPLY]


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            sse(tools(1, "hidden")), sse(tools(1, "a", "hidden", "b"), end=b"\r\n\r\n"),
            sse(result(1)), sse(tools(2, "hidden")), sse([tools(1, "hidden"), NOTE]), sse(NOTE),
            b"data: {}\n\n", b"\n", b"\r", b"\xef\xbb\xbf", b"data: ", b": c\n", b"id: 1\n",
            b'data: {"id":1,"result":{"tools":[{"name":"hid\\u0064en"}]}}\n\n',
            b'{"id":1,"result":{"tools":[{"name":"hidden"}]}}\n\n', b"x",
        ]
    ),
    max_size=6,
).map(b"".join)  # fmt: skip


@settings(max_examples=200)
@given(FRAGMENTS, st.integers(1, 80), st.booleans(), st.booleans())
def test_no_stream_however_cut_shows_a_hidden_tool(
    stream: bytes, size: int, listens: bool, cut: bool
) -> None:
    client = Client(listens=True) if listens else Client(1, listing=True)
    pieces = [stream[n : n + size] for n in range(0, len(stream), size)]
    for data in datas(client.receives(*pieces, cut=cut)):
        try:
            read = json.loads(data)
        except ValueError:
            continue
        for message in read if isinstance(read, list) else [read]:
            found = message.get("result", {}) if isinstance(message, dict) else {}
            assert "hidden" not in [tool["name"] for tool in found.get("tools", [])]
    assert all(not name.startswith("hidden") for name in client.learnt)


def test_what_cannot_be_understood_of_a_replay_is_told_to_nobody_in_particular() -> None:
    assert json.loads(reply_filter.unreadable("x", None))["id"] is None
    assert json.loads(reply_filter.unreadable("x", [None]))["id"] is None
    assert json.loads(reply_filter.unreadable("x", [None, 3]))["id"] == 3
