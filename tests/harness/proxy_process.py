"""The real proxy as a process of its own, and what it writes."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.harness.mcp_server import FakeMcpServer
from tests.harness.wait import soon, within
from tests.harness.wire import Reply, ask, get

Line = dict[str, Any]
APPROVER = "approver-5f0c2f9b1e7d4a68"
"""The token of `anna`, who may decide on the page."""
COMMAND = Path(sys.executable).with_name("thoughtgate-proxy")

RULES = """
governance:
  defaults: {action: forward}
  rules:
    - {match: "admin_*", action: deny}
    - {match: "delete_*", action: approve}
    - {match: "file:///secret/*", action: deny, kind: resource}
approval:
  default: {adapter: page}
"""


def config(url: str, rules: str = RULES, source: str = "") -> str:
    """A configuration file with one source; `source` is further lines of it."""
    return f'schema: 1\nsources:\n  - {{id: up, kind: mcp, url: "{url}"{source}}}\n{rules}'


class Proxy:
    """A running proxy. `lines` are those that it has logged so far."""

    def __init__(self, process: asyncio.subprocess.Process, path: Path) -> None:
        self.process, self.path = process, path
        self.lines: list[Line] = []
        self.errors = bytearray()
        self.port = self.admin_port = 0
        self.drained = asyncio.Event()
        """Unset it to leave standard output unread."""
        self.drained.set()

    async def line(self, message: str, since: int = 0, **facts: object) -> Line:
        """The first line with that message and those facts, waiting for it if need be."""

        def found() -> list[Line]:
            return [line for line in self.lines[since:] if fits(line, message, facts)]

        await within(lambda: found() or self.process.returncode is not None, f"{message} {facts}")
        assert found(), f"the proxy ended without {message} {facts}: {self.errors.decode()}"
        return found()[0]

    def forwarded(self, since: int = 0) -> list[str]:
        """The names of all calls that the log says were forwarded."""
        return [
            line["name"]
            for line in self.lines[since:]
            if fits(line, "decision", {"outcome": "forward", "kind": "tool"})
        ]

    async def admin(self, path: str) -> Reply:
        """What the admin port answers."""
        return await ask(self.admin_port, get(path))

    async def metrics(self) -> dict[str, float]:
        """The series and their values."""
        text = (await self.admin("/metrics")).body.decode()
        series = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in series}

    def write(self, text: str) -> None:
        """Replace the configuration as an editor does."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)

    async def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await soon(self.process.wait(), "the end of the proxy")


def fits(line: Line, message: str, facts: Mapping[str, object]) -> bool:
    """Whether a line has that message and those facts."""
    return line["message"] == message and all(line.get(key) == facts[key] for key in facts)


async def spawned(
    path: Path,
    folder: Path,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    command: Sequence[str | Path] = (COMMAND,),
) -> Proxy:
    """Start the command; what it writes is read from now on."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("THOUGHTGATE_")}
    settings = {
        "THOUGHTGATE_OUTBOUND_PORT": "0",
        "THOUGHTGATE_INBOUND_PORT": "0",
        "THOUGHTGATE_ADMIN_PORT": "0",
        "THOUGHTGATE_BIND": "127.0.0.1",
        "THOUGHTGATE_STATE_DIR": str(folder),
        "THOUGHTGATE_LABELS": str(folder / "labels"),
        "THOUGHTGATE_APPROVER_TOKENS": str(folder / "approver-tokens"),
    }
    (folder / "approver-tokens").write_text(f"anna:{APPROVER}\n")
    process = await asyncio.create_subprocess_exec(
        *command, "run", "--config", str(path), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**kept, **settings, **(env or {})},
    )  # fmt: skip
    return Proxy(process, path)


async def _read(proxy: Proxy) -> None:
    assert proxy.process.stdout is not None
    while line := await proxy.process.stdout.readline():
        proxy.lines.append(json.loads(line))
        await proxy.drained.wait()


async def _errors(proxy: Proxy) -> None:
    assert proxy.process.stderr is not None
    while piece := await proxy.process.stderr.read(1 << 16):
        proxy.errors += piece


@contextlib.asynccontextmanager
async def started(
    folder: Path,
    text: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    identity: str | None = "data/agent",
    ready: bool = True,
    quiet: bool = True,
    command: Sequence[str | Path] = (COMMAND,),
) -> AsyncIterator[Proxy]:
    """The proxy with the configuration `text`; `quiet` says that stderr must stay empty."""
    path = folder / "config.yaml"
    if not path.exists():
        path.write_text(text)
    who = ("--identity", identity) if identity else ()
    proxy = await spawned(path, folder, *who, *arguments, env=env, command=command)
    reading = [asyncio.create_task(_read(proxy)), asyncio.create_task(_errors(proxy))]
    try:
        if ready:
            line = await proxy.line("ready")
            proxy.port, proxy.admin_port = line["port"], line["admin_port"]
        yield proxy
    finally:
        proxy.drained.set()
        if proxy.process.returncode is None:
            proxy.process.kill()
        await proxy.process.wait()
        await asyncio.gather(*reading)
    if quiet:
        assert not proxy.errors, proxy.errors.decode()


@contextlib.asynccontextmanager
async def fronted(
    folder: Path, rules: str = RULES, source: str = "", **options: Any
) -> AsyncIterator[tuple[FakeMcpServer, Proxy]]:
    """A fake server and a proxy before it."""
    async with (
        FakeMcpServer() as server,
        started(folder, config(server.url, rules, source), **options) as proxy,
    ):
        yield server, proxy


class World:
    """A fake server and a proxy that serve all tests of a module, in one event loop."""

    def __init__(self, runner: asyncio.Runner, server: FakeMcpServer, proxy: Proxy) -> None:
        self.runner, self.server, self.proxy = runner, server, proxy

    def run(self, test: Callable[[FakeMcpServer, Proxy], Any]) -> None:
        """Run `test`, a coroutine function."""
        self.runner.run(test(self.server, self.proxy))


@contextlib.contextmanager
def world(folder: Path, rules: str = RULES, source: str = "") -> Any:
    """A `World` for a fixture of a module."""
    with asyncio.Runner() as runner:
        both = fronted(folder, rules, source)
        server, proxy = runner.run(both.__aenter__())
        try:
            yield World(runner, server, proxy)
        finally:
            runner.run(both.__aexit__(None, None, None))
