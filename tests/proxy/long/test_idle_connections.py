"""Ten thousand connections that nobody uses."""

import asyncio
import time
from pathlib import Path

import pytest
import uvloop

from tests.harness.process_size import allow_descriptors, descriptors, resident
from tests.harness.proxy_process import RULES, Proxy, fronted
from tests.harness.wait import within
from tests.harness.wire import Wire, ask, call, post
from tests.proxy.long.tally import MIB

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

COUNT = 9_900
# What this process and the proxy have open besides.
_SPARE = 500
# A connection costs aiohttp a parser and a task; this is what they may cost a pod.
MOST_BYTES = 32 * 1024
GROWTH = 8 * MIB
LIMITS = "limits: {connections: 10000, memory_bytes: 1073741824}\n"
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


def test_ten_thousand_idle_connections_cost_little_and_slow_no_call(tmp_path: Path) -> None:
    count = min(COUNT, allow_descriptors(COUNT + _SPARE) - _SPARE)

    async def test() -> None:
        async with fronted(tmp_path, RULES + LIMITS) as (_, proxy):
            await ask(proxy.port, post(call("get_user")))
            before = resident(proxy)
            first = await held(proxy, count)
            each = (first - before) / count
            # What was freed may stay with the process, but is used again.
            second = await held(proxy, count)
            print(
                f"{count} idle connections: {each / 1024:.1f} KiB each, {first / MIB:.1f} MiB in "
                f"all; the same again: {second / MIB:.1f} MiB"
            )
            assert each < MOST_BYTES
            assert second - first < GROWTH

    uvloop.run(test())


async def held(proxy: Proxy, count: int) -> int:
    """Open that many connections, call over some of them, and close them; the memory at most."""
    files, begun = descriptors(proxy), time.perf_counter()
    wires: list[Wire] = []
    while len(wires) < count:
        wires += await asyncio.gather(*(opened(proxy.port) for _ in range(100)))
        used = wires[-100::2]  # half of them have been used, and are kept alive
        for wire in used:
            await wire.send(post(PING))
        for wire in used:
            assert (await wire.reply()).status == 200
    took = time.perf_counter() - begun
    assert descriptors(proxy) >= count
    slowest = 0.0
    for wire in wires[:: count // 100]:
        at = time.perf_counter()
        await wire.send(post(call("get_user")))
        assert (await wire.reply()).status == 200
        slowest = max(slowest, time.perf_counter() - at)
    assert (await proxy.metrics())["thoughtgate_connections_active"] == 0
    memory = resident(proxy)
    for wire in wires:
        wire.close()
    await within(lambda: descriptors(proxy) <= files, "all connections closed", 30)
    assert (await ask(proxy.port, post(call("get_user")))).status == 200
    print(f"opened in {took:.0f} s; a call took at most {slowest * 1000:.0f} ms")
    assert slowest < 1.0
    return memory


async def opened(port: int) -> Wire:
    return Wire(*await asyncio.open_connection("127.0.0.1", port))
