"""Sessions and resumed streams of the handshake's revisions come through the proxy whole."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conformance.world import World
from tests.harness.wait import soon
from tests.harness.wire import Reply, Wire, ask, connected, get, post

# The first test may have to install what npm brings.

REVISIONS = ["2025-03-26", "2025-06-18", "2025-11-25"]
Event = dict[str, str]
# A call's stream is resumed so often, where it is silent for so many seconds.
_RESUMED, _SILENT, _MESSAGES = 3, 10.0, 3


class Session:
    """A session of one client with the fixture."""

    def __init__(self, port: int, revision: str) -> None:
        self.port, self.revision, self.id = port, revision, ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The headers of each request but the first."""
        return f"Mcp-Session-Id: {self.id}", f"MCP-Protocol-Version: {self.revision}"

    async def post(self, method: str, *lines: str, id: int | None = None, **params: Any) -> Reply:
        """Send a message; a notification if it has no `id`."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if id is not None:
            message["id"] = id
        return await ask(self.port, post(json.dumps(message).encode(), *lines, target="/mcp"))

    async def begin(self) -> "Session":
        """Shake hands."""
        reply = await self.post(
            "initialize", id=0, protocolVersion=self.revision, capabilities={},
            clientInfo={"name": "wire", "version": "1"},
        )  # fmt: skip
        self.id = reply.header("mcp-session-id") or ""
        assert self.id
        assert (await self.post("notifications/initialized", *self.lines)).status == 202
        return self

    async def call(self, tool: str) -> Reply:
        """Call a tool without arguments."""
        return await self.post("tools/call", *self.lines, id=1, name=tool, arguments={})

    @contextlib.asynccontextmanager
    async def listening(self, *lines: str) -> AsyncIterator[AsyncIterator[Event]]:
        """The events of the listening stream."""
        async with connected(self.port) as wire:
            accept = "Accept: text/event-stream"
            await wire.send(get("/mcp", accept, *self.lines, *lines))
            head = await wire.head()
            assert (head.status, head.header("content-type")) == (200, "text/event-stream")
            yield _events(wire, head)


async def _events(wire: Wire, head: Reply) -> AsyncIterator[Event]:
    """Each event that carries a message, by the names of its fields."""
    held = b""
    async for piece in wire.pieces(head):
        held += piece.replace(b"\r\n", b"\n")
        *whole, held = held.split(b"\n\n")
        for event in whole:
            pairs = [line.partition(": ") for line in event.decode().splitlines()]
            fields = {name: value for name, _, value in pairs if name}
            if fields.get("data"):
                yield fields


async def _next(events: AsyncIterator[Event]) -> tuple[str, str]:
    """The id and the method of the next event."""
    event = await soon(anext(events), "the next event")
    return event["id"], json.loads(event["data"])["method"]


@pytest.fixture(scope="module")
def port(world: World) -> int:
    """The proxy before the fixture."""
    found = urlsplit(world.servers["fixture"].through).port
    assert found is not None
    return found


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_session_lasts_until_its_client_ends_it(world: World, port: int, revision: str) -> None:
    async def told() -> None:
        session = await Session(port, revision).begin()
        reply = await session.call("test_simple_text")
        assert reply.status == 200
        assert b"This is a simple text response" in reply.body
        ended = await ask(port, get("/mcp", *session.lines, method="DELETE"))
        assert ended.status in (200, 204)
        assert (await session.call("test_simple_text")).status == 404

    world.run(told())


def test_a_call_of_no_session_is_refused_by_the_server(world: World, port: int) -> None:
    async def told() -> None:
        session = Session(port, "2025-11-25")
        assert (await session.post("tools/list", id=1)).status == 400
        session.id = "unknown"
        assert (await session.call("test_simple_text")).status == 404

    world.run(told())


def test_a_client_that_comes_back_gets_the_events_that_it_missed_and_no_others(
    world: World, port: int
) -> None:
    async def told() -> None:
        session = await Session(port, "2025-11-25").begin()
        async with session.listening() as events:
            await session.call("test_trigger_tool_change")
            last, method = await _next(events)
            assert method == "notifications/tools/list_changed"
        await session.call("test_trigger_prompt_change")
        await session.call("touch_watched")
        async with session.listening(f"Last-Event-ID: {last}") as events:
            first, method = await _next(events)
            assert method == "notifications/prompts/list_changed"
            second, method = await _next(events)
            assert method == "notifications/resources/updated"
            assert int(last) < int(first) < int(second)
            # And the stream goes on.
            await session.call("test_trigger_tool_change")
            assert (await _next(events))[1] == "notifications/tools/list_changed"

    world.run(told())


def test_each_session_hears_of_its_own_affairs_alone(world: World, port: int) -> None:
    async def told() -> None:
        one, other = [await Session(port, "2025-11-25").begin() for _ in range(2)]
        assert one.id != other.id
        async with one.listening() as ones, other.listening() as others:
            await one.call("test_trigger_tool_change")
            assert (await _next(ones))[1] == "notifications/tools/list_changed"
            await other.call("test_trigger_prompt_change")
            assert (await _next(others))[1] == "notifications/prompts/list_changed"

    world.run(told())


def test_a_stream_that_the_server_closes_in_mid_call_can_be_resumed(
    world: World, port: int
) -> None:
    async def told() -> None:
        session = await Session(port, "2025-11-25").begin()
        reply = await session.call("test_reconnection")
        fields = [line.partition(": ") for line in reply.body.decode().splitlines()]
        [id] = [value for name, _, value in fields if name == "id"]
        assert ("retry", ": ", "50") in fields
        said: list[dict[str, Any]] = []
        for _ in range(_RESUMED):
            if len(said) == _MESSAGES:
                break
            # The SDK's server loses what comes while it takes a stream up; its store has it.
            with contextlib.suppress(TimeoutError):
                async with (
                    asyncio.timeout(_SILENT),
                    session.listening(f"Last-Event-ID: {id}") as on,
                ):
                    while len(said) < _MESSAGES:
                        event = await anext(on)
                        id = event["id"]
                        said.append(json.loads(event["data"]))
        assert [message.get("method", "the result") for message in said] == [
            "notifications/message", "notifications/message", "the result",
        ]  # fmt: skip

    world.run(told())
