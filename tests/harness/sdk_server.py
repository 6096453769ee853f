"""A server made with the official SDK, on a free port of loopback, in the test's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import BaseModel


class Answer(BaseModel):
    """What a user fills in."""

    colour: str


@dataclass
class Seen:
    """What happened at the server."""

    calls: list[str] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)


def _tools(seen: Seen) -> MCPServer:
    server = MCPServer("fake")

    @server.tool()
    def get_user(id: int) -> str:
        seen.calls.append("get_user")
        return f"user {id}"

    @server.tool()
    def admin_reset() -> str:
        seen.calls.append("admin_reset")
        return "reset"

    @server.tool()
    def hidden_tool() -> str:
        seen.calls.append("hidden_tool")
        return "hidden"

    @server.tool()
    async def count(to: int, context: Context) -> str:
        for number in range(1, to + 1):
            await context.report_progress(number, to, f"step {number}")
        return f"counted to {to}"

    @server.tool()
    async def ask_colour(context: Context) -> str:
        answer = await context.elicit("which colour?", Answer)
        return f"the user {answer.action}s {getattr(getattr(answer, 'data', None), 'colour', '')}"

    @server.tool()
    async def hang() -> str:
        seen.hanging.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.cancelled.set()
            raise
        return "never"

    @server.resource("note://hello")
    def note() -> str:
        return "a note"

    @server.prompt()
    def greet(name: str) -> str:
        return f"greet {name}"

    return server


@contextlib.asynccontextmanager
async def serving(*, json: bool) -> AsyncIterator[tuple[str, Seen]]:
    """Its URL and what it sees; `json` has it answer without event streams."""
    seen = Seen()
    app = _tools(seen).streamable_http_app(streamable_http_path="/", json_response=json)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1)
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
        finally:
            server.should_exit = True
            await task
