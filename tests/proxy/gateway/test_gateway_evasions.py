"""Attempts to get a forbidden call past the gate, one row each."""

# ruff: noqa: E501  a table is read row by row

import gzip
from collections.abc import Iterator

import pytest

from tests.harness.evasion import BAD, GOOD, attempt, statuses
from tests.harness.mcp_server import FakeMcpServer, callable_names, dumps, polite
from tests.harness.proxy_process import Proxy, World, world
from tests.harness.wire import ask, call, post


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("gate")) as both:
        yield both


def raw(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(body: bytes, *lines: str) -> bytes:
    return raw("POST / HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines, body=body)  # fmt: skip


def deep(levels: int) -> bytes:
    return BAD.replace(
        b'"arguments": {}', b'"arguments": ' + b'{"a":' * levels + b"1" + b"}" * levels
    )


# Each body must be refused with that status, and nothing of it may be sent on.
BODIES = {
    "duplicate key name, forbidden first": (400, BAD.replace(b'"arguments"', b'"name":"get_user","arguments"')),
    "duplicate key name, forbidden last": (400, GOOD.replace(b'"arguments"', b'"name":"admin_reset","arguments"')),
    "duplicate key, written with an escape": (400, GOOD.replace(b'"arguments"', b'"n\\u0061me":"admin_reset","arguments"')),
    "duplicate method": (400, BAD.replace(b'"method"', b'"method":"ping","method"')),
    "duplicate params": (400, GOOD[:-1] + b',"params":{"name":"admin_reset"}}'),
    "duplicate key deep in the arguments": (400, GOOD.replace(b"{}", b'{"a":{"b":1,"b":2}}')),
    "look-alike Method": (400, GOOD[:-1] + b',"Method":"tools/call"}'),
    "look-alike Params": (400, GOOD[:-1] + b',"PARAMS":{"name":"admin_reset"}}'),
    "look-alike name, long s": (400, GOOD.replace(b'"arguments"', '"argumentſ":{},"arguments"'.encode())),
    "look-alike name, full width": (400, GOOD.replace(b'"arguments"', '"ｎame":"admin_reset","arguments"'.encode())),
    "look-alike name, zero width": (400, GOOD.replace(b'"arguments"', '"na\u200bme":"admin_reset","arguments"'.encode())),
    "UTF-16": (400, BAD.decode().encode("utf-16")),
    "UTF-16 without a mark": (400, BAD.decode().encode("utf-16-le")),
    "UTF-32": (400, BAD.decode().encode("utf-32")),
    "UTF-7": (400, BAD.decode().encode("utf-7").replace(b"{", b"+AHs-")),
    "a byte order mark": (400, b"\xef\xbb\xbf" + BAD),
    "overlong UTF-8": (400, GOOD.replace(b"get_user", b"get_us\xc1\xa5r")),
    "truncated UTF-8": (400, GOOD.replace(b"get_user", b"get_us\xe2\x82")),
    "a surrogate in UTF-8": (400, GOOD.replace(b"get_user", b"get_us\xed\xa0\x80")),
    "an escaped lone surrogate": (400, GOOD.replace(b"get_user", b"get\\ud800")),
    "two documents": (400, GOOD + BAD),
    "two documents on two lines": (400, GOOD + b"\n" + BAD),
    "a document and garbage": (400, GOOD + b"\x00" + BAD),
    "no document": (400, b""),
    "a comment": (400, b"/*" + GOOD + b"*/" + BAD),
    "NaN": (400, GOOD.replace(b"{}", b'{"a":NaN}')),
    "infinity by overflow": (400, GOOD.replace(b"{}", b'{"a":1e999}')),
    "an empty batch": (400, b"[]"),
    "a batch in a batch": (400, b"[[" + BAD + b"]]"),
    "a batch of a number": (400, b"[1]"),
    "two of a batch with one id": (400, b"[" + GOOD + b"," + GOOD + b"]"),
    "too many in a batch": (400, b"[" + b",".join([GOOD] * 101) + b"]"),
    "nested too deep": (400, deep(200)),
    "nested far too deep": (400, b"[" * 100_000),
    "a call without an id": (400, b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"get_user"}}'),
    "a call with a null id": (400, GOOD.replace(b'"id": 2', b'"id": null')),
    "an id with a fraction": (400, GOOD.replace(b'"id": 2', b'"id": 2.5')),
    "an id that no server repeats": (400, GOOD.replace(b'"id": 2', b'"id": 36893488147419103232')),
    "method and result": (400, GOOD[:-1] + b',"result":{}}'),
    "another JSON-RPC": (400, GOOD.replace(b'"2.0"', b'"1.0"')),
    "params as a list": (400, GOOD.replace(b'{"name": "get_user", "arguments": {}}', b'["admin_reset"]')),
    "a name that is a list": (400, GOOD.replace(b'"get_user"', b'["admin_reset"]')),
    "a name with NUL": (400, GOOD.replace(b"get_user", b"get_user\\u0000")),
    "a notification of a gated method": (400, b'{"jsonrpc":"2.0","method":"resources/read","params":{"uri":"file:///secret/x"}}'),
    "a notification of no revision": (400, b'{"jsonrpc":"2.0","method":"tools/call2"}'),
    "a known notification as a request": (400, b'{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}'),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_body_with_no_single_reading_is_refused(gate: World, name: str) -> None:
    status, body = BODIES[name]

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        (reply,) = await attempt(server, proxy, post(body))
        assert reply.status == status
        assert reply.json["error"]["message"]
        assert len(server.received) == 1, "only the fence"

    gate.run(test)


# Sent with a good call; nothing may reach the server.
LINES: dict[str, tuple[int, list[str]]] = {
    "no content type": (415, ["Content-Type:"]),
    "text": (415, ["Content-Type: text/plain"]),
    "JSON by suffix": (415, ["Content-Type: application/vnd.x+json"]),
    "UTF-16 by parameter": (415, ["Content-Type: application/json; charset=utf-16"]),
    "UTF-7 by parameter": (415, ["Content-Type: application/json; charset=utf-7"]),
    "two charsets": (415, ["Content-Type: application/json; charset=utf-8; charset=utf-16"]),
    "two types in one": (415, ["Content-Type: application/json, text/plain"]),
    "two types": (400, ["Content-Type: application/json", "Content-Type: text/plain"]),
    "form": (415, ["Content-Type: application/x-www-form-urlencoded"]),
    "gzip": (415, ["Content-Encoding: gzip"]),
    "two encodings": (400, ["Content-Encoding: identity", "Content-Encoding: gzip"]),
    "encodings in one": (415, ["Content-Encoding: identity, gzip"]),
    "no encoding": (415, ["Content-Encoding:"]),
    "method of another call": (400, ["Mcp-Method: ping"]),
    "name of another call": (400, ["Mcp-Name: admin_reset"]),
    "encoded name of another call": (400, ["Mcp-Name: =?base64?YWRtaW5fcmVzZXQ=?="]),
    "name in bad base64": (400, ["Mcp-Name: =?base64?YWRt!?="]),
    "two names": (400, ["Mcp-Name: get_user", "Mcp-Name: get_user"]),
    "underscore in a name": (400, ["Mcp_Name: admin_reset"]),
    "underscore in authorization": (400, ["Content_Type: text/plain"]),
    "two authorizations": (400, ["Authorization: Bearer a", "Authorization: Bearer b"]),
    "two sessions": (400, ["Mcp-Session-Id: a", "Mcp-Session-Id: b"]),
    "connection names a session": (400, ["Mcp-Session-Id: a", "Connection: close, Mcp-Session-Id"]),
    "connection names a name": (400, ["Mcp-Name: get_user", "Connection: mcp-name"]),
    "connection names authorization": (400, ["Authorization: Bearer a", "Connection: AUTHORIZATION"]),
    "connection names the type": (400, ["Connection: content-type"]),
    "connection names the length": (400, ["Connection: content-length"]),
    "a host from elsewhere": (403, ["Host: evil.example"]),
    "a host that begins well": (403, ["Host: localhost.evil.example"]),
    "a host with a user": (403, ["Host: localhost@evil.example"]),
    "an origin from elsewhere": (403, ["Origin: http://evil.example"]),
    "no origin": (403, ["Origin: null"]),
    "an origin that begins well": (403, ["Origin: http://localhost.evil.example"]),
    "an origin from a file": (403, ["Origin: file://localhost"]),
    "a websocket": (400, ["Upgrade: websocket", "Connection: Upgrade"]),
    "two hosts": (400, ["Host: localhost", "Host: localhost"]),
    "an obsolete fold": (400, ["X-A: b\r\n c"]),
    "space before the colon": (400, ["Mcp-Name : get_user"]),
    "a bare line feed": (400, ["X-A: b\nMcp-Name: get_user"]),
    "a bare carriage return": (400, ["X-A: b\rMcp-Name: get_user"]),
    "NUL in a header": (400, ["X-A: b\x00c"]),
    "an expectation of something else": (417, ["Expect: a-miracle"]),
    "two lengths": (400, [f"Content-Length: {len(GOOD)}", "Content-Length: 0"]),
    "a list of lengths": (400, [f"Content-Length: {len(GOOD)}, {len(GOOD)}"]),
    "a length with a sign": (400, [f"Content-Length: +{len(GOOD)}"]),
    "a length in hexadecimal": (400, ["Content-Length: 0x10"]),
    "length and chunks": (400, [f"Content-Length: {len(GOOD)}", "Transfer-Encoding: chunked"]),
    "chunks that are no chunks": (400, ["Content-Length: 3", "Transfer-Encoding: xchunked"]),
    "identity as transfer coding": (400, ["Content-Length: 3", "Transfer-Encoding: identity"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_headers_that_tell_another_story_are_refused(gate: World, name: str) -> None:
    status, lines = LINES[name]

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        replies = await attempt(server, proxy, post(GOOD, *lines))
        assert statuses(replies) == [status]
        assert replies[0].json["error"]["message"]
        assert len(server.received) == 1, "only the fence"

    gate.run(test)


def test_an_offer_of_http2_is_ignored_and_its_call_judged(gate: World) -> None:
    """Java's client makes it by default; what stops here must not reach the server."""
    offer = ["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"]

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        refused = await attempt(server, proxy, post(BAD, *offer))
        assert statuses(refused) == [200]
        assert len(server.received) == 1, "only the fence"
        assert statuses(await attempt(server, proxy, post(GOOD, *offer))) == [200]
        assert server.calls()[0] == "get_user"
        assert b"upgrade" not in server.received[0].raw.lower()
        assert b"http2-settings" not in server.received[0].raw.lower()

    gate.run(test)


TARGETS = {
    "two slashes": (400, "//"), "dots": (400, "/a/../b"), "a dot": (400, "/./b"),
    "dots at the end": (400, "/a/.."), "escaped dots": (400, "/%2e%2e/b"),
    "escaped slash": (400, "/a%2Fb"), "backslash": (400, "/a\\b"), "escaped backslash": (400, "/a%5cb"),
    "escaped NUL": (400, "/a%00"), "absolute form": (400, "http://evil.example/"),
    "absolute form with our host": (400, "http://localhost/"), "asterisk": (400, "*"),
    "no slash": (400, "mcp"), "fragment": (400, "/a#b"), "Latin-1": (400, "/\xe9"),
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_a_path_that_could_mean_another_is_refused(gate: World, name: str) -> None:
    status, target = TARGETS[name]

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        replies = await attempt(server, proxy, post(GOOD, target=target))
        assert statuses(replies) == [status]
        assert len(server.received) == 1, "only the fence"

    gate.run(test)


@pytest.mark.parametrize("target", ["/", "/mcp", "/mcp/"])
def test_every_endpoint_is_gated_alike(gate: World, target: str) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        (refused,) = await attempt(server, proxy, post(BAD, target=target))
        assert refused.json["result"]["isError"] is True
        (passed,) = await attempt(server, proxy, post(GOOD, target=target))
        assert "result" in passed.json
        assert server.received[0].target == target

    gate.run(test)


@pytest.mark.parametrize(
    "target", ["/users/7", "/users/delete", "/admin/reset", "/a;b", "/mcp?x=//..", "/messages?id=1"]
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_no_other_route_of_the_server_is_reached(gate: World, method: str, target: str) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        ping = b'{"jsonrpc":"2.0","id":1,"method":"ping","user":"root"}'
        data = post(ping, target=target).replace(b"POST", method.encode(), 1)
        data = data.replace(b"\r\n\r\n", b"\r\nMcp-Session-Id: x\r\n\r\n", 1)
        (reply,) = await attempt(server, proxy, data)
        assert reply.status == 404
        assert "`/mcp`" in reply.json["error"]["message"]
        assert len(server.received) == 1, "only the fence"

    gate.run(test)


METHODS = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "QUERY", "PRI", "MOVE"]


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_reach_no_server_even_with_a_call_inside(gate: World, method: str) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        data = post(BAD).replace(b"POST", method.encode(), 1).replace(b"text/event-stream", b"*/*")
        server.script, server.received[:] = polite, []
        reply = await ask(proxy.port, data, method)
        assert reply.status == (405 if method not in ("PRI", "QUERY") else reply.status)
        assert 400 <= reply.status < 500
        await attempt(server, proxy, data if method != "HEAD" else post(BAD))
        assert len(server.received) == 1, "only the fence"

    gate.run(test)


RAW: dict[str, tuple[list[int], bytes]] = {
    "CONNECT": ([400], raw("CONNECT 127.0.0.1:80 HTTP/1.1", "Host: localhost") + post(BAD)),
    "a method in lower case": ([400], post(BAD).replace(b"POST", b"post", 1)),
    "a method with a space": ([400], post(BAD).replace(b"POST", b"PO ST", 1)),
    "no host": ([400], post(GOOD).replace(b"Host: localhost\r\n", b"")),
    "HTTP/2's preface": ([400], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + post(BAD)),
    "HTTP/1.2": ([400], post(GOOD).replace(b"HTTP/1.1", b"HTTP/1.2", 1)),
    "HTTP/0.9": ([505], b"GET /\r\n\r\n"),
    "TLS": ([400], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)),
    "HTTP/1.0": ([200], post(GOOD).replace(b"HTTP/1.1", b"HTTP/1.0", 1)),
    "HTTP/1.0 with a forbidden call": ([200], post(BAD).replace(b"HTTP/1.1", b"HTTP/1.0", 1)),
    "the second of two in one write is forbidden": ([200], post(GOOD) + post(BAD)),
    "the first of two in one write is forbidden": ([200], post(BAD) + post(GOOD)),
    "a request inside of a longer body": ([400], post(GOOD + post(BAD))),
    "a body longer than its length": ([400], post(GOOD, f"Content-Length: {len(GOOD)}") + BAD),
    "a body shorter than its length": ([], post(GOOD, f"Content-Length: {len(GOOD) + 9}")),
    "a forbidden request in an upgrade's body": ([400], post(post(BAD), "Upgrade: h2c", "Connection: upgrade")),
    "smuggled by length and chunks": ([400], post(b"0\r\n\r\n" + post(BAD), "Transfer-Encoding: chunked")),
    "smuggled by chunks and length": ([400], chunked(b"0\r\n\r\n" + post(BAD), "Transfer-Encoding: chunked", "Content-Length: 6")),
    "a chunk that lies long": ([], chunked(b"fff\r\n" + GOOD + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked")),
    "a chunk that lies short": ([400], chunked(b"5\r\n" + GOOD + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked")),
    "a chunk with a sign": ([400], chunked(b"+5\r\n[   ]\r\n0\r\n\r\n", "Transfer-Encoding: chunked")),
    "a chunk beyond 64 bits": ([400], chunked(b"1" + b"0" * 16 + b"5\r\n[   ]\r\n0\r\n\r\n", "Transfer-Encoding: chunked")),
    "a chunk ended by a line feed": ([400], chunked(b"5\n[   ]\n0\n\n", "Transfer-Encoding: chunked")),
    "gzip, then chunked": ([400], chunked(
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(gzip.compress(BAD)), gzip.compress(BAD)), "Transfer-Encoding: gzip, chunked")),
    "trailers": ([200], chunked(
        b"%x\r\n%b\r\n0\r\nMcp-Name: admin_reset\r\n\r\n" % (len(GOOD), GOOD), "Transfer-Encoding: chunked")),
}  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_bytes_that_two_parsers_could_cut_differently(gate: World, name: str) -> None:
    expected, data = RAW[name]

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        replies = await attempt(server, proxy, data, len(expected))
        assert statuses(replies)[: len(expected)] == expected
        assert len(replies) == len(expected)
        for request in server.received:
            assert request.header("transfer-encoding") is None
            assert request.header("mcp-name") is None

    gate.run(test)


def test_members_of_a_batch_are_judged_one_by_one(gate: World) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        held = call("delete_user", "held")
        body = b"[" + b", ".join([GOOD, BAD, held, call("get_more", "m")]) + b"]"
        (reply,) = await attempt(server, proxy, post(body))
        answers = {answer["id"]: answer for answer in reply.json}
        assert set(answers) == {2, 1, "held", "m"}
        assert answers[1]["result"]["isError"] is True
        assert "send it alone" in answers["held"]["result"]["content"][0]["text"]
        assert server.received[0].body == b"[" + GOOD + b"," + call("get_more", "m") + b"]"

    gate.run(test)


def test_a_batch_of_refusals_alone_is_not_sent(gate: World) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        (reply,) = await attempt(server, proxy, post(b"[" + BAD + b"]"))
        assert reply.json[0]["result"]["isError"] is True
        assert len(server.received) == 1, "only the fence"

    gate.run(test)


def test_an_unknown_notification_in_a_batch_is_refused_and_gets_no_answer(gate: World) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        unknown, since = b'{"jsonrpc":"2.0","method":"vendor/did"}', len(proxy.lines)
        replies = await attempt(server, proxy, post(b"[" + unknown + b"," + GOOD + b"]"))
        assert [answer["id"] for answer in replies[0].json] == [2]
        assert server.received[0].body == b"[" + GOOD + b"]"
        await proxy.line("refused", since, method="vendor/did")
        (alone,) = await attempt(server, proxy, post(b"[" + unknown + b"]"))
        assert (alone.status, alone.body) == (202, b"")
        assert len(server.received) == 1, "only the fence"

    gate.run(test)


NOTE = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
MANY = {"notifications": {"resourceSubscriptions": [f"file:///{n}" for n in range(101)]}}


@pytest.mark.parametrize(
    ("words", "data"),
    [
        ("`Mcp-Method` differs", post(NOTE, "Mcp-Method: tools/call")),
        ("the body is a batch", post(b"[" + GOOD + b"]", "Mcp-Name: get_user")),
        ("the body is a batch", post(b"[" + GOOD + b"]", "Mcp-Method: tools/call")),
        ("no batches", post(b"[" + GOOD + b"]", "MCP-Protocol-Version: 2025-06-18")),
        # Each of them is a line of the log, which must not overflow within one request.
        ("names 101 resources", post(dumps({
            "jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": MANY}))),
    ],
)  # fmt: skip
def test_what_does_not_fit_its_kind_of_message_is_refused(
    gate: World, words: str, data: bytes
) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        (reply,) = await attempt(server, proxy, data)
        assert words in reply.json["error"]["message"]
        assert len(server.received) == 1, "only the fence"

    gate.run(test)


def test_headers_from_the_client_do_not_fake_a_route(gate: World) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        lines = [
            "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example", "Via: 1.1 x",
            "X-HTTP-Method-Override: DELETE", "X-Original-URL: /admin", "X-Rewrite-URL: /admin",
            "Proxy-Authorization: Basic eDp5", "Proxy-Connection: keep-alive", "TE: trailers",
            "Keep-Alive: timeout=9", "Accept-Encoding: gzip, br", "Connection: keep-alive, X-Mine",
            "X-Mine: 1", "X-Kept: yes", "Traceparent: 00-1-2-03",
        ]  # fmt: skip
        (reply,) = await attempt(server, proxy, post(GOOD, *lines))
        assert reply.status == 200
        names = dict(server.received[0].headers)
        assert names == {
            "host": f"127.0.0.1:{server.port}", "content-type": "application/json",
            "accept": "application/json, text/event-stream", "content-length": str(len(GOOD)),
            "accept-encoding": "identity", "x-kept": "yes", "traceparent": "00-1-2-03",
        }  # fmt: skip
        assert server.received[0].body == GOOD

    gate.run(test)


def test_the_reader_for_these_tests_finds_what_a_careless_server_would() -> None:
    assert callable_names(BAD) == ["admin_reset"]
    assert callable_names(BAD.decode().encode("utf-16")) == ["admin_reset"]
    assert callable_names(b"[" + GOOD + b"," + BAD + b"]") == ["admin_reset", "get_user"]
    twice = GOOD.replace(b'"arguments"', b'"Name":"admin_reset","arguments"')
    assert callable_names(twice) == ["admin_reset", "get_user"]
    assert callable_names(GOOD + b"\n" + BAD) == ["admin_reset", "get_user"]
