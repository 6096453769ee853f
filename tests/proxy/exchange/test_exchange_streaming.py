"""Replies pass as they come: at once, no faster than the client reads, and without being kept."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.mcp_server import FakeMcpServer, Peer, Received, dumps
from tests.harness.proxy_process import RULES, Proxy, World, fronted, world
from tests.harness.wait import run, within
from tests.harness.wire import ask, call, connected, get, post

NOTE = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
DONE = {"jsonrpc": "2.0", "id": 1, "result": {}}
LISTING = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
HIDING = ", expose: {mode: blocklist, tools: [hidden_*]}"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("gate"), RULES, HIDING) as both:
        yield both


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(call("get_user")),
        post(LISTING),
        post(b"[" + call("get_user") + b"," + call("admin_x", 2) + b"]"),
        get("/", "Accept: text/event-stream"),
        get("/", "Accept: text/event-stream", "Mcp-Session-Id: s"),
    ],
    ids=["call", "listing", "batch", "listening", "listening in a session"],
)
def test_an_event_passes_before_the_server_sends_the_next(
    gate: World, request_bytes: bytes
) -> None:
    seen = asyncio.Event()

    async def script(_: Received, peer: Peer) -> None:
        await peer.events()
        await peer.event(NOTE)
        await seen.wait()
        await peer.event(DONE)
        await peer.end()

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        server.script = script
        async with connected(proxy.port) as wire:
            await wire.send(request_bytes)
            head = await wire.head()
            assert head.header("content-type") == "text/event-stream"
            pieces = wire.pieces(head)
            first = await wire.piece(pieces)
            if b"admin_x" in first:  # our own answer goes before the server's
                first = await wire.piece(pieces)
            assert first == b"event: message\ndata: " + dumps(NOTE) + b"\n\n"
            seen.set()
            rest = b"".join([piece async for piece in pieces])
            assert rest.count(b'"id":1') == 1
            # The connection is good for more.
            await wire.send(get("/nothing"))
            assert (await wire.reply()).status == 405

    gate.run(test)


def test_a_body_of_another_kind_passes_as_it_comes_too(gate: World) -> None:
    seen = asyncio.Event()

    async def script(_: Received, peer: Peer) -> None:
        await peer.head(200, "Content-Type: application/json", "Content-Length: 6")
        await peer.send(b"[1,")
        await seen.wait()
        await peer.send(b"2]\n")

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        server.script = script
        async with connected(proxy.port) as wire:
            await wire.send(post(call("get_user")))
            await wire.head()
            assert await wire.reader.readexactly(3) == b"[1,"
            seen.set()
            assert await wire.reader.readexactly(3) == b"2]\n"

    gate.run(test)


def test_requests_of_the_server_and_the_clients_answers_pass_within_a_call(gate: World) -> None:
    answered = asyncio.Event()
    ask_client = {"jsonrpc": "2.0", "id": "s-1", "method": "elicitation/create", "params": {}}

    async def script(request: Received, peer: Peer) -> None:
        if request.message.get("method") == "tools/call":
            await peer.events()
            await peer.event(ask_client)
            await answered.wait()
            await peer.event(DONE)
            await peer.end()
        else:
            assert request.message == {"jsonrpc": "2.0", "id": "s-1", "result": {"action": "x"}}
            await peer.reply(status=202)
            answered.set()

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        server.script = script
        async with connected(proxy.port) as wire:
            await wire.send(post(call("get_user")))
            pieces = wire.pieces(await wire.head())
            assert b"elicitation/create" in await wire.piece(pieces)
            answer = b'{"jsonrpc":"2.0","id":"s-1","result":{"action":"x"}}'
            assert (await ask(proxy.port, post(answer))).status == 202
            assert b'"result":{}' in await wire.piece(pieces)

    gate.run(test)


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_a_slow_reader_makes_the_server_wait(gate: World, kind: str) -> None:
    line = b"data: " + b"x" * 16_000 + b"\n\n"
    sent = 0

    async def script(_: Received, peer: Peer) -> None:
        nonlocal sent
        await peer.head(200, f"Content-Type: {kind}", "Transfer-Encoding: chunked")
        while not peer.gone.is_set():
            await peer.chunk(line)
            sent += len(line)

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        nonlocal sent
        sent, server.script = 0, script
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            raw.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(raw, ("127.0.0.1", proxy.port))
            await loop.sock_sendall(raw, post(call("get_user")))
            # It has stopped where nothing more was sent while the loop turned many times.
            before, turns = -1, 0
            while turns < 50:
                turns = turns + 1 if sent == before and sent else 0
                before = sent
                await asyncio.sleep(0.005)
            assert sent < 16 << 20, "the buffers of two connections, and little of ours"
            assert len(await loop.sock_recv(raw, 1 << 14)) > 0
        peer = server.connections[server.received[-1].connection]
        await within(peer.gone.is_set, "the end of the server's connection")

    gate.run(test)


def resident(proxy: Proxy) -> int:
    """Bytes of memory of the proxy's process."""
    text = Path(f"/proc/{proxy.process.pid}/statm").read_text()
    return int(text.split()[1]) * 4096


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
def test_memory_does_not_grow_with_a_reply(gate: World, kind: str) -> None:
    # One event without an end is the worst that a stream can hold.
    piece = b"x" * (1 << 18)
    count = 100

    async def script(_: Received, peer: Peer) -> None:
        await peer.head(200, f"Content-Type: {kind}", "Transfer-Encoding: chunked")
        await peer.chunk(b"data: ")
        for _number in range(count):
            await peer.chunk(piece)
        await peer.end()

    async def test(server: FakeMcpServer, proxy: Proxy) -> None:
        server.script = script
        await ask(proxy.port, post(call("get_user")))  # what is allocated once
        before, most, size = resident(proxy), 0, 0
        async with connected(proxy.port) as wire:
            await wire.send(post(call("get_user")))
            async for got in wire.pieces(await wire.head()):
                size += len(got)
                most = max(most, resident(proxy))
        assert size == len(piece) * count + 6
        assert most - before < 8 << 20

    gate.run(test)


def test_many_streams_at_once(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def script(_: Received, peer: Peer) -> None:
        await peer.events()
        await peer.event(NOTE)
        await go.wait()
        await peer.event(DONE)
        await peer.end()

    async def one(proxy: Proxy) -> int:
        return (await ask(proxy.port, post(call("get_user")))).body.count(b'"id":1')

    @run
    async def test() -> None:
        async with fronted(tmp_path, RULES + "limits: {connections: 300}\n") as (server, proxy):
            server.script = script
            streams = [asyncio.create_task(one(proxy)) for _ in range(200)]
            await within(lambda: len(server.received) == 200, "all calls at the server")
            assert (await proxy.metrics())["thoughtgate_connections_active"] == 200
            go.set()
            assert await asyncio.gather(*streams) == [1] * 200

            assert (await proxy.metrics())["thoughtgate_connections_active"] == 0

    test()
