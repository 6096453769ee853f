"""A body is one reading or one refusal."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.policy import MODERN, body, call, read, request
from thoughtgate_proxy.core.config.values import Kind
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.message import (
    MAX_ID,
    Batch,
    Malformed,
    Notification,
    Request,
    Response,
    Target,
)
from thoughtgate_proxy.core.protocol.methods import GATED, KNOWN, NOTIFICATIONS, UNGATED

VERSION = message.PROTOCOL_VERSION


def refused(sent: bytes | dict[str, Any] | list[Any]) -> Malformed:
    with pytest.raises(Malformed) as told:
        read(sent if isinstance(sent, bytes) else json.dumps(sent).encode())
    assert "\n" not in told.value.reason
    assert told.value.reason.isascii() or "±" in told.value.reason
    return told.value


def tool(**more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "t", **more}}


@pytest.mark.parametrize(
    ("method", "params", "targets"),
    [
        ("tools/call", {"name": "delete_db"}, [(Kind.TOOL, "delete_db")]),
        ("tools/call", {"name": "t", "task": {"ttl": 1}}, [(Kind.TOOL, "t")]),
        ("prompts/get", {"name": "p", "arguments": {"a": "b"}}, [(Kind.PROMPT, "p")]),
        ("resources/read", {"uri": "file:///x"}, [(Kind.RESOURCE, "file:///x")]),
        ("resources/subscribe", {"uri": "file:///x"}, [(Kind.RESOURCE, "file:///x")]),
        (
            "subscriptions/listen",
            {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["a:b", "c:d"]}},
            [(Kind.RESOURCE, "a:b"), (Kind.RESOURCE, "c:d")],
        ),
        ("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, []),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": []}}, []),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}}, [(Kind.PROMPT, "p")]),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": "f:///{a}"}, "argument": {"name": "a"}},
            [(Kind.RESOURCE, "f:///{a}")],
        ),
    ],
)
def test_a_gated_request_says_what_it_reaches_for(
    method: str, params: dict[str, Any], targets: list[tuple[Kind, str]]
) -> None:
    assert request(method, params).targets == tuple(Target(*target) for target in targets)


@pytest.mark.parametrize("method", sorted(GATED))
def test_no_gated_method_is_read_without_its_target(method: str) -> None:
    if method == "subscriptions/listen":
        return  # which may ask for nothing that has a name
    nothing: tuple[Any, ...] = (None, {}, {"_meta": {}}, {"name": None, "uri": None, "ref": None})
    for params in nothing:
        assert refused(body(method, params)).code == message.INVALID_PARAMS


def test_a_modern_client_hears_that_its_revision_has_no_resources_subscribe() -> None:
    told = refused(body("resources/subscribe", MODERN))
    assert (told.code, told.status) == (message.METHOD_NOT_FOUND, 404)
    told = refused(body("resources/subscribe", {**MODERN, "uri": ""}))
    assert (told.code, told.status) == (message.INVALID_PARAMS, 400)


@pytest.mark.parametrize("method", sorted(GATED))
@pytest.mark.parametrize("value", ["", 1, True, None, [], ["t"], {}, {"name": "t"}])
def test_a_target_is_named_by_a_text(method: str, value: Any) -> None:
    params: dict[str, Any] = {
        "name": value,
        "uri": value,
        "ref": {"type": "ref/prompt", "name": value},
        "notifications": {"resourceSubscriptions": [value]},
    }
    assert refused(body(method, params)).code == message.INVALID_PARAMS


@pytest.mark.parametrize(
    "name",
    ["a\0", "a\nb", "a\x7f", "a\x85b", "a\u2028b", " a", "a ", "a\u3000", "\u00a0a", "a\tb"],
)
def test_no_name_holds_what_a_server_could_cut_off(name: str) -> None:
    assert refused(body("tools/call", {"name": name})).code == message.INVALID_PARAMS
    assert refused(body("resources/read", {"uri": name})).code == message.INVALID_PARAMS


def test_names_and_uris_have_a_longest_length_and_subscriptions_a_greatest_number() -> None:
    call("n" * 1024)
    refused(body("tools/call", {"name": "n" * 1025}))
    refused(body("completion/complete", {"ref": {"type": "ref/prompt", "name": "n" * 1025}}))
    request("resources/read", {"uri": "u:" + "n" * 8190})
    refused(body("resources/read", {"uri": "u:" + "n" * 8191}))
    uris = {"resourceSubscriptions": ["u:x"] * 1000}
    assert len(request("subscriptions/listen", {"notifications": uris}).targets) == 1000
    uris["resourceSubscriptions"].append("u:x")
    refused(body("subscriptions/listen", {"notifications": uris}))


@pytest.mark.parametrize(
    "params",
    [
        {"ref": {"type": "ref/tool", "name": "t"}},
        {"ref": {"type": "REF/PROMPT", "name": "t"}},
        {"ref": {"name": "t"}},
        {"ref": "t"},
        {"ref": {"type": "ref/prompt", "name": "a", "Name": "b"}},
        {"ref": {"type": "ref/prompt", "name": "a", "URI": "b"}},
        {"ref": {"type": "ref/resource", "name": "a"}},
    ],
)
def test_a_completion_refers_to_one_thing(params: dict[str, Any]) -> None:
    refused(body("completion/complete", params))


@pytest.mark.parametrize(
    "wanted",
    [
        [], "x", 1,
        {"resourceSubscriptions": "file:///x"},
        {"resourceSubscriptions": {"a": 1}},
        {"resourceSubscriptions": ["a:b", 1]},
        {"resourceSubscriptions": ["a:b", ["c:d"]]},
        {"ResourceSubscriptions": ["a:b"]},
        # What a model in Python calls the same field, and takes as well.
        {"resource_subscriptions": ["a:b"]},
        {"resourceSubscriptions": [], "resource_subscriptions": ["a:b"]},
    ],
)  # fmt: skip
def test_a_subscription_hides_no_uri(wanted: Any) -> None:
    refused(body("subscriptions/listen", {"notifications": wanted}))


@pytest.mark.parametrize(
    "message_",
    [
        {**tool(), "Method": "ping"},
        {**tool(), "METHOD": "tools/list"},
        {**tool(), "ｍethod": "ping"},
        {**tool(), "me\u200bthod": "ping"},
        {**tool(), "Params": {"name": "other"}},
        {**tool(), "param\u017f": {"name": "other"}},
        {**tool(), "ID": 2},
        {**tool(), "\u0131d": 2},
        {**tool(), "JSONRPC": "2.0"},
        {**tool(), "Result": {}},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "Method": "tools/call"},
        tool(Name="other"),
        tool(NAME="other"),
        tool(nаme="a Cyrillic letter is another letter", Name="x"),
        tool(**{"na\u00adme": "other"}),
        tool(Arguments={}),
        tool(_Meta={}),
        tool(_META={}),
        tool(meta={}),
        tool(URI="x"),
        tool(task_id="x"),
        tool(request_state="x"),
        tool(_meta={"io.modelcontextprotocol/ProtocolVersion": "x"}),
        tool(_meta={VERSION: "2026-07-28", VERSION.upper(): "2025-11-25"}),
        tool(_meta={"ProgressToken": 1}),
        tool(_meta={"TraceParent": "x"}),
    ],
)
def test_a_key_that_looks_like_a_known_one_is_refused(message_: dict[str, Any]) -> None:
    assert refused(message_).code == message.INVALID_REQUEST


@pytest.mark.parametrize("method", ["tools/call", "prompts/get"])
def test_argument_keys_that_look_alike_are_the_tools_own_business(method: str) -> None:
    arguments = {"HTTP_PROXY": 1, "http_proxy": 2, "env": {"README.md": 1, "readme.md": 2}}
    asked = read(body(method, {"name": "t", "arguments": arguments}))
    assert isinstance(asked, Request)
    assert asked.params["arguments"] == arguments


def test_uris_that_take_long_to_read_are_bounded_together() -> None:
    def listening(uris: list[str]) -> bytes:
        return body("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}})

    assert isinstance(read(listening(["docs://a/" + "b" * 8000] * 20)), Request)
    assert isinstance(read(listening(["docs://a/%20"] * 600)), Request)
    assert "characters together" in refused(listening(["docs://a/%20" + "b" * 2000] * 5)).reason
    one = json.loads(body("resources/read", {"uri": "docs://a/%20" + "b" * 2000}))
    batch = [{**one, "id": n} for n in range(5)]
    assert "characters together" in refused(batch).reason


def test_more_keys_and_values_than_allowed_are_refused_with_their_limit() -> None:
    few = body("tools/call", {"name": "t", "arguments": {"a": [0] * 9980}})
    assert isinstance(read(few), Request)
    with pytest.raises(Malformed) as said:
        read(body("tools/call", {"name": "t", "arguments": {"a": [0] * 9999}}))
    assert (said.value.code, said.value.limit) == (message.PARSE_ERROR, "json_values")
    assert said.value.reason == "more than 10000 keys and values"


@pytest.mark.parametrize("arguments", [[], "x", 1, True, 0, False, "", [["a", 1]]])
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "t"}),
        ("prompts/get", {"name": "t"}),
        ("resources/read", {"uri": "a:b"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}}),
        ("subscriptions/listen", {}),
    ],
)
def test_arguments_are_a_record_wherever_they_stand(
    method: str, params: dict[str, Any], arguments: Any
) -> None:
    assert refused(body(method, {**params, "arguments": arguments})).code == message.INVALID_PARAMS


def test_a_key_of_the_arguments_may_be_called_like_anything_known() -> None:
    asked = call("t", {"Name": 1, "METHOD": 2, "_Meta": 3, "params": {"ID": 4}})
    assert asked.params["arguments"]["Name"] == 1


@pytest.mark.parametrize("method", sorted(GATED))
def test_a_gated_method_without_an_id_is_refused(method: str) -> None:
    params = {"name": "t", "uri": "a:b", "ref": {"type": "ref/prompt", "name": "p"}}
    sent = json.loads(body(method, params))
    del sent["id"]
    refused(sent)
    refused({**sent, "id": None})
    refused([sent])


@pytest.mark.parametrize("method", sorted(NOTIFICATIONS))
def test_a_notification_with_an_id_is_refused(method: str) -> None:
    assert refused(body(method)).id == 1


@pytest.mark.parametrize(
    "id",
    [None, True, False, 1.0, 1.5, [], {}, [1], MAX_ID + 1, -MAX_ID - 1, 2**64],
)
def test_an_id_is_a_text_or_a_whole_number_that_every_server_can_repeat(id: Any) -> None:
    refused(body("ping", id=id))
    refused({"jsonrpc": "2.0", "id": id, "result": {}})


@pytest.mark.parametrize("id", ["", "x", "1", 0, -1, MAX_ID, -MAX_ID])
def test_an_id_is_kept_as_it_is(id: Any) -> None:
    asked = read(body("ping", id=id))
    assert isinstance(asked, Request)
    assert (asked.id, type(asked.id)) == (id, type(id))


@pytest.mark.parametrize(
    "sent",
    [
        b"1", b'"x"', b"null", b"true", b"[1]", b"[null]", b"[[]]", b"{}",
        b'{"jsonrpc":"2.0"}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","error":null}',
        b'{"jsonrpc":"2.0","result":{}}',
        b'{"jsonrpc":"2.0","id":null,"result":{}}',
        b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
        b'{"jsonrpc":2.0,"id":1,"method":"ping"}',
        b'{"id":1,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":null}',
        b'{"jsonrpc":"2.0","id":1,"method":["tools/call"]}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":[]}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"%s":1}}}' % VERSION.encode(),
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(sent: bytes) -> None:
    assert refused(sent).code == message.INVALID_REQUEST


def test_what_is_no_json_is_refused_as_the_specification_has_it() -> None:
    assert refused(b"{").code == message.PARSE_ERROR
    assert refused(b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}').code == -32700


def test_the_answers_of_a_client_are_read_and_an_error_needs_no_id() -> None:
    assert read(b'{"jsonrpc":"2.0","id":"a","result":{}}') == Response("a")
    assert read(b'{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":""}}') == Response(3)
    assert read(b'{"jsonrpc":"2.0","error":{"code":1,"message":""}}') == Response(None)
    assert read(b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}') == Response(None)


def test_a_request_says_in_itself_whether_it_is_modern() -> None:
    assert request("tools/list", MODERN).modern
    assert not request("tools/list", {"_meta": {"progressToken": 1}}).modern
    assert not request("tools/list").modern


def test_a_batch_keeps_the_bytes_of_its_members() -> None:
    first = (
        b'{"jsonrpc": "2.0",  "id":1,"method":"tools/call","params":{"name":"t","arguments":'
        b'{"n":1E2,"big":9007199254740993, "s":"\\u0061"}}}'
    )
    second = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    third = b'{"jsonrpc":"2.0","id":"1","result":{}}'
    batch = read(b" [\n" + first + b" , " + second + b"," + third + b"]\n")
    assert isinstance(batch, Batch)
    assert [raw for _, raw in batch.members] == [first, second, third]
    assert [type(member) for member, _ in batch.members] == [Request, Notification, Response]


def test_a_batch_has_members_and_not_too_many_and_no_id_twice() -> None:
    assert "empty" in refused(b"[]").reason
    ping = json.loads(body("ping"))
    assert "same id" in refused([ping, ping]).reason
    as_text = {**ping, "id": str(ping["id"])}
    assert "same id" in refused([ping, as_text]).reason
    assert isinstance(read(json.dumps([ping, {**ping, "id": "2"}]).encode()), Batch)
    many = [{**ping, "id": n} for n in range(101)]
    assert "101" in refused(many).reason
    assert isinstance(read(json.dumps(many[:100]).encode()), Batch)


def test_one_bad_member_refuses_the_whole_batch() -> None:
    refused([json.loads(body("ping")), {**tool(), "Method": "ping"}])
    refused([json.loads(body("ping")), [json.loads(body("tools/call", {"name": "t"}, id=2))]])


def test_every_method_is_in_one_table() -> None:
    tables = (frozenset(GATED), UNGATED, NOTIFICATIONS)
    assert sum(map(len, tables)) == len(KNOWN)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "Name", "uri", "arguments", "_meta", "ref", "type", "x"]),
            inner,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=120)
@given(
    st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "Method"]),
        st.sampled_from(["2.0", *sorted(GATED), "ping"]) | JSON_VALUES,
    )
)
def test_whatever_names_a_gated_method_is_gated_or_refused(sent: dict[str, Any]) -> None:
    try:
        found = read(json.dumps({"jsonrpc": "2.0", **sent}).encode())
    except Malformed:
        return
    if any(
        value in GATED for key, value in sent.items() if isinstance(value, str) and "eth" in key
    ):
        assert isinstance(found, Request)
        assert found.targets or found.method == "subscriptions/listen"
