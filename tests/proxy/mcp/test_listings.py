"""Hidden tools leave a listing, and nothing else in it changes."""

# ruff: noqa: E501  a table is read row by row

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thoughtgate_proxy.mcp.listings import UnreadableListing, filtered, members, response_ids


def shown(name: str) -> bool:
    return not name.startswith("hidden")


def cut(body: bytes | dict[str, Any]) -> tuple[bytes, list[str]]:
    learnt: list[str] = []
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return filtered(text, shown, learnt.append, lambda _: None), learnt


def listing(*names: Any, **more: Any) -> dict[str, Any]:
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    return {"jsonrpc": "2.0", "id": 1, "result": {"tools": tools, **more}}


def test_hidden_tools_are_absent_and_the_rest_keeps_its_order_and_bytes() -> None:
    body = (
        b'{ "jsonrpc":"2.0", "result":{"nextCursor":"c\\u0061=", "tools":[\n'
        b'{"name":"b","n":1E2,"x":0.1000000000000000055}, {"name":"hidden_1"},\n'
        b'{"name" : "a", "big":9007199254740993},{"name":"hidden"}],"ttlMs":5}, "id":1.0e0 }'
    )
    out, learnt = cut(body)
    assert learnt == ["b", "a"]
    assert (
        b'[{"name":"b","n":1E2,"x":0.1000000000000000055},{"name" : "a", "big":9007199254740993}]'
        in out
    )
    assert b'"nextCursor":"c\\u0061="' in out
    assert b'"id":1.0e0' in out
    assert b"hidden" not in out
    assert list(json.loads(out)) == ["jsonrpc", "result", "id"]
    assert list(json.loads(out)["result"]) == ["nextCursor", "tools", "ttlMs"]


def test_a_listing_without_hidden_tools_keeps_every_byte() -> None:
    body = b' {"id" :1,\n"result": {"tools": [ {"name":"a"} ], "x":1E5}} '
    assert cut(body) == (body, ["a"])


def test_a_page_of_nothing_but_hidden_tools_is_an_empty_page_with_its_cursor() -> None:
    out, learnt = cut(listing("hidden", nextCursor="n"))
    assert json.loads(out)["result"] == {"tools": [], "nextCursor": "n"}
    assert learnt == []


@pytest.mark.parametrize(
    "body",
    [
        {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "tools"}},
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"tools": 1}},
        {"jsonrpc": "2.0", "id": 1, "result": {"resources": [{"name": "hidden"}]}},
        {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"tools": [{"name": "hidden"}]}]}},
        {"jsonrpc": "2.0", "id": 1, "result": None},
    ],
)
def test_what_lists_no_tools_stays_as_it_is(body: dict[str, Any]) -> None:
    assert cut(body) == (json.dumps(body).encode(), [])


