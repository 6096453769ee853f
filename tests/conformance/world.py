"""The servers, each of them twice: one that is reached directly, and one behind a proxy."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.conformance.packages import Node
from tests.conformance.processes import free_port, serving
from tests.harness.proxy_process import Proxy, config, started

_T = TypeVar("_T")

RULES = """
governance:
  defaults: {action: forward}
  rules:
    - {match: "admin_*", action: deny}
    - {match: "get-env", action: deny}
    - {match: "secret://*", action: deny, kind: resource}
"""
# So that listings are read and written anew, which the suite must not notice.
HIDING = ", expose: {mode: blocklist, tools: [hidden_*]}"


@dataclass(frozen=True)
class Ways:
    """The same kind of server, reached in both ways."""

    direct: str
    through: str
    proxy: Proxy


@dataclass(frozen=True)
class World:
    """All servers, in one event loop, which also reads what the proxies write."""

    node: Node
    runner: asyncio.Runner
    servers: dict[str, Ways]

    def run(self, what: Coroutine[Any, Any, _T]) -> _T:
        """The result of a coroutine."""
        return self.runner.run(what)

    def both(self, server: str, what: Callable[[str], Awaitable[_T]]) -> tuple[_T, _T]:
        """`what` with the URL of the server, and with the URL of the proxy before its twin."""
        ways = self.servers[server]

        async def at_once() -> tuple[_T, _T]:
            return await asyncio.gather(what(ways.direct), what(ways.through))

        return self.run(at_once())


FIXTURE = [sys.executable, "-m", "tests.conformance.fixture"]


@asynccontextmanager
async def opened(node: Node, folder: Path) -> AsyncIterator[dict[str, Ways]]:
    """Start all servers and their proxies."""
    async with (
        _ways(_fixture, _made(folder / "fixture"), HIDING) as fixture,
        _ways(lambda: _everything(node), _made(folder / "everything"), "") as everything,
    ):
        yield {"fixture": fixture, "everything": everything}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _fixture() -> Any:
    return serving(FIXTURE)


def _everything(node: Node) -> Any:
    command = [*node.package("server-everything", "dist/index.js"), "streamableHttp"]
    return serving(command, {**node.env, "PORT": str(free_port())})


@asynccontextmanager
async def _ways(server: Callable[[], Any], folder: Path, source: str) -> AsyncIterator[Ways]:
    async with (
        server() as direct,
        server() as twin,
        started(folder, config(twin, RULES, source)) as proxy,
    ):
        through = f"http://127.0.0.1:{proxy.port}"
        yield Ways(f"{direct}/mcp", f"{through}/mcp", proxy)
