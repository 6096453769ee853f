"""How a server can answer one request, and what the client gets of it."""

import json
from typing import Any

from tests.harness.mcp_server import FakeMcpServer, Peer, Received, Script, dumps
from tests.harness.proxy_process import Proxy
from tests.harness.wire import Reply, ask

STREAM = "Accept: text/event-stream"
LIST = b'{"jsonrpc":"2.0","id":7,"method":"tools/list"}'
TOOLS = dumps({"jsonrpc": "2.0", "id": 7, "result": {"tools": [{"name": "hidden_x"}]}})
HIDING = ", expose: {mode: blocklist, tools: [hidden_*]}"


def answering(body: bytes = b"", *lines: str, **more: Any) -> Script:
    async def script(_: Received, peer: Peer) -> None:
        await peer.reply(body, *lines, **more)

    return script


def writing(data: bytes, *, close: bool = False, reset: bool = False) -> Script:
    """Write exactly `data`."""

    async def script(_: Received, peer: Peer) -> None:
        await peer.send(data)
        if reset:
            peer.reset()
        elif close:
            peer.close()

    return script


async def through(server: FakeMcpServer, proxy: Proxy, script: Script, data: bytes) -> Reply:
    server.script, server.received[:] = script, []
    return await ask(proxy.port, data)


async def streamed(server: FakeMcpServer, proxy: Proxy, script: Script, data: bytes) -> list[Any]:
    """The messages of the event stream that answers `data`."""
    reply = await through(server, proxy, script, data)
    assert reply.header("content-type") == "text/event-stream"
    events = [event for event in reply.body.decode().split("\n\n") if "data:" in event]
    return [json.loads(event.partition("data: ")[2]) for event in events]
