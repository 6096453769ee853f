"""What an MCP server can do to kill or starve the proxy, in a container of 50Mi and 100m."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.harness.attacked import Victim, attacked, many, push, settled
from tests.harness.cgroup import needed
from tests.harness.mcp_server import Peer, Received
from tests.harness.wait import run
from tests.harness.wire import Cut, Wire, ask, call, connected, get, post

pytestmark = needed()
LIST = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


async def endlessly(peer: Peer, data: bytes, count: int) -> None:
    """Write it again and again, until the proxy has had enough."""
    with contextlib.suppress(OSError):
        for _ in range(count):
            await peer.send(data)


def endless(begin: bytes, data: bytes, count: int = 64) -> Callable[[Victim], Awaitable[None]]:
    """An attack by one call, which is answered by `begin` and then `data` without an end."""

    async def attack(victim: Victim) -> None:
        async def script(_: Received, peer: Peer) -> None:
            await peer.send(begin)
            await endlessly(peer, data, count)

        victim.server.script = script
        reply = await ask(victim.proxy.port, post(call("get_user")))
        assert reply.status == 502 or b"error" in reply.body

    return attack


async def trailer(victim: Victim) -> None:
    async def script(_: Received, peer: Peer) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        await peer.send(head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ")
        await endlessly(peer, b"a" * (1 << 18), 64)

    victim.server.script = script
    with pytest.raises(Cut):
        await ask(victim.proxy.port, post(call("get_user")))


async def many_heads(victim: Victim) -> None:
    sent = 0

    async def script(_: Received, peer: Peer) -> None:
        nonlocal sent
        sent += 1
        lines = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}:" for n in range(100)]
        await peer.reply(b'{"jsonrpc":"2.0","id":1,"result":{}}', f"X-N: {sent}", *lines)

    victim.server.script = script
    for _ in range(260):
        assert (await ask(victim.proxy.port, post(call("get_user")))).status == 200


async def many_header_lines(victim: Victim) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.reply(b"{}", *(f"a{n}:" for n in range(1900)))

    victim.server.script = script
    for _ in range(20):
        assert (await ask(victim.proxy.port, post(call("get_user")))).status == 502


def listing(filler: bytes, size: int) -> Callable[[Victim], Awaitable[None]]:
    """An attack by four listings at once, of `size` bytes of values."""

    async def attack(victim: Victim) -> None:
        inner = b",".join([filler] * (size // (len(filler) + 1)))
        body = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[],"x":[' + inner + b"]}}"

        async def script(_: Received, peer: Peer) -> None:
            with contextlib.suppress(OSError):
                await peer.reply(body)

        victim.server.script = script
        replies = await asyncio.gather(*(ask(victim.proxy.port, post(LIST)) for _ in range(4)))
        assert any(b"limits.memory_bytes" in reply.body for reply in replies)

    return attack


async def long_events(victim: Victim) -> None:
    async def script(_: Received, peer: Peer) -> None:
        with contextlib.suppress(OSError):
            await peer.send(EVENTS + b"data: " + b"a" * ((1 << 20) - 100))
            await peer.gone.wait()

    victim.server.script = script
    async with many(victim.proxy.port, 60) as wires:
        await asyncio.gather(*(push(wire, post(call("get_user"))) for wire in wires))
        await settled(victim)


async def both(victim: Victim) -> None:
    """An agent and its server together: bodies and heads that are slow, events that do not end."""

    async def script(_: Received, peer: Peer) -> None:
        with contextlib.suppress(OSError):
            await peer.send(EVENTS + b"data: " + b"a" * ((1 << 20) - 100))
            await peer.gone.wait()

    victim.server.script = script
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 16_000
    body = post(b"", "Content-Length: 1048576") + b"x" * 1_000_000
    async with many(victim.proxy.port, 120) as wires:
        sent = [post(call("get_user")), body, head]
        await asyncio.gather(*(push(wire, sent[n % 3]) for n, wire in enumerate(wires)))
        await settled(victim)


def flood(request: bytes, piece: bytes, count: int) -> Callable[[Victim], Awaitable[None]]:
    """An attack by a stream of events that cost much more than their bytes; probes go on."""

    async def attack(victim: Victim) -> None:
        async def script(_: Received, peer: Peer) -> None:
            await peer.send(EVENTS)
            await endlessly(peer, piece, count)
            peer.close()

        victim.server.script = script
        async with connected(victim.proxy.port) as wire:
            await wire.send(request)
            draining = asyncio.create_task(_drained(wire))
            while not draining.done():
                async with asyncio.timeout(5):  # the kubelet's limit; a quiet machine takes one
                    assert (await victim.proxy.admin("/health")).status == 200
            await draining

    return attack


async def _drained(wire: Wire) -> None:
    with contextlib.suppress(OSError):
        data = b"-"
        while data and not data.endswith(b"0\r\n\r\n"):
            data = await wire.reader.read(1 << 16)


LISTEN = get("/", "Accept: text/event-stream", "Mcp-Session-Id: x")
CHANGED = b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n'
ATTACKS: dict[str, tuple[Callable[[Victim], Awaitable[None]], float]] = {
    "endless header line": (endless(b"HTTP/1.1 200 OK\r\nX: ", b"a" * (1 << 18)), 0.3),
    "endless headers": (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 4000), 0.3),
    "endless interim replies": (endless(b"", b"HTTP/1.1 103 OK\r\nX: y\r\n\r\n" * 2000), 0.5),
    "endless trailer line": (trailer, 0.3),
    "heads that are remembered": (many_heads, 2.5),
    "replies with many header lines": (many_header_lines, 0.5),
    "listings of empty lists": (listing(b"[]", 1_000_000), 1.5),
    "listings of texts": (listing(b'"abcdefghijklmnopqrstuvwxyz"', 9_000_000), 2.5),
    "events that do not end": (long_events, 3.0),
    "with its agent": (both, 3.0),
    "empty lines": (flood(post(call("get_user")), b"\n" * (1 << 16), 4), 4.0),
    "empty lines on a listening stream": (flood(LISTEN, b"\n" * (1 << 16), 4), 4.0),
    "notifications": (flood(post(call("get_user")), CHANGED * 900, 4), 4.0),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_server_cannot_kill_it(tmp_path: Path, name: str) -> None:
    attack, most_cpu = ATTACKS[name]

    @run
    async def test() -> None:
        async with attacked(tmp_path, most_cpu) as victim:
            await attack(victim)

    test()
