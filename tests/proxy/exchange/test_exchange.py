"""What passes unchanged, and what becomes an error, over real sockets."""

import asyncio
from collections.abc import Iterator

import pytest
from aiohttp.http import SERVER_SOFTWARE

from tests.harness.mcp_server import FakeMcpServer, Peer, Received, Script, polite
from tests.harness.proxy_process import RULES, Proxy, World, world
from tests.harness.reply import HIDING, LIST, STREAM, TOOLS, answering, streamed, through, writing
from tests.harness.wait import within
from tests.harness.wire import Cut, ask, call, connected, get, post


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("gate"), RULES, HIDING) as both:
        yield both


def test_the_servers_status_headers_and_bytes_pass_as_they_are(gate: World) -> None:
    # Two documents and odd spaces: no JSON that we could have written anew.
    body = b'{"jsonrpc":"2.0","id":1,"result":{"a":1e2}}\n \n{"second":true}'

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        script = answering(body, "Mcp-Session-Id: s-1", "X-Own: a b", "Set-Cookie: c=d", status=203)
        reply = await through(server, proxy, script, post(call("get_user"), "Mcp-Session-Id: s-0"))
        assert (reply.status, reply.body) == (203, body)
        assert reply.header("mcp-session-id") == "s-1"
        assert reply.header("x-own") == "a b"
        assert reply.header("set-cookie") == "c=d"
        assert server.received[0].header("mcp-session-id") == "s-0"

    gate.run(test)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_header_beyond_ascii_passes_in_its_bytes(gate: World, streaming: bool) -> None:
    kind = "text/event-stream" if streaming else "application/json"
    lines = (f"Content-Type: {kind}\r\n".encode(), b"X-Utf-8: caf\xc3\xa9 \xe2\x82\xac\r\n",
             b"X-Latin-1: caf\xe9\r\n", b"Content-Length: 2\r\n\r\n{}")  # fmt: skip

    async def script(_: Received, peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\n" + b"".join(lines))

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        reply = await through(server, proxy, script, post(call("get_user")))
        assert reply.status == 200
        for name, sent in (("x-utf-8", b"caf\xc3\xa9 \xe2\x82\xac"), ("x-latin-1", b"caf\xe9")):
            value = reply.header(name)
            assert value is not None
            assert value.encode("latin-1") == sent

    gate.run(test)


@pytest.mark.parametrize("name", [None, "Own/1.0", SERVER_SOFTWARE])
def test_the_servers_name_is_its_own(gate: World, name: str | None) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        script = answering(b"{}", *([f"Server: {name}"] if name else []))
        reply = await through(server, proxy, script, post(call("get_user")))
        assert reply.header("server") == name
        assert (await ask(proxy.port, b"BAD\r\n\r\n")).header("server") is None
        assert (await proxy.admin("/health")).header("server") is None

    gate.run(test)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 503])
def test_a_servers_refusal_passes_untouched(gate: World, status: int) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        words = 'Bearer realm="x", resource_metadata="https://a.example/.well-known/x"'
        script = answering(b"no", f"WWW-Authenticate: {words}", status=status, kind="text/plain")
        reply = await through(server, proxy, script, post(call("get_user")))
        assert (reply.status, reply.body) == (status, b"no")
        assert reply.header("www-authenticate") == words

    gate.run(test)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_place_not_told(gate: World, status: int) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        script = answering(b"", f"Location: {server.url}/elsewhere", status=status)
        reply = await through(server, proxy, script, post(call("get_user")))
        assert reply.status == 502
        assert reply.json["error"]["code"] == 50201
        assert "redirect" in reply.json["error"]["message"]
        assert reply.json["id"] == 1
        assert b"elsewhere" not in reply.body
        assert str(server.port).encode() not in reply.body
        assert len(server.received) == 1

    gate.run(test)


def test_a_notification_and_an_answer_to_the_server_pass(gate: World) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        for body in (
            b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
            b'{"jsonrpc":"2.0","id":"s1","result":{"action":"accept"}}',
        ):
            reply = await through(server, proxy, polite, post(body))
            assert (reply.status, reply.body) == (202, b"")
            assert reply.header("content-type") is None
            assert server.received[0].body == body

    gate.run(test)


def test_the_end_of_a_session_passes_and_needs_one(gate: World) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        ending = get("/", "Mcp-Session-Id: s", method="DELETE")
        assert (await through(server, proxy, answering(status=204), ending)).status == 204
        assert server.received[0].method == "DELETE"
        await proxy.line("forwarded", http_method="DELETE", target="/")
        assert server.received[0].header("mcp-session-id") == "s"
        reply = await through(server, proxy, polite, get("/", method="DELETE"))
        assert reply.status == 405
        assert reply.header("allow") == "POST, GET, DELETE"
        assert not server.received

    gate.run(test)


