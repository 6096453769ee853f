"""A reload that shows other tools is told to clients that listen, where the server promised so."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness.mcp_server import FakeMcpServer, Peer, Received, dumps
from tests.harness.proxy_process import Proxy, fronted
from tests.harness.wait import run, within
from tests.harness.wire import Wire, ask, connected, get, post
from thoughtgate_proxy.core.protocol.http import ReplyCut
from thoughtgate_proxy.core.protocol.message import Request
from thoughtgate_proxy.mcp.list_changes import ListChanges

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
TOLD = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
OTHER = {"jsonrpc": "2.0", "method": "notifications/message"}
SUBSCRIBED = {**TOLD, "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": "s-1"}}}
HIDING = ", expose: {mode: blocklist, tools: [hidden_*]}"
INITIALIZE = post(dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}))
GET = get("/", "Accept: text/event-stream", "Mcp-Session-Id: s")


def server(promises: bool, streaming: bool = False) -> Any:
    """A server that listens on every stream, and promises to tell of changed tools or not."""

    async def script(request: Received, peer: Peer) -> None:
        message = request.message or {}
        if message.get("method") == "initialize":
            tools = {"listChanged": True} if promises else {}
            said = {"capabilities": {"tools": tools}, "instructions": "x" * 100}
            answer = {"jsonrpc": "2.0", "id": 1, "result": said}
            if streaming:
                await peer.events()
                await peer.event(answer)
                await peer.end()
            else:
                await peer.reply(dumps(answer))
            return
        await peer.events()
        if message:
            wanted = {"toolsListChanged": True} if promises else {}
            await peer.event(
                {
                    "jsonrpc": "2.0",
                    "method": "notifications/subscriptions/acknowledged",
                    "params": {"notifications": wanted, "_meta": META},
                }
            )
        await peer.event(OTHER)

    return script


def listen(**wanted: Any) -> bytes:
    params = {"_meta": {**META, "io.modelcontextprotocol/clientCapabilities": {}}}
    body = {"jsonrpc": "2.0", "id": "s-1", "method": "subscriptions/listen"}
    body["params"] = {**params, "notifications": wanted}  # type: ignore[assignment]
    return post(dumps(body), "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: subscriptions/listen")


@asynccontextmanager
async def listening(
    folder: Path, script: Any, request: bytes
) -> AsyncIterator[tuple[FakeMcpServer, Proxy, AsyncIterator[bytes], Wire]]:
    """A client that has listened until the server's `OTHER`."""
    async with fronted(folder, source=HIDING) as (upstream, proxy):
        upstream.script = script
        assert (await ask(proxy.port, INITIALIZE)).status == 200
        async with connected(proxy.port) as wire:
            await wire.send(request)
            pieces = wire.pieces(await wire.head())
            while b"notifications/message" not in await wire.piece(pieces):
                pass
            yield upstream, proxy, pieces, wire


async def reload(proxy: Proxy, old: str, new: str) -> None:
    since = len(proxy.lines)
    proxy.write(proxy.path.read_text().replace(old, new))
    await proxy.line("configuration in force", since, reload=True)


def message(event: bytes) -> Any:
    return json.loads(event.partition(b"data: ")[2])


CASES = {
    "listening": (server(promises=True), GET, TOLD),
    "its greeting is a stream": (server(promises=True, streaming=True), GET, TOLD),
    "nothing promised": (server(promises=False), GET, None),
    "subscribed": (server(promises=True), listen(toolsListChanged=True), SUBSCRIBED),
    "subscribed to something else": (server(promises=True), listen(promptsListChanged=True), None),
    "not acknowledged": (server(promises=False), listen(toolsListChanged=True), None),
}


@pytest.mark.parametrize("name", CASES)
def test_a_reload_that_shows_other_tools_is_told(tmp_path: Path, name: str) -> None:
    script, request, told = CASES[name]

    @run
    async def test() -> None:
        async with listening(tmp_path, script, request) as (upstream, proxy, pieces, wire):
            await reload(proxy, "admin_*", "admin2_*")  # a rule, which hides nothing
            await reload(proxy, "hidden_*", "get_*")
            peer = upstream.connections[upstream.received[-1].connection]
            if told is not None:
                assert message(await wire.piece(pieces)) == told
            await peer.event(OTHER)
            assert message(await wire.piece(pieces)) == OTHER
            await reload(proxy, "get_*", "delete_*")
            if told is not None:
                assert message(await wire.piece(pieces)) == told
            await peer.end()
            assert [piece async for piece in pieces] == []

    test()


def test_a_client_that_goes_leaves_nothing_behind(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with listening(tmp_path, server(promises=True), GET) as (upstream, proxy, _, wire):
            wire.abort()
            peer = upstream.connections[upstream.received[-1].connection]
            await within(peer.gone.is_set, "the end of the server's stream")
            await reload(proxy, "hidden_*", "get_*")

    test()


def test_nothing_comes_between_the_pieces_of_an_event() -> None:
    @run
    async def test() -> None:
        changes = ListChanges()
        changes.noticing("up", b'{"result":{"capabilities":{"tools":{"listChanged":true}}}}')
        queue: asyncio.Queue[bytes] = asyncio.Queue()

        async def events() -> AsyncIterator[bytes]:
            while piece := await queue.get():
                yield piece
            raise ReplyCut("cut")

        stream = changes.joined("up", None, events())
        queue.put_nowait(b"data: begun")
        assert await anext(stream) == b"data: begun"
        changes.tell("up")
        changes.tell("up")
        coming = asyncio.ensure_future(anext(stream))
        for _ in range(20):  # more turns of the loop than it would need to tell
            await asyncio.sleep(0)
        assert not coming.done()
        queue.put_nowait(b" and done\r\n\r\n")
        assert await coming == b" and done\r\n\r\n"
        assert message(await anext(stream)) == TOLD
        changes.tell("other")
        queue.put_nowait(b"")
        with pytest.raises(ReplyCut):
            await anext(stream)
        changes.tell("up")
        assert changes._listeners == {"up": set()}

    test()


@pytest.mark.parametrize(
    "greeting", [b"", b"{", b"[]", b"data: 1\n\n", b'{"result":[]}', b"\r" * 9]
)
def test_a_greeting_that_says_nothing_promises_nothing(greeting: bytes) -> None:
    changes = ListChanges()
    assert changes.noticing("up", greeting) is greeting
    assert not changes._announced


def test_other_requests_streams_stay_as_they_are() -> None:
    async def events() -> AsyncIterator[bytes]:
        yield b""

    stream = events()
    asked = Request(id=1, method="tools/call", params={}, targets=())
    assert ListChanges().joined("up", asked, stream) is stream
