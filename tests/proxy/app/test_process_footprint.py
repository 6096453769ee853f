"""What a process loads, holds and spends until it is ready: less where less is configured."""

import signal
import sys
from pathlib import Path

import pytest

from tests.harness.mcp_server import FakeMcpServer
from tests.harness.process_size import cpu_seconds, resident
from tests.harness.proxy_process import Proxy, config, started
from tests.harness.wait import run, within
from tests.harness.wire import ask, call, post

PLAIN = """
governance:
  defaults: {action: forward}
  rules:
    - {match: "admin_*", action: deny}
"""
CEDAR = """
governance:
  defaults: {action: policy}
cedar:
  inline: permit(principal, action == Action::"Forward", resource);
"""
# Each of them costs megabytes, and at a tenth of a CPU seconds until the agent's pod is ready.
HEAVY = {"aiohttp", "cedarpy", "prometheus_client", "slack_sdk", "sqlite3"}


async def loaded(proxy: Proxy, file: Path) -> set[str]:
    """The modules of the process, by their first names."""
    found: list[str] = []

    def listed() -> bool:
        if file.exists():
            found.extend(file.read_text().splitlines())
            file.unlink()
        return bool(found)

    proxy.process.send_signal(signal.SIGUSR1)
    await within(listed, "the list of modules")
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize(
    ("rules", "needed"),
    [(PLAIN, {"aiohttp"}), (CEDAR, {"aiohttp", "cedarpy"})],
    ids=["plain", "Cedar"],
)
def test_a_library_is_loaded_only_where_it_is_needed(
    tmp_path: Path, rules: str, needed: set[str]
) -> None:
    file = tmp_path / "modules"
    command = (sys.executable, "-m", "tests.harness.module_list", file)

    @run
    async def test() -> None:
        async with (
            FakeMcpServer() as server,
            started(tmp_path, config(server.url, rules), command=command) as proxy,
        ):
            assert (await ask(proxy.port, post(call("get_user")))).status == 200
            assert await loaded(proxy, file) & HEAVY == needed
            assert (await proxy.admin("/metrics")).status == 200
            assert await loaded(proxy, file) & HEAVY == needed | {"prometheus_client"}

    test()


def test_a_process_is_small_and_soon_ready(tmp_path: Path) -> None:
    # The budget is 0.40 CPU-seconds; a machine that is busy with others takes longer for the same.
    most_cpu, most_memory = 0.6, 49_000_000

    @run
    async def test() -> None:
        async with (
            FakeMcpServer() as server,
            started(tmp_path, config(server.url, PLAIN)) as proxy,
        ):
            assert cpu_seconds(proxy) < most_cpu
            for _ in range(200):
                assert (await ask(proxy.port, post(call("get_user")))).status == 200
            assert resident(proxy) < most_memory

    test()
