"""The whole way of a held call: a client on a socket, the gate, the desk, and a server behind."""

import asyncio
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.harness.approval_service import World
from tests.harness.clock import ManualClock
from tests.harness.mcp_server import FakeMcpServer
from tests.harness.policy import AGENT
from tests.harness.wait import soon
from tests.harness.wire import Reply, Wire, ask, connected, post
from thoughtgate_proxy.approvals.channels.channel import AskFailed
from thoughtgate_proxy.core.approval import Approval, State, VoteValue
from thoughtgate_proxy.core.memory_budget import Budget
from thoughtgate_proxy.core.policy.identity import from_words
from thoughtgate_proxy.core.protocol.message import PROTOCOL_VERSION
from thoughtgate_proxy.gateway.gateway import ActiveConfig, Gateway
from thoughtgate_proxy.holds.service import HoldService
from thoughtgate_proxy.listeners.server import HttpServer, listen, port_of
from thoughtgate_proxy.listeners.service import Service
from thoughtgate_proxy.mcp.sse import Splitter, data_of
from thoughtgate_proxy.mcp.wait_modes import CAPABILITIES, TASKS_EXTENSION
from thoughtgate_proxy.upstream.pool import UpstreamPool

LEGACY = "MCP-Protocol-Version: 2025-11-25"
MODERN = "MCP-Protocol-Version: 2026-07-28"


class Quiet:
    """A listener's watch that wants no failure."""

    def __init__(self) -> None:
        self.active, self.failures = 0, list[str]()

    def begun(self) -> None:
        self.active += 1

    def ended(self, seconds: float) -> None:  # noqa: ARG002  any will do
        self.active -= 1

    def refused(self, status: int, reason: str, limit: str | None = None) -> None:
        self.failures.append(f"{status} {reason} {limit}")

    def broken(self, error: BaseException) -> None:
        self.failures.append(repr(error))

    def cut(self, reason: str) -> None:
        self.failures.append(reason)


class Room(World):
    """A desk, and the gate around it, in this process."""

    server: FakeMcpServer
    """What stands behind the gate, in `room`."""

    def __init__(self, folder: Path, url: str, clock: ManualClock | None, **config: Any) -> None:
        self._url = url
        super().__init__(folder, clock, **self._whole(config))
        self.watch = Quiet()

    def _whole(self, config: dict[str, Any]) -> dict[str, Any]:
        return {"sources": [{"id": "upstream", "url": self._url}], **config}

    async def open_door(self) -> None:
        """Listen."""
        await self.start()
        self.upstreams = {
            source.id: UpstreamPool(source, self.folder, {}, Budget(1 << 28))
            for source in self.gate.config.enabled_sources
        }
        numbers = itertools.count(1)
        self.holds = self._waiting()
        self.gateway = Gateway(
            ActiveConfig(self.gate, self.upstreams),
            self.record,
            lambda: self.holds,
            loopback_only=True,
            new_id=lambda: f"c{next(numbers)}",
        )
        service = Service(
            self.gateway.handle, lambda: self.gate.config.limits, self.watch, Budget(1 << 28)
        )
        self.listener = HttpServer(service)
        self.servers = await listen(self.listener, ("127.0.0.1",), 0)
        self.port = port_of(self.servers[0])

    def _waiting(self) -> HoldService:
        who = from_words(AGENT, "agents", "pod")
        return HoldService(
            self.service, self.record, who, lambda: os.urandom(8).hex(), self.clock.now
        )

    def reload(self, **config: Any) -> None:
        """Put another configuration in force."""
        super().reload(**self._whole(config))
        self.gateway.reload(ActiveConfig(self.gate, self.upstreams))

    async def restart(self) -> None:
        """Another process on the same folder."""
        await super().restart()
        self.holds = self._waiting()

    async def close_door(self) -> None:
        """Stop; nothing may be left under way."""
        for server in self.servers:
            server.close()
        self.service.close()
        for upstream in self.upstreams.values():
            upstream.stop()
        await self.listener.shutdown(1.0)
        await self.service.finished()
        self.close()

    async def pass_by(self, seconds: float) -> None:
        """Let so much of the manual time pass, and everybody see it."""
        self.clock.move(seconds)
        for _ in range(20):
            await asyncio.sleep(0)

    async def say(self, verdict: VoteValue, reason: str = "", who: str = "ada") -> Approval:
        """A human's word on the newest request, once it was asked."""
        await self.asked()
        return await self.page.say(self.page.asked[-1].id, verdict, who, reason)

    async def approve(self) -> Approval:
        return await self.say(VoteValue.APPROVE)

    @property
    def only(self) -> Approval:
        """The only request for approval."""
        (approval,) = self.page.asked
        return approval

    async def ends_as(self, state: State) -> Approval:
        """The only request, once it is in that state."""
        return await self.comes_to(self.only.id, state)

    def humans_asked(self) -> list[Approval]:
        """All that the humans of the page were asked."""
        return [a for humans in self.humans.values() for a in humans.asked]

    def refuse_to_ask(self, reason: str) -> None:
        """From now on the humans cannot be told."""
        self.cannot = AskFailed(reason, "test")
        for humans in self.humans.values():
            humans.cannot = self.cannot

    async def send(self, body: bytes, *lines: str) -> Reply:
        """A request on a connection of its own."""
        return await ask(self.port, post(body, *lines))


