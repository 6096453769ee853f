"""A listing never shows what is hidden, in whatever form a server sends it."""

import json
from collections.abc import Iterator

import pytest

from tests.harness.mcp_server import FakeMcpServer, Peer, Received, Script, polite
from tests.harness.proxy_process import RULES, Proxy, World, world
from tests.harness.reply import HIDING, LIST, STREAM, TOOLS, answering, streamed, through, writing
from tests.harness.wire import Reply, call, get, post


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("gate"), RULES, HIDING) as both:
        yield both


def listed(reply: Reply) -> list[str]:
    return [tool["name"] for tool in reply.json["result"]["tools"]]


def test_a_listing_loses_what_is_hidden_and_nothing_else(gate: World) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        reply = await through(server, proxy, polite, post(LIST))
        assert listed(reply) == ["get_user", "delete_user", "admin_reset"]
        reply = await through(server, proxy, polite, post(call("hidden_tool")))
        assert reply.json["error"] == {"code": -32602, "message": "Unknown tool: hidden_tool"}
        assert not server.received

    gate.run(test)


COMPRESSED = b"\x1f\x8b" + b"hidden_x" + bytes(8)
OPAQUE: dict[str, Script] = {
    "another type": answering(TOOLS, kind="text/plain"),
    "no type": writing(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(TOOLS) + TOOLS),
    "two types": answering(
        TOOLS, "Content-Type: application/json", kind="text/event-stream", status=200
    ),
    "two documents": answering(TOOLS + TOOLS),
    "a byte order mark": answering(b"\xef\xbb\xbf" + TOOLS),
    "UTF-16": answering(TOOLS.decode().encode("utf-16")),
    "a duplicate key": answering(TOOLS.replace(b'"result"', b'"result":{},"result"')),
    "compressed though not allowed": answering(COMPRESSED, "Content-Encoding: gzip"),
    "a compressed stream": answering(
        COMPRESSED, "Content-Encoding: gzip", kind="text/event-stream"
    ),
    "a batch": answering(b"[" + TOOLS + b"]"),
    "not JSON": answering(b"<html>hidden_x</html>"),
    "nothing": answering(kind="application/json"),
    "another id": answering(TOOLS.replace(b"7", b"8")),
    "an event": answering(b"data: " + TOOLS + b"\n\n", kind="text/event-stream"),
    "an event without an end": answering(b"data: " + TOOLS, kind="text/event-stream"),
    "an event in lines": answering(
        b"data: " + TOOLS.replace(b",", b",\rdata:") + b"\r\r", kind="text/event-stream"
    ),
    "chunks of a byte": writing(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
        + b"".join(b"1\r\n%c\r\n" % byte for byte in TOOLS)
        + b"0\r\n\r\n"
    ),
    "until the end": writing(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + TOOLS, close=True
    ),
    "too long": answering(TOOLS[:-1] + b" " * (11 << 20) + b"}"),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_a_listing_never_shows_what_is_hidden(gate: World, name: str) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        reply = await through(server, proxy, OPAQUE[name], post(LIST))
        assert b"hidden_x" not in reply.body
        assert reply.status in (200, 502)
        if reply.status == 502:
            assert reply.json["error"]["code"] in (50201, 50202)
            assert reply.json["id"] == 7

    gate.run(test)


def test_a_listing_in_a_listening_stream_is_filtered_too(gate: World) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.events()
        await peer.event(json.loads(TOOLS), id="4")
        await peer.end()

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        data = get("/", STREAM, "Last-Event-ID: 3", "Mcp-Session-Id: s")
        (message,) = await streamed(server, proxy, script, data)
        assert message["result"]["tools"] == []
        assert server.received[0].header("last-event-id") == "3"

    gate.run(test)
