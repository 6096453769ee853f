"""Headers pass, stop, or make a request refused; none tells another story than the body."""

# ruff: noqa: E501  a table is read row by row

import base64

import pytest

from tests.harness.policy import MODERN, request
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.http import HttpRefused, HttpRequest
from thoughtgate_proxy.core.protocol.message import Notification, Request

HOST = ("host", "localhost:7467")


def sent(*pairs: tuple[str, str]) -> HttpRequest:
    return HttpRequest("POST", "/mcp", list(pairs))


def check(*pairs: tuple[str, str], loopback_only: bool = True) -> None:
    given = list(pairs) if any(name == "host" for name, _ in pairs) else [HOST, *pairs]
    headers.check(sent(*given), loopback_only=loopback_only)


def refused(*pairs: tuple[str, str], loopback_only: bool = True) -> int:
    with pytest.raises(HttpRefused) as told:
        check(*pairs, loopback_only=loopback_only)
    return told.value.status


@pytest.mark.parametrize(
    "name",
    ["mcp-method", "mcp-name", "mcp-session-id", "mcp-protocol-version", "mcp-param-x",
     "authorization", "content-type", "content-encoding", "last-event-id", "origin"],
)  # fmt: skip
def test_a_header_that_decides_something_stands_once(name: str) -> None:
    value = "http://localhost" if name == "origin" else "x"
    check((name, value))
    assert refused((name, value), (name, value)) == 400
    assert refused((name, value), ("x-other", "y"), (name, "z")) == 400


@pytest.mark.parametrize("name", ["cookie", "accept", "x-custom", "accept-language", "traceparent"])
def test_any_other_header_may_stand_twice(name: str) -> None:
    check((name, "a"), (name, "b"))


@pytest.mark.parametrize(
    "name",
    ["mcp_name", "mcp_session_id", "mcp-param_x", "content_type", "content_length", "last_event_id",
     "x_http_method_override", "x_forwarded_for", "transfer_encoding", "proxy_authorization",
     "x-original_url"],
)  # fmt: skip
def test_an_underscore_makes_no_second_spelling_of_a_header(name: str) -> None:
    assert refused((name, "x")) == 400


def test_an_underscore_in_any_other_header_does_no_harm() -> None:
    check(("x_request_id", "1"), ("api_key", "2"))


@pytest.mark.parametrize(
    "value",
    ["mcp-name", "close, Mcp-Method", "keep-alive,MCP-SESSION-ID", "Authorization", "content-type",
     "close ,\tcontent-length ", "accept", "Host", "last-event-id"],
)  # fmt: skip
def test_connection_cannot_take_away_what_the_server_must_see(value: str) -> None:
    assert refused(("connection", value)) == 400
    assert refused(("connection", "close"), ("connection", value)) == 400


@pytest.mark.parametrize("value", ["close", "keep-alive", "Keep-Alive, X-Hop", ""])
def test_connection_may_name_other_headers(value: str) -> None:
    check(("connection", value))


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:7467", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:7467", "[::1]:7467"],
)
def test_this_pods_own_names_are_its_hosts(host: str) -> None:
    check(("host", host))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.example:7467", "127.0.0.1.evil.example", "",
     "127.0.0.2", "localhost:", "localhost:x", "localhost@evil", "localhost:1@evil", "::1",
     "localhost\n", "127.0.0.1:123456", "0.0.0.0:7467", "127.1"],
)  # fmt: skip
def test_any_other_host_is_dns_rebinding(host: str) -> None:
    assert refused(("host", host)) == 403
    if host:
        check(("host", host), loopback_only=False)


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://evil.example", "https://evil.example:7467", "file://localhost",
     "http://localhost.evil.example", "http://localhost/", "http://localhost:7467/x", "localhost",
     "http://localhost, http://evil.example", "chrome-extension://localhost", "http://user@localhost"],
)  # fmt: skip
def test_a_page_from_elsewhere_is_refused(origin: str) -> None:
    assert refused(("origin", origin)) == 403


@pytest.mark.parametrize("origin", ["http://localhost:6274", "https://localhost", "http://[::1]:1"])
def test_a_page_of_this_pod_is_not(origin: str) -> None:
    check(("origin", origin))


