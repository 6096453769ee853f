"""What an agent can do to kill or starve the proxy, in a container of 50Mi and 100m."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.harness.attacked import Victim, attacked, many, push, settled, silent
from tests.harness.cgroup import MIB, cgroup, needed
from tests.harness.proxy_process import COMMAND, config, started
from tests.harness.wait import run, soon
from tests.harness.wire import Cut, ask, call, connected, get, post

pytestmark = needed()
KIB = 1 << 10
CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_user","arguments":%s}}'


async def trailer(victim: Victim) -> None:
    async with connected(victim.proxy.port) as wire:
        await wire.send(CHUNKED + b"2\r\n{}\r\n0\r\nX: ")
        await push(wire, b"a" * (8 << 20))
        assert (await wire.reply()).status == 431


async def trailers(victim: Victim) -> None:
    async with connected(victim.proxy.port) as wire:
        await wire.send(CHUNKED + b"2\r\n{}\r\n0\r\n")
        await push(wire, b"".join(b"X-%d: %b\r\n" % (n, b"a" * 1000) for n in range(4000)))
        assert (await wire.reply()).status == 431


async def tiny_chunks(victim: Victim) -> None:
    async with many(victim.proxy.port, 12) as wires:
        begun = CHUNKED + b"2\r\naa\r\n" * (100 * KIB)
        await asyncio.gather(*(push(wire, begun, 8.0) for wire in wires))
        await settled(victim)


async def slow_bodies(victim: Victim) -> None:
    async with many(victim.proxy.port, 40) as wires:
        begun = post(b"", "Content-Length: 1048576") + b"x" * 1_048_000
        await asyncio.gather(*(push(wire, begun) for wire in wires))
        await settled(victim)
        statuses = [(await victim.call()).status for _ in range(5)]
        assert statuses == [200] * 5, "small calls keep a reserve"


async def pipelined(victim: Victim) -> None:
    victim.server.script = silent
    data = post(call("get_user")) + get() * (250 * KIB // len(get()))
    async with many(victim.proxy.port, 80) as wires:
        await asyncio.gather(*(push(wire, data) for wire in wires))
        await settled(victim)


async def upgrades(victim: Victim) -> None:
    data = get("/", "Upgrade: h2c", "Connection: Upgrade") * 3500
    for _ in range(8):
        async with connected(victim.proxy.port) as wire:
            await push(wire, data)
            await wire.replies(2)


async def large_tokens(victim: Victim) -> None:
    for size, status, count in ((5000, 200, 100), (15_000, 200, 100), (60_000, 431, 30)):
        for number in range(count):
            token = f"Authorization: Bearer {number}" + "t" * size
            assert (await ask(victim.proxy.port, post(call("get_user"), token))).status == status


async def half_heads(victim: Victim) -> None:
    async with many(victim.proxy.port, 400) as wires:
        begun = b"POST / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 16_000
        await asyncio.gather(*(push(wire, begun) for wire in wires))
        await settled(victim)


async def bytes_behind(victim: Victim) -> None:
    victim.server.script = silent
    behind = post(b"", "Content-Length: 1000000") + b"x" * 300_000
    async with many(victim.proxy.port, 120) as wires:
        for wire in wires:
            await push(wire, post(call("get_user")))
        await asyncio.gather(*(push(wire, behind) for wire in wires))
        await settled(victim)


async def calls_in_flight(victim: Victim) -> None:
    victim.server.script = silent
    async with many(victim.proxy.port, 2080) as wires:
        await asyncio.gather(*(push(wire, post(call("get_user"))) for wire in wires))
        await settled(victim)


async def idle(victim: Victim) -> None:
    async with many(victim.proxy.port, 900):
        assert (await victim.call()).status == 200


async def unread_replies(victim: Victim) -> None:
    async def large(_: object, peer: object) -> None:
        await peer.reply(b'{"jsonrpc":"2.0","id":1,"result":"' + b"x" * (4 << 20) + b'"}')  # type: ignore[attr-defined]  # a Peer

    victim.server.script = large
    async with many(victim.proxy.port, 60) as wires:
        for wire in wires:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a Transport
        await asyncio.gather(*(push(wire, post(call("get_user"))) for wire in wires))
        await settled(victim)


async def expensive_bodies(victim: Victim) -> None:
    marks, ligature = "\u0301\u0316" * 125, "\ufdfa" * 240
    bodies = [
        "{" + ",".join(f'"{n:x}{marks}":1' for n in range(1900)) + "}",
        "{" + ",".join(f'"{n:x}{ligature}":1' for n in range(1300)) + "}",
        "{" + ",".join(f'"{n:x}":1' for n in range(60_000)) + "}",
        '{"a":[' + ",".join("1" for _ in range(90_000)) + "]}",
        '{"a":[' + ",".join("[1,2,3]" for _ in range(30_000)) + "]}",
        '{"a":1' + "0" * 900_000 + "}",
        '{"a":0.' + "1" * 900_000 + "}",
    ]
    for body in bodies:
        reply = await ask(victim.proxy.port, post((CALL % body).encode()))
        assert reply.status in (200, 400, 413), reply


async def log_flood(victim: Victim) -> None:
    before = len(victim.proxy.lines)
    for number in range(300):
        with contextlib.suppress(Cut):
            await ask(
                victim.proxy.port,
                post(b"{}", "X-A: " + "\x01" * 10) if number % 2 else b"?\r\n\r\n",
            )
    lines = victim.proxy.lines[before:]
    refused = [line for line in lines if line["message"] == "refused"]
    assert 2 <= len(refused) < 60
    assert max(len(json.dumps(line)) for line in lines) <= 2048


ATTACKS: dict[str, tuple[Callable[[Victim], Awaitable[None]], float]] = {
    "endless trailer line": (trailer, 0.3),
    "endless trailers": (trailers, 0.3),
    "bodies in two-byte chunks": (tiny_chunks, 3.0),
    "slow bodies": (slow_bodies, 1.5),
    "pipelined requests": (pipelined, 1.0),
    "pipelined upgrades": (upgrades, 0.5),
    "large headers": (large_tokens, 1.5),
    "unfinished heads": (half_heads, 1.5),
    "bytes behind a call": (bytes_behind, 1.5),
    "calls in flight": (calls_in_flight, 3.0),
    "idle connections": (idle, 2.0),
    "replies that nobody reads": (unread_replies, 3.0),
    "bodies that cost much to read": (expensive_bodies, 1.5),
    "refusals for the log": (log_flood, 0.6),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_agent_cannot_kill_it(tmp_path: Path, name: str) -> None:
    attack, most_cpu = ATTACKS[name]

    @run
    async def test() -> None:
        async with attacked(tmp_path, most_cpu) as victim:
            await attack(victim)

    test()


def test_a_container_that_is_too_small_is_refused_in_words(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        with cgroup(memory=36 * MIB, cpus=1.0) as group:
            command: list[str | Path] = [*group.command(), COMMAND]
            text = config("http://127.0.0.1:9")
            async with started(tmp_path, text, command=command, ready=False, quiet=False) as proxy:
                assert await soon(proxy.process.wait(), "the end of the process") == 1
                line = await proxy.line("cannot start")
        assert "raise the limit" in line["mistakes"][0]

    test()
