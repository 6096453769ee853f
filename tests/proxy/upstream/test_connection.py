# ruff: noqa: E501  a table is read row by row
"""Nothing is sent twice, whatever the server does to its connection."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.harness.mcp_server import FakeMcpServer, Peer, Received, Script, polite
from tests.harness.proxy_process import RULES, Proxy, World, config, fronted, started, world
from tests.harness.wait import run, within
from tests.harness.wire import Reply, ask, call, connected, post
from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.memory_budget import Budget
from thoughtgate_proxy.core.policy.permit import Permit, UngatedMessage
from thoughtgate_proxy.core.protocol.headers import Heads
from thoughtgate_proxy.core.protocol.http import HttpRequest
from thoughtgate_proxy.core.protocol.message import Request
from thoughtgate_proxy.upstream import connection, pool
from thoughtgate_proxy.upstream.errors import UpstreamError
from thoughtgate_proxy.upstream.response_body import UpstreamReply
from thoughtgate_proxy.upstream.response_head import ResponseHeads

BODY = b'{"jsonrpc":"2.0","id":1,"result":{}}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
TIMEOUTS = ", timeouts: {connect: 10s, response: 1s}"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("gate"), RULES, TIMEOUTS) as both:
        yield both


class Asking(asyncio.Future[UpstreamReply]):
    """Takes a reply for whoever awaits it."""

    def replied(self, reply: UpstreamReply) -> None:
        self.set_result(reply)

    def failed(self, error: UpstreamError) -> None:
        self.set_exception(error)


def writing(*pieces: bytes, then: str = "") -> Script:
    async def script(_: Received, peer: Peer) -> None:
        for piece in pieces:
            await peer.send(piece)
        if then == "close":
            peer.close()
        elif then == "reset":
            peer.reset()

    return script


async def asked(server: FakeMcpServer, proxy: Proxy, script: Script) -> Reply:
    """One call, of which the server must have seen exactly one request."""
    server.script, server.received[:] = script, []
    reply = await ask(proxy.port, post(call("get_user")))
    assert len(server.received) == 1
    assert str(server.port).encode() not in reply.body
    return reply


FAILING = {
    "closes at once": (502, writing(then="close")),
    "resets at once": (502, writing(then="reset")),
    "closes within the head": (502, writing(HEAD, then="close")),
    "resets within the head": (502, writing(HEAD, then="reset")),
    "garbage": (502, writing(b"\x16\x03\x01 hello\r\n\r\n")),
    "another protocol": (502, writing(b"220 mail.example ESMTP\r\n")),
    "HTTP/2": (502, writing(b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64")),
    "a protocol change": (502, writing(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")),
    "length and chunks": (502, writing(HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
    "two lengths": (502, writing(HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")),
    "a giant header": (502, writing(HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n")),
    "headers without an end": (502, writing(HEAD + b"X: abcdefgh\r\n" * 9_000)),
    "silence": (504, writing()),
    "silence after half of the head": (504, writing(HEAD)),
    "only an interim reply": (504, writing(b"HTTP/1.1 100 Continue\r\n\r\n")),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILING)
def test_a_call_without_a_reply_is_not_sent_again(gate: World, name: str) -> None:
    status, script = FAILING[name]

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        # First on a new connection, then on one that has been in use.
        for _ in range(2):
            reply = await asked(server, proxy, script)
            assert (reply.status, reply.json["id"]) == (status, 1)
            assert reply.json["error"]["code"] == status * 100 + 1
            assert "unknown, and it was not sent again" in reply.json["error"]["message"]
            await within(server.connections[-1].gone.is_set, "the end of that connection")
            assert (await asked(server, proxy, polite)).status == 200

    gate.run(test)


GOOD = {
    "in one piece": WHOLE,
    "interim replies first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + WHOLE,
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "trailers": HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nX-Late: 1\r\nSet-Cookie: a=b\r\n\r\n" % (len(BODY), BODY),
    "a second reply nobody asked for": WHOLE + WHOLE.replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 401 No\r\nX-Late: 1"),
    "garbage after the reply": WHOLE + b"\x00garbage",
    "empty lines after the reply": WHOLE + b"\r\n\r\n",
    "closing": WHOLE.replace(b"Content-Type", b"Connection: close\r\nContent-Type"),
    "closing and garbage": WHOLE.replace(b"Content-Type", b"Connection: close\r\nContent-Type") + b"\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_whole_reply_passes_and_nothing_beside_it(gate: World, name: str) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        reply = await asked(server, proxy, writing(GOOD[name]))
        assert (reply.status, reply.body) == (200, BODY)
        assert {key for key, _ in reply.headers} <= {
            "content-type", "content-length", "transfer-encoding", "date", "server"
        }  # fmt: skip
        # What came beside it must not be taken for the next reply.
        assert b"did get_user" in (await asked(server, proxy, polite)).body

    gate.run(test)


def test_a_reply_without_a_length_ends_with_its_connection(gate: World) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        reply = await asked(server, proxy, writing(HEAD + b"\r\n", BODY, then="close"))
        assert (reply.status, reply.body) == (200, BODY)

    gate.run(test)


def test_a_reply_byte_by_byte(gate: World) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        pieces = [bytes([byte]) for byte in GOOD["trailers"]]
        assert (await asked(server, proxy, writing(*pieces))).body == BODY

    gate.run(test)


def test_connections_are_used_again(gate: World) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        await asked(server, proxy, polite)
        before = server.received[0].connection
        for _ in range(5):
            await asked(server, proxy, polite)
            assert server.received[0].connection == before

    gate.run(test)


def test_a_connection_that_the_server_closed_while_idle_is_not_used(gate: World) -> None:
    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        for close in (Peer.close, Peer.reset):
            await asked(server, proxy, polite)
            close(server.connections[server.received[0].connection])
            assert (await asked(server, proxy, polite)).status == 200

    gate.run(test)


Pair = tuple[connection.UpstreamConnection, socket.socket, list[connection.UpstreamConnection]]


@asynccontextmanager
async def one_connection() -> AsyncIterator[Pair]:
    """A connection, its server's end, and where it is put when it is free.

    The server's end is a plain socket, so that the loop cannot have seen what it did.
    """
    freed: list[connection.UpstreamConnection] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _, ours = await asyncio.get_running_loop().create_connection(
            lambda: connection.UpstreamConnection(freed.append, ResponseHeads(), Budget(1 << 20)),
            *listener.getsockname(),
        )
        theirs, _ = listener.accept()
    with theirs:
        yield ours, theirs, freed
        ours.abort()


@pytest.mark.parametrize("end", ["closed", "garbage", "expired", "none"])
def test_a_connection_is_usable_while_nothing_came_and_not_for_long(end: str) -> None:
    @run
    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with one_connection() as (ours, theirs, freed):
            asking = Asking()
            ours.exchange(b"GET / HTTP/1.1\r\n\r\n", 5.0, asking)
            theirs.sendall(WHOLE.replace(b"Content-Type", b"Keep-Alive: timeout=9\r\nContent-Type"))
            assert (await asking).body == BODY
            assert freed == [ours]
            assert ours.usable()
            match end:
                case "closed":
                    theirs.shutdown(socket.SHUT_RDWR)
                case "garbage":
                    theirs.sendall(b"x")
                case "expired":
                    ours._idle_until = loop.time()
            assert ours.usable() is (end == "none")

    test()


def test_a_server_that_closes_soon_is_believed(gate: World) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.reply(BODY, "Keep-Alive: timeout=1, max=9")

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        await asked(server, proxy, script)
        # Well before any connection is closed for its age.
        gone = server.connections[-1].gone
        await within(gone.is_set, "the end of the idle connection", connection.IDLE_SECONDS / 2)

    gate.run(test)


class Later:
    """A loop whose clock is ahead."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop, self._seconds = loop, seconds

    def time(self) -> float:
        return self._loop.time() + self._seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("", 4.0), ("timeout=2", 1.0), ("max=9, Timeout=3", 2.0), ("timeout=60", 4.0)],
)
def test_an_idle_connection_is_used_again_for_less_than_its_server_keeps_it(
    said: str, seconds: float
) -> None:
    @run
    async def test() -> None:
        async with one_connection() as (ours, theirs, freed):
            asking, loop = Asking(), asyncio.get_running_loop()
            ours.exchange(b"GET / HTTP/1.1\r\n\r\n", 5.0, asking)
            line = f"Keep-Alive: {said}\r\n".encode() if said else b""
            theirs.sendall(WHOLE.replace(b"Content-Type", line + b"Content-Type"))
            await asking
            assert freed == [ours]
            for later, usable in ((seconds - 0.5, True), (seconds, False)):
                ours._loop = Later(loop, later)  # type: ignore[assignment]  # only its clock is read
                assert ours.usable() is usable, later
            ours._loop = loop

    test()


