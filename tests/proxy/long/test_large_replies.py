"""Replies of a hundred megabytes."""

import time
from pathlib import Path

import pytest
import uvloop

from tests.harness.mcp_server import Peer, Received
from tests.harness.process_size import resident
from tests.harness.proxy_process import fronted
from tests.harness.wire import ask, call, connected, post
from tests.proxy.long.tally import MIB

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

SIZE = 100 * MIB
GROWTH = 8 * MIB
PIECES = {
    "json": ("application/json", b"[" + b"1," * (1 << 17)),
    "large events": ("text/event-stream", b'data: {"x":"' + b"x" * (1 << 18) + b'"}\n\n'),
    "small events": ("text/event-stream", (b'data: {"method":"' + b"x" * 230 + b'"}\n\n') * 1000),
    "one event": ("text/event-stream", b"x" * (1 << 18)),
}


@pytest.mark.parametrize("name", PIECES)
def test_a_hundred_megabytes_need_no_memory(tmp_path: Path, name: str) -> None:
    kind, piece = PIECES[name]

    async def script(request: Received, peer: Peer) -> None:
        await peer.head(200, f"Content-Type: {kind}", "Transfer-Encoding: chunked")
        size = SIZE if request.message["id"] == 2 else MIB
        while size > 0:
            await peer.chunk(piece)
            size -= len(piece)
        await peer.end()

    async def test() -> None:
        async with fronted(tmp_path) as (server, proxy):
            server.script = script
            await ask(proxy.port, post(call("get_user", 1)))  # what is allocated once
            before, most, size, begun = resident(proxy), 0, 0, time.perf_counter()
            async with connected(proxy.port) as wire:
                await wire.send(post(call("get_user", 2)))
                async for got in wire.pieces(await wire.head()):
                    size += len(got)
                    most = max(most, resident(proxy))
            took = time.perf_counter() - begun
            assert size >= SIZE
            assert most - before < GROWTH
            print(
                f"{size / MIB:.0f} MiB of {name} in {took:.1f} s: memory grew from "
                f"{before / MIB:.1f} to {most / MIB:.1f} MiB"
            )

    uvloop.run(test())