def test_beyond_loopback_an_origin_must_be_the_host_itself() -> None:
    host = ("host", "gate.example:7467")
    check(host, ("origin", "https://gate.example:7467"), loopback_only=False)
    assert refused(host, ("origin", "http://localhost:7467"), loopback_only=False) == 403


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", "application/json; charset=utf-8",
     'application/json;charset="UTF-8"', " application/json "],
)  # fmt: skip
def test_a_body_is_json_in_utf_8(kind: str) -> None:
    headers.check_json(sent(("content-type", kind)))


@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "application/json; charset=utf-16", "application/json; charset=latin-1",
     "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx",
     "application/json, text/plain", "application/json; charset=utf-8; charset=utf-16",
     "application/vnd.api+json", "application/json; x=y"],
)  # fmt: skip
def test_any_other_content_type_is_refused(kind: str | None) -> None:
    pairs = [("content-type", kind)] if kind is not None else []
    with pytest.raises(HttpRefused) as told:
        headers.check_json(sent(*pairs))
    assert told.value.status == 415


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x-gzip", ""])
def test_a_body_that_must_be_decoded_is_refused(encoding: str) -> None:
    pairs = [("content-type", "application/json"), ("content-encoding", encoding)]
    with pytest.raises(HttpRefused) as told:
        headers.check_json(sent(*pairs))
    assert told.value.status == 415
    headers.check_json(sent(pairs[0], ("content-encoding", "Identity")))


def encoded(text: bytes) -> str:
    return f"=?base64?{base64.b64encode(text).decode()}?="


CALL = request("tools/call", {"name": "delete_db", **MODERN})
NAMED = {
    "a tool": (CALL, "delete_db"),
    "a prompt": (request("prompts/get", {"name": "p"}), "p"),
    "a resource": (request("resources/read", {"uri": "a:b"}), "a:b"),
    "a task": (request("tasks/get", {"taskId": "42"}), "42"),
    "a name beyond ASCII": (request("tools/call", {"name": "lösche"}), encoded("lösche".encode())),
    "a name in disguise": (
        request("tools/call", {"name": "=?base64?eA==?="}), encoded(b"=?base64?eA==?="),
    ),
    "a name in needless base64": (CALL, encoded(b"delete_db")),
}  # fmt: skip


@pytest.mark.parametrize(("message", "name"), NAMED.values(), ids=NAMED.keys())
def test_headers_that_agree_with_the_body_pass(message: Request, name: str) -> None:
    given = sent(("mcp-method", message.method), ("mcp-name", name))
    assert headers.mismatch(given, message) is None


@pytest.mark.parametrize(
    "name",
    ["get_user", "Delete_db", "delete_db ", "", encoded(b"get_user"), "=?base64?????=",
     "=?base64?ZGVsZXRlX2Ri", "=?BASE64?ZGVsZXRlX2Ri?=", "=?base64?ZGVsZXRlX2Ri=?=",
     "=?base64?\xff\xff\xff\xff?=", encoded(b"\xff"), "=?base64?ZGVs ZXRlX2Ri?=", "=?base64??="],
)  # fmt: skip
def test_a_name_that_differs_from_the_body_is_told(name: str) -> None:
    assert "Mcp-Name" in str(headers.mismatch(sent(("mcp-name", name)), CALL))


@pytest.mark.parametrize("name", ["=?base64?eA==?=", "=?base64?x?=", "=?base64?!?="])
def test_a_name_that_looks_encoded_is_read_as_encoded(name: str) -> None:
    asked = request("tools/call", {"name": name})
    assert headers.mismatch(sent(("mcp-name", name)), asked) is not None


@pytest.mark.parametrize("method", ["tools/list", "Tools/call", "tools/call ", "", "ping"])
def test_a_method_that_differs_from_the_body_is_told(method: str) -> None:
    assert "Mcp-Method" in str(headers.mismatch(sent(("mcp-method", method)), CALL))


def test_a_notification_can_be_contradicted_as_well() -> None:
    note = Notification("notifications/progress", {"name": "delete_db", "arguments": {}})
    assert headers.mismatch(sent(("mcp-method", "tools/call")), note) is not None
    assert headers.mismatch(sent(("mcp-method", "notifications/progress")), note) is None