@pytest.mark.parametrize("said", ["timeout=1", "timeout=0"])
def test_a_connection_that_its_server_is_about_to_close_is_closed_by_us(said: str) -> None:
    @run
    async def test() -> None:
        async with one_connection() as (ours, theirs, freed):
            asking = Asking()
            ours.exchange(b"GET / HTTP/1.1\r\n\r\n", 5.0, asking)
            line = f"Keep-Alive: {said}\r\n".encode()
            theirs.sendall(WHOLE.replace(b"Content-Type", line + b"Content-Type"))
            assert (await asking).body == BODY
            assert freed == []
            assert not ours.usable()

    test()


def test_a_connection_idle_for_long_is_closed_by_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (connection, pool):
        monkeypatch.setattr(module, "IDLE_SECONDS", 0.1)

    @run
    async def test() -> None:
        async with FakeMcpServer() as server:
            source = Source(id="up", url=server.url)
            upstream = pool.UpstreamPool(source, tmp_path, {}, Budget(1 << 20))
            body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
            grounds = UngatedMessage(Request(1, "ping", {}))
            head = Heads(loopback_only=True).of(HttpRequest("POST", "/", []))
            asking = Asking()
            upstream.send(Permit(source, "POST", "/", body, grounds), head, asking)
            assert (await asking).head.status == 200
            await within(server.connections[0].gone.is_set, "the end of the idle connection")
            other = Source(id="other", url=server.url)
            with pytest.raises(ValueError, match="a permit for `other`"):
                upstream.send(Permit(other, "POST", "/", body, grounds), head, Asking())
            upstream.close()

    test()


