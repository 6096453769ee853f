"""One attempt to get a call past the gate, held against what the log says was sent.

After it everything that the server got is read as carelessly as a server could: each call that can
be found in it must stand in the log as forwarded, and in the log nothing else.
"""

import contextlib
import itertools

from tests.harness.mcp_server import FakeMcpServer, polite
from tests.harness.proxy_process import Proxy
from tests.harness.wire import Reply, ask, call, connected, post

BAD = call("admin_reset")
GOOD = call("get_user", 2)
_FENCES = itertools.count()


async def attempt(
    server: FakeMcpServer, proxy: Proxy, data: bytes, count: int | None = 1
) -> list[Reply]:
    """Send `data` on one connection, and hold the log against what the server got.

    Ends when `count` replies and what was on its way with them have come (None: when no more do).
    """
    server.script, server.received[:], since = polite, [], len(proxy.lines)
    async with connected(proxy.port) as wire:
        await wire.send(data)
        replies = await wire.replies(count)
        with contextlib.suppress(OSError):
            wire.writer.write_eof()  # which ends whatever is still under way
        replies += await wire.replies()
    # The log is in order: once this call's line is there, so are all before it.
    fence = f"fence_{next(_FENCES)}"
    assert (await ask(proxy.port, post(call(fence)))).status == 200
    await proxy.line("decision", since, name=fence)
    assert set(server.calls()) == set(proxy.forwarded(since))
    assert not any(name.startswith("admin_") for name in server.calls())
    return replies


def statuses(replies: list[Reply]) -> list[int]:
    return [reply.status for reply in replies]