@contextlib.asynccontextmanager
async def room(
    folder: Path, clock: ManualClock | None = None, **config: Any
) -> AsyncIterator[Room]:
    """A room whose door is open."""
    async with FakeMcpServer() as server:
        one = Room(folder, server.url, clock, **config)
        one.server = server
        await one.open_door()
        try:
            yield one
        finally:
            await one.close_door()
        assert not one.watch.failures


class Stream:
    """A held request, read event by event."""

    def __init__(self, wire: Wire, head: Reply) -> None:
        self.wire, self.head = wire, head
        self._pieces = wire.pieces(head)
        self._splitter = Splitter(1 << 24)
        self._events: list[bytes] = []

    async def event(self) -> bytes:
        """The next event or comment, whole."""
        while not self._events:
            self._events += self._splitter.feed(await soon(anext(self._pieces), "an event"))
        return self._events.pop(0)

    async def comment(self) -> bytes:
        """The next one, which is a comment."""
        event = await self.event()
        assert event.startswith(b":"), event
        return event

    async def message(self) -> Any:
        """The next message; comments are passed over."""
        while (data := data_of(await self.event())) is None:
            pass
        return json.loads(data)

    async def ended(self) -> None:
        """Nothing more comes."""
        assert not self._events
        assert [piece async for piece in self._pieces if piece] == []


@contextlib.asynccontextmanager
async def held(port: int, body: bytes, *lines: str) -> AsyncIterator[Stream]:
    """A request that is held on its stream; the client goes at the end."""
    async with connected(port) as wire:
        await wire.send(post(body, *lines))
        head = await wire.head()
        assert (head.status, head.header("content-type")) == (200, "text/event-stream"), head
        stream = Stream(wire, head)
        await stream.comment()
        yield stream


async def answer_to(gate: Room, body: bytes) -> Any:
    """What comes of a held call in the end."""
    async with held(gate.port, body, LEGACY) as stream:
        return await stream.message()


def modern(method: str, id: int = 1, tasks: bool = False, **params: Any) -> bytes:
    """A request of revision 2026-07-28."""
    able: dict[str, Any] = {"extensions": {TASKS_EXTENSION: {}}} if tasks else {}
    meta = {PROTOCOL_VERSION: "2026-07-28", CAPABILITIES: able, **params.pop("_meta", {})}
    return legacy(method, id, **params, _meta=meta)


def legacy(method: str, id: int | str = 1, **params: Any) -> bytes:
    """A request of the revisions before."""
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()


def text_of(message: Any) -> str:
    """The text of a call's result."""
    (content,) = message["result"]["content"]
    return str(content["text"])


def decision(message: Any) -> Any:
    """The facts in a result of ours."""
    return message["result"]["_meta"]["io.thoughtgate/decision"]