def test_a_reply_before_the_request_was_read_ends_the_connection(tmp_path: Path) -> None:
    writers: list[asyncio.StreamWriter] = []

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The rest stays unread, which is more than the kernel takes.
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")

    @run
    async def test() -> None:
        server = await asyncio.start_server(refusing, "127.0.0.1", 0, limit=1024)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        rules = RULES + "limits: {request_body_bytes: 33554432, memory_bytes: 134217728}\n"
        async with started(tmp_path, config(url, rules)) as proxy:
            for count in (1, 2):
                data = post(call("get_user", 1, x="a" * 30_000_000))
                assert (await ask(proxy.port, data)).status == 413
                assert len(writers) == count
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        server.close()
        await server.wait_closed()

    test()


def test_the_client_going_away_closes_the_servers_connection_at_once(tmp_path: Path) -> None:
    async def silent(_: Received, peer: Peer) -> None:
        await peer.gone.wait()

    async def begun(_: Received, peer: Peer) -> None:
        await peer.head(200, "Content-Type: application/json", "Content-Length: 99")
        await peer.send(b"{")
        await peer.gone.wait()

    async def stream(_: Received, peer: Peer) -> None:
        await peer.events()
        await peer.event({"jsonrpc": "2.0", "method": "notifications/message"})
        await peer.gone.wait()

    listing = b'{"jsonrpc":"2.0","id":7,"method":"tools/list"}'

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        for script in (silent, begun, stream):
            for body in (call("get_user"), listing, b"[" + call("get_x") + b"," + call("admin_", 2) + b"]"):  # fmt: skip
                for half in (False, True):
                    server.script, server.received[:] = script, []
                    async with connected(proxy.port) as wire:
                        await wire.send(post(body))
                        await within(lambda: server.received, "the request at the server")
                        if half:
                            wire.writer.write_eof()
                        else:
                            wire.abort()
                        peer = server.connections[server.received[0].connection]
                        await within(peer.gone.is_set, "the end of its connection")

    @run
    async def patiently() -> None:
        # With the default time for a response, so that the server's silence ends nothing.
        async with fronted(tmp_path) as (server, proxy):
            await test(server, proxy)

    patiently()


@asynccontextmanager
async def alone(folder: Path, url: str) -> AsyncIterator[Proxy]:
    async with started(folder, config(url, RULES, TIMEOUTS)) as proxy:
        yield proxy


def test_a_server_that_is_down_is_told_without_its_address(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with FakeMcpServer() as gone:
            url, port = gone.url, gone.port
        async with alone(tmp_path, url + "/secret-path") as proxy:
            reply = await ask(proxy.port, post(call("get_user")))
            assert (reply.status, reply.json["error"]["code"]) == (502, 50201)
            assert reply.json["error"]["message"] == "the MCP server cannot be reached"
            assert str(port).encode() not in reply.body
            assert b"secret-path" not in reply.body
            await proxy.line("upstream failed", kind="upstream_down")
            series = 'thoughtgate_errors_total{error_type="upstream_down",method="tools/call"}'
            assert (await proxy.metrics())[series] == 1

    test()
