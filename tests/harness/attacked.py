"""A proxy in a container's cgroup that is attacked, and what that costs it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.harness.cgroup import MIB, Cgroup, cgroup
from tests.harness.mcp_server import FakeMcpServer, Peer, Received, polite
from tests.harness.process_size import cpu_seconds
from tests.harness.proxy_process import COMMAND, RULES, Proxy, fronted
from tests.harness.wire import Reply, Wire, ask, call, post

# What is kept after an attack: memos that were filled, and holes that the allocator leaves.
KEPT = 10 * MIB


@dataclass
class Victim:
    """The proxy, the server behind it, and its cgroup."""

    proxy: Proxy
    server: FakeMcpServer
    group: Cgroup

    @property
    def alive(self) -> bool:
        return self.proxy.process.returncode is None

    async def call(self) -> Reply:
        """What an honest caller's small call is answered."""
        return await ask(self.proxy.port, post(call("get_user")))


@contextlib.asynccontextmanager
async def attacked(
    folder: Path, most_cpu: float, rules: str = RULES, cpus: float = 0.1
) -> AsyncIterator[Victim]:
    """Start one; after the attack it must live, have given memory back, and answer an honest call.

    `most_cpu` are the seconds of CPU that the attack may have cost.
    """
    with cgroup(cpus=cpus) as group:
        command = (*group.command(), COMMAND)
        async with fronted(folder, rules, command=command) as (server, proxy):
            victim = Victim(proxy, server, group)
            server.script = polite
            assert (await victim.call()).status == 200
            memory, cpu = group.used(), cpu_seconds(proxy)
            yield victim
            assert victim.alive, f"it was killed: {proxy.process.returncode}"
            spent = cpu_seconds(proxy) - cpu
            server.script = polite
            assert await answered(victim), "an honest call is not answered any more"
            end = time.monotonic() + 10
            # ASYNC110: the kernel tells nobody.
            while group.used() > memory + KEPT and time.monotonic() < end:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            kept = group.used() - memory
            print(f"{folder.name}: {spent:.2f} s of CPU, {kept / MIB:.1f} MiB kept")
            assert kept <= KEPT, f"{kept / MIB:.1f} MiB more are kept than before"
            assert spent <= most_cpu, f"it took {spent:.2f} s of CPU"


async def answered(victim: Victim) -> bool:
    """Whether an honest call gets its result within ten seconds."""
    end = time.monotonic() + 10
    while victim.alive and time.monotonic() < end:
        with contextlib.suppress(OSError, AssertionError, Exception):
            if (await victim.call()).status == 200:
                return True
        await asyncio.sleep(0.2)
    return False


@contextlib.asynccontextmanager
async def many(port: int, count: int) -> AsyncIterator[list[Wire]]:
    """So many connections, as far as the proxy leaves them open."""
    wires = [Wire(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(count)]
    try:
        yield wires
    finally:
        for wire in wires:
            wire.abort()


async def push(wire: Wire, data: bytes, seconds: float = 3.0) -> None:
    """Send as much as is taken within a while; a connection that ends is what one hopes for."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            wire.writer.write(data)
            await wire.writer.drain()


async def settled(victim: Victim, seconds: float = 12.0) -> None:
    """Wait until the proxy has nothing left to do, or for `seconds`."""
    end, before = time.monotonic() + seconds, -1.0
    while victim.alive and time.monotonic() < end and (now := cpu_seconds(victim.proxy)) != before:
        before = now
        await asyncio.sleep(0.5)


async def silent(_: Received, peer: Peer) -> None:
    """A server that takes a call and never answers."""
    await peer.gone.wait()