UNREADABLE = {
    "two tools": b'{"id":1,"result":{"tools":[],"tools":[{"name":"hidden"}]}}',
    "two results": b'{"id":1,"result":{},"result":{"tools":[{"name":"hidden"}]}}',
    "two documents": b'{"id":1,"result":{"tools":[]}}{"id":1,"result":{"tools":[{"name":"hidden"}]}}',
    "a byte order mark": b'\xef\xbb\xbf{"id":1,"result":{"tools":[]}}',
    "UTF-16": '{"id":1,"result":{"tools":[]}}'.encode("utf-16"),
    "a batch": b'[{"id":1,"result":{"tools":[]}}]',
    "no JSON": b"<html>",
    "nothing": b"",
    "too deep": b'{"id":1,"result":' + b"[" * 200 + b"]" * 200 + b"}",
    "an exponent beyond reason": b'{"id":1,"result":{"tools":[],"x":0e9999999999999999999}}',
    "another tools": b'{"id":1,"result":{"Tools":[{"name":"hidden"}]}}',
    "a wide tools": '{"id":1,"result":{"ｔools":[{"name":"hidden"}]}}'.encode(),
    "another result": b'{"id":1,"Result":{"tools":[{"name":"hidden"}]}}',
    "tools that are no list": b'{"id":1,"result":{"tools":{"name":"hidden"}}}',
    "prompts that are no list": b'{"id":1,"result":{"prompts":{}}}',
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_listing_that_could_be_read_differently_is_not_shown(body: bytes) -> None:
    with pytest.raises(UnreadableListing) as refused:
        cut(body)
    assert "\n" not in str(refused.value)


TOOLS = st.lists(
    st.dictionaries(
        st.sampled_from(["title", "x", "annotations"]),
        st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    ).flatmap(
        lambda tool: st.sampled_from(["a", "hidden", "b c", "hidden_é", "ü"]).map(
            lambda name: {**tool, "name": name}
        )
    ),
    max_size=6,
)


@settings(max_examples=150)
@given(TOOLS, st.none() | st.text(max_size=4), st.booleans())
def test_a_listing_is_filtered_as_a_plain_filter_does(
    tools: list[dict[str, Any]], cursor: str | None, escaped: bool
) -> None:
    body = {"id": 1, "result": {"tools": tools, "nextCursor": cursor}}
    out, learnt = cut(json.dumps(body, ensure_ascii=escaped).encode())
    kept = [tool for tool in tools if shown(tool["name"])]
    assert json.loads(out) == {"id": 1, "result": {"tools": kept, "nextCursor": cursor}}
    assert learnt == [tool["name"] for tool in kept]
    raw = msgspec.json.decode(out)["result"]["tools"]
    assert [tool["name"] for tool in raw] == learnt


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        (b'{"id":1,"result":{}}', [1]),
        (b'{"id":"1","error":{}}', ["1"]),
        (b'[{"id":1,"result":{}},{"id":2,"error":{}},{"method":"x","id":9}]', [1, 2]),
        (b'{"id":null,"error":{}}', []),
        (b'{"error":{}}', []),
        (b'{"method":"sampling/createMessage","id":7}', []),
        (b'{"method":"x","id":7,"result":{}}', [7]),
        (b'{"id":1.0,"result":{}}', [None]),
        (b'{"id":true,"result":{}}', [None]),
        (b'{"id":[1],"result":{}}', [None]),
        (b'{"id":{"a":1},"result":{}}', [None]),
        (b'{"id":18446744073709551617,"result":{}}', [None]),
        (b"[]", []),
        (b"1", None),
        (b"[1]", None),
        (b"no", None),
        (b"", None),
    ],
)
def test_the_ids_that_a_reply_answers_are_told_apart_by_type(
    body: bytes, ids: list[Any] | None
) -> None:
    found = response_ids(body)
    assert found == ids
    assert list(map(type, found or ())) == list(map(type, ids or ()))


def test_the_members_of_a_reply_keep_their_bytes() -> None:
    assert members(b' [ {"id" : 1}, 2 ] ') == [b'{"id" : 1}', b"2"]
    assert members(b' {"id":1}') == [b' {"id":1}']
    assert members(b"[]") == members(b"1") == members(b"x") == []


ODD = {
    "two names": b'{"id":1,"result":{"tools":[{"name":"a","name":"hidden"}]}}',
    "two names, one escaped": b'{"id":1,"result":{"tools":[{"name":"a","n\\u0061me":"hidden"}]}}',
    "another name": b'{"id":1,"result":{"tools":[{"Name":"hidden"}]}}',
    "another name too": b'{"id":1,"result":{"tools":[{"name":"a","NAME":"hidden"}]}}',
    "a tool that is a text": b'{"id":1,"result":{"tools":["hidden"]}}',
    "a tool without a name": b'{"id":1,"result":{"tools":[{"title":"hidden"}]}}',
    "a name that is no text": b'{"id":1,"result":{"tools":[{"name":["hidden"]}]}}',
    "a name that is empty": b'{"id":1,"result":{"tools":[{"name":""}]}}',
    "a name with a line end": b'{"id":1,"result":{"tools":[{"name":"a\\nb"}]}}',
    "a name with what is unseen": '{"id":1,"result":{"tools":[{"name":"a\u200b"}]}}'.encode(),
    "a name written backwards": '{"id":1,"result":{"tools":[{"name":"\u202ea"}]}}'.encode(),
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD.keys())
def test_an_odd_tool_alone_is_left_out_and_told(body: bytes) -> None:
    told: list[str] = []
    good = b'{"name":"good","x":1E5}'
    whole = body.replace(b"]}}", b"," + good + b"]}}")
    out = filtered(whole, shown, lambda _: None, told.append)
    assert json.loads(out)["result"]["tools"] == [{"name": "good", "x": 1e5}]
    assert good in out
    assert "tools[0]" in told[0]


def test_tools_that_are_null_are_none() -> None:
    body = b'{"id":1,"result":{"tools":null}}'
    assert cut(body) == (body, [])