def test_a_name_says_nothing_of_a_message_that_has_none() -> None:
    assert headers.mismatch(sent(("mcp-name", "x")), request("tools/list")) is None


def test_a_version_that_differs_from_the_body_is_told() -> None:
    assert headers.mismatch(sent(("mcp-protocol-version", "2026-07-28")), CALL) is None
    assert headers.mismatch(sent(("mcp-protocol-version", "2025-11-25")), CALL) is not None
    assert headers.mismatch(sent(), CALL) is None
    legacy = request("tools/list")
    assert headers.mismatch(sent(("mcp-protocol-version", "2025-11-25")), legacy) is None


def test_what_is_between_two_hops_stops_here() -> None:
    stopped = [
        "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect",
        "proxy-authorization", "proxy-connection", "proxy-anything", "forwarded", "x-forwarded-for",
        "x-forwarded-host", "via", "x-http-method-override", "x-original-url", "host", "origin",
        "content-length", "accept-encoding", "content-encoding", "http2-settings", "x-hop",
    ]  # fmt: skip
    given = [(name, "x-hop" if name == "connection" else "x") for name in stopped]
    assert headers.upstream(sent(*given)) == [("accept-encoding", "identity")]


def test_what_the_server_must_see_passes_in_its_order() -> None:
    passed = [
        ("authorization", "Bearer x"), ("mcp-session-id", "s"), ("mcp-method", "tools/call"),
        ("mcp-name", "t"), ("mcp-param-region", "eu"), ("mcp-protocol-version", "2026-07-28"),
        ("accept", "application/json, text/event-stream"), ("content-type", "application/json"),
        ("cookie", "a=1"), ("cookie", "b=2"), ("traceparent", "00-x"), ("last-event-id", "9"),
    ]  # fmt: skip
    assert headers.upstream(sent(*passed)) == [*passed, ("accept-encoding", "identity")]


def test_a_reply_keeps_its_headers_but_those_between_two_hops() -> None:
    given = [
        ("content-type", "application/json"), ("content-length", "5"), ("connection", "x-hop"),
        ("x-hop", "1"), ("keep-alive", "timeout=5"), ("mcp-session-id", "s"),
        ("www-authenticate", "Bearer"), ("set-cookie", "a"), ("set-cookie", "b"),
        ("transfer-encoding", "chunked"),
        ("proxy-authenticate", "Basic"),
    ]  # fmt: skip
    kept = [given[0], given[1], *given[5:9], given[10]]
    assert headers.downstream(given, same_body=True) == kept
    assert headers.downstream(given, same_body=False) == [kept[0], *kept[2:]]


@pytest.mark.parametrize(
    ("accept", "accepts"),
    [("text/event-stream", True), ("application/json, TEXT/Event-Stream;q=0.5", True),
     ("application/json", False), ("*/*", False), ("text/event-streams", False), ("", False)],
)  # fmt: skip
def test_a_client_says_that_it_takes_events(accept: str, accepts: bool) -> None:
    assert headers.accepts_events(sent(("accept", accept))) is accepts
    assert not headers.accepts_events(sent())
    assert headers.accepts_events(sent(("accept", accept), ("accept", "text/event-stream")))


def test_a_refusal_that_is_remembered_keeps_no_request() -> None:
    heads = headers.Heads(loopback_only=True)
    request = HttpRequest("POST", "/", [("host", "evil.example")], b"x")
    head = heads.of(request)
    assert head.refused is not None
    assert head.refused.__traceback__ is None
    assert head.not_json is not None
    assert head.not_json.__traceback__ is None


def test_a_long_block_is_not_remembered_whatever_of_it_goes_on() -> None:
    heads = headers.Heads(loopback_only=True)
    for name in ("x-kept", "proxy-dropped"):
        request = HttpRequest("POST", "/", [("host", "localhost"), (name, "a" * 5000)])
        assert heads.of(request) is not heads.of(request)
    request = HttpRequest("POST", "/", [("host", "localhost")])
    assert heads.of(request) is heads.of(request)