@pytest.mark.parametrize(
    "path",
    ["/.well-known/oauth-protected-resource/mcp", "/.well-known/openid-configuration"],
)
def test_metadata_of_authorization_is_read_from_the_server(gate: World, path: str) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        reply = await through(server, proxy, answering(b'{"issuer":"x"}'), get(path))
        assert (reply.status, reply.json) == (200, {"issuer": "x"})
        assert server.received[0].target == path
        await proxy.line("forwarded", http_method="GET", target=path)

    gate.run(test)


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/openid-configuration?x=1",
        "/.well-known/other",
        "/x/.well-known/oauth-x",
        "/.well-known/oauth-x%20",
        "/",
    ],
)
def test_no_other_path_is_an_open_read_of_the_server(gate: World, path: str) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        reply = await through(server, proxy, polite, get(path))
        assert reply.status == 405
        assert not server.received

    gate.run(test)


def test_a_reply_that_was_not_asked_for_is_dropped_and_counted(gate: World) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.events()
        await peer.event({"jsonrpc": "2.0", "id": 99, "result": {"content": []}})
        await peer.event({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
        await peer.event({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage"})
        await peer.event({"jsonrpc": "2.0", "id": 1, "result": {}})
        await peer.end()

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        series = 'thoughtgate_errors_total{error_type="unasked_reply",method="tools/call"}'
        before = (await proxy.metrics()).get(series, 0)
        messages = await streamed(server, proxy, script, post(call("get_user")))
        assert [message.get("id") for message in messages] == [None, 1, 1]
        assert (await proxy.metrics())[series] == before + 1

    gate.run(test)


def test_readiness_tells_how_the_server_is_and_does_not_depend_on_it(gate: World) -> None:
    async def dead(_: Received, peer: Peer) -> None:
        peer.close()

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        await through(server, proxy, polite, post(call("get_user")))
        assert "answered" in (await proxy.admin("/ready")).json["upstreams"].values()
        await through(server, proxy, dead, post(call("get_user")))
        ready = await proxy.admin("/ready")
        assert (ready.status, set(ready.json["upstreams"].values())) == (200, {"upstream_down"})

    gate.run(test)


def test_the_transport_before_streamable_http_is_named(gate: World) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.events()
        await peer.chunk(b"event: endpoint\ndata: /messages?id=1\n\n")
        await peer.gone.wait()

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        reply = await through(server, proxy, script, get("/mcp", STREAM))
        assert reply.status == 501
        assert "HTTP+SSE" in reply.json["error"]["message"]
        await within(server.connections[-1].gone.is_set, "the end of the stream at the server")

    gate.run(test)


def test_our_answers_to_a_batch_join_those_of_the_server(gate: World) -> None:
    bad, note = (
        call("admin_reset", "bad"),
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
    )
    good = call("get_user", "good")
    late = (
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\n\r\n",
    )

    async def slowly(_: Received, peer: Peer) -> None:
        for piece in late:
            await peer.send(piece)
            await asyncio.sleep(0)  # two segments, as far as one can have it

    async def events(_: Received, peer: Peer) -> None:
        await peer.events()
        await peer.event({"jsonrpc": "2.0", "id": "good", "result": {}})
        await peer.end()

    async def ids(server: FakeMcpServer, proxy: Proxy, script: Script, *parts: bytes) -> list[str]:
        data = post(b"[" + b",".join(parts) + b"]")
        reply = await through(server, proxy, script, data)
        assert reply.status == 200
        if reply.header("content-type") == "text/event-stream":
            return sorted(message["id"] for message in await streamed(server, proxy, script, data))
        return sorted(message["id"] for message in reply.json)

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        assert await ids(server, proxy, polite, good, bad) == ["bad", "good"]
        assert await ids(server, proxy, events, good, bad) == ["bad", "good"]
        assert await ids(server, proxy, polite, note, bad) == ["bad"]
        assert await ids(server, proxy, slowly, note, bad) == ["bad"]

    gate.run(test)


def test_a_reply_cut_short_of_its_length_breaks_the_clients_connection(gate: World) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n"

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        for broken in (writing(head + b'{"a":', close=True), writing(head + b"{", reset=True)):
            with pytest.raises(Cut):
                await through(server, proxy, broken, post(call("get_user")))
        await proxy.line("upstream failed", kind="upstream_cut")
        reply = await through(server, proxy, writing(head + TOOLS[:9], close=True), post(LIST))
        assert (reply.status, reply.json["id"]) == (502, 7)

    gate.run(test)


@pytest.mark.parametrize("resumable", [False, True])
def test_a_stream_that_dies_says_so_unless_it_can_be_resumed(gate: World, resumable: bool) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.events()
        note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}
        await peer.event(note, id="1" if resumable else None)
        peer.close()

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        messages = await streamed(server, proxy, script, post(call("get_user")))
        assert messages.pop(0)["method"] == "notifications/progress"
        if not resumable:
            (error,) = messages
            assert (error["id"], error["error"]["code"]) == (1, 50201)
            messages = []
        assert not messages

    gate.run(test)


def test_headers_of_a_listening_stream_come_before_its_first_event(gate: World) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.events("Mcp-Session-Id: s")
        await peer.gone.wait()

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        server.script = script
        async with connected(proxy.port) as wire:
            await wire.send(get("/", STREAM, "Mcp-Session-Id: s"))
            assert (await wire.head()).header("mcp-session-id") == "s"
        await within(server.connections[-1].gone.is_set, "the end of the stream at the server")

    gate.run(test)
