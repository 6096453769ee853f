"""A thousand calls are held at once: what each takes, and what the others notice of it."""

import asyncio
import contextlib
import statistics
import time
from pathlib import Path

import pytest

from tests.harness.process_size import resident
from tests.harness.proxy_process import Proxy, fronted
from tests.harness.wait import run
from tests.harness.wire import Wire, call, connected, post

COUNT = 1000
WARMED = 20
MOST_BYTES = 16 << 10
RULES = """
governance:
  defaults: {action: forward}
  rules: [{match: "delete_*", action: approve}]
approval:
  default: {adapter: page, timeout: 1h}
limits: {pending_approvals: 1000, connections: 2000}
"""


async def p99(wire: Wire) -> float:
    """Seconds, of calls that pass, one after the other."""
    took = []
    for number in range(3000):
        begun = time.perf_counter()
        await wire.send(post(call("get_user", number)))
        assert (await wire.reply()).status == 200
        took.append(time.perf_counter() - begun)
    return statistics.quantiles(took, n=100)[98]


async def hold(proxy: Proxy, wires: contextlib.AsyncExitStack, number: int) -> None:
    """One more held call, on a connection that stays open."""
    wire = await wires.enter_async_context(connected(proxy.port))
    await wire.send(post(call("delete_user", arguments={"n": number})))
    assert (await wire.head()).header("content-type") == "text/event-stream"


@pytest.mark.long
def test_a_thousand_held_calls_take_little_and_slow_down_nobody(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with (
            fronted(tmp_path, RULES) as (server, proxy),
            connected(proxy.port) as passing,
        ):
            async with contextlib.AsyncExitStack() as wires:
                for number in range(WARMED):
                    await hold(proxy, wires, number)
                alone = min([await p99(passing) for _ in range(3)])
                before = resident(proxy)
                for number in range(WARMED, COUNT):
                    await hold(proxy, wires, number)
                each = (resident(proxy) - before) / (COUNT - WARMED)
                beside = min([await p99(passing) for _ in range(3)])
            told = f"{each / 1024:.1f} KiB each; p99 {alone * 1e3:.2f} ms alone"
            print(f"{told}, {beside * 1e3:.2f} ms beside them")
            assert each < MOST_BYTES
            assert beside < 2 * alone
            assert "delete_user" not in server.calls()
            assert [line.get("step") for line in proxy.lines].count("opened") == COUNT
            async with asyncio.timeout(20):  # until all have seen that their clients have gone
                while (await proxy.metrics())["thoughtgate_connections_active"]:
                    pass

    test()
