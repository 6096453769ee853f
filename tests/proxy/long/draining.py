"""A proxy that has to end while calls and streams are under way that do not."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.mcp_server import Peer, Received
from tests.harness.proxy_process import RULES, Proxy, fronted
from tests.harness.wait import soon, within
from tests.harness.wire import Cut, Reply, Wire, call, connected, get, post
from tests.proxy.long.mixture import NOTE

KINDS = ("unanswered", "answered in part", "stream", "listening")
GRACE = 6
"""Seconds, of which the proxy keeps 5 in reserve."""


async def script(request: Received, peer: Peer) -> None:
    """Begin what the tool's name says, and never end it."""
    name = "listening" if request.method == "GET" else request.message["params"]["name"]
    if name == "answered in part":
        await peer.head(200, "Content-Type: application/json", "Content-Length: 99")
        await peer.send(b'{"jsonrpc":')
    elif name != "unanswered":
        await peer.events()
        await peer.event(NOTE)
    await peer.gone.wait()


async def begun(wire: Wire, kind: str) -> tuple[Reply, bytes] | None:
    """Send the request; what has come of its reply, if anything can."""
    listens = get("/", "Accept: text/event-stream", "Mcp-Session-Id: s")
    await wire.send(listens if kind == "listening" else post(call(kind)))
    if kind == "unanswered":
        return None
    head = await wire.head()
    return head, b"" if kind == "answered in part" else await wire.piece(wire.pieces(head))


async def ended(wire: Wire, kind: str, first: tuple[Reply, bytes] | None) -> None:
    """Hold the end of the reply against what a client needs to understand it."""
    if first is None:
        reply = await wire.reply()
        assert (reply.status, reply.json["id"]) == (502, 1)
        assert "restarting" in reply.json["error"]["message"]
        assert "unknown" in reply.json["error"]["message"]
    elif kind == "answered in part":
        with pytest.raises(Cut):
            _ = [piece async for piece in wire.pieces(first[0])]
    else:
        rest = b"".join([piece async for piece in wire.pieces(first[0])])  # or `Cut`
        told = b'"id":1,"error":' in rest
        assert told is (kind == "stream"), rest
    await wire.closed()


async def drained(folder: Path, count: int) -> None:
    """Terminate a proxy with `count` requests of each kind under way."""
    env = {"THOUGHTGATE_GRACE_SECONDS": str(GRACE)}
    rules = RULES + "limits: {connections: 2000}\n"
    async with fronted(folder, rules, env=env) as (server, proxy):
        server.script = script
        together = asyncio.Barrier(len(KINDS) * count + 1)

        async def client(kind: str) -> None:
            async with connected(proxy.port) as wire:
                first = await begun(wire, kind)
                await together.wait()
                await ended(wire, kind, first)

        async with asyncio.TaskGroup() as group:
            for kind in KINDS * count:
                group.create_task(client(kind))
            await within(lambda: len(server.received) == len(KINDS) * count, "all requests")
            await soon(together.wait(), "the beginning of all replies")
            proxy.process.terminate()
        assert await soon(proxy.process.wait(), "its end", GRACE) == 0
        await within(lambda: all(p.gone.is_set() for p in server.connections), "the server's ends")
        logged(proxy, count)


def logged(proxy: Proxy, count: int) -> None:
    """Each call has its decision, and each that got no answer a line that says why."""
    assert len(proxy.forwarded()) == (len(KINDS) - 1) * count
    failed = [line["kind"] for line in proxy.lines if line["message"] == "upstream failed"]
    assert sorted(failed) == sorted(["restarting", *["upstream_cut"] * 3] * count)
    assert proxy.lines[-1]["message"] == "stopped"
